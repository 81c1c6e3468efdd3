"""The example as a user runs it: a copy of `rollouts/`, pytest in a process of its own, real Envoy and real builds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
QUIET = ("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:replay", "-p", "no:embedded")
QUICK = {
    "hold": "2s", "min_requests": "20", "poll": "200ms", "warmup.for": "1s", "baseline.window": "3s",
    "baseline.min_requests": "100", "stages": "10,50,100",
}  # fmt: skip
"""A rehearsal of the rehearsal: the same steps in a fraction of the time."""


@dataclass
class Ended:
    """What one run of pytest left."""

    exit: int
    out: str
    report: dict[str, Any]
    rows: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


class Site:
    """A folder with the example in it, whose processes can be told from all others."""

    def __init__(self, folder: Path, rollouts: Path = ROOT / "rollouts", service: str = "inference-gateway") -> None:
        self.folder, self.name, self.more, self.service = folder, uuid.uuid4().hex, dict[str, str](), service
        shutil.copytree(rollouts, folder / "rollouts", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "pytest.ini").write_text("[pytest]\njunit_logging = system-out\nfilterwarnings = error\n")
        self.junit, self.json = folder / "out" / "rollout.xml", folder / "out" / "report.json"

    @property
    def env(self) -> dict[str, str]:
        """What every process of this site inherits."""
        return {**os.environ, "REHEARSAL": self.name, "PYTEST_ADDOPTS": "", **self.more}

    def command(self, *args: str, build: str = "v2", quick: bool = True, **settings: str) -> list[str]:
        """The words of one run."""
        given = {**(QUICK if quick else {}), **{key.replace("__", "."): value for key, value in settings.items()}}
        sets = [f"--canary-set={key}={value}" for key, value in given.items()]
        files = [f"--junitxml={self.junit}", f"--canary-report={self.json}"]
        return [sys.executable, "-m", "pytest", *QUIET, "rollouts/", f"--image={self.service}:{build}", *files,
                *sets, *args]  # fmt: skip

    def run(self, *args: str, build: str = "v2", quick: bool = True, **settings: str) -> Ended:
        """Run pytest to its end and read what it left."""
        return self.ended(self.start(*args, build=build, quick=quick, **settings))

    def start(self, *args: str, build: str = "v2", quick: bool = True, **settings: str) -> subprocess.Popen[str]:
        """Begin a run."""
        for left in (self.junit, self.json):
            left.unlink(missing_ok=True)
        command = self.command(*args, build=build, quick=quick, **settings)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.folder, env=self.env, text=True, start_new_session=True, **pipes)

    def ended(self, process: subprocess.Popen[str], seconds: float = 240) -> Ended:
        """Wait for a run and read what it left."""
        out = process.communicate(timeout=seconds)[0]
        return self.read(process.returncode, out)

    def read(self, exit_code: int, out: str) -> Ended:
        """Read what a run has left."""
        report = json.loads(self.json.read_text()) if self.json.exists() else {}
        ended = Ended(exit_code, out, report)
        if self.junit.exists():
            for case in ET.parse(self.junit).getroot().iter("testcase"):
                marks = [child for child in case if child.tag in ("failure", "error", "skipped")]
                name = str(case.get("name"))
                ended.rows[name] = marks[0].tag if marks else "passed"
                ended.texts[name] = " ".join([str(mark.get("message")) for mark in marks] + list(case.itertext()))
        return ended

    def canary(self, *words: str, seconds: float = 60) -> tuple[int, str]:
        """Type `pytest-canary ...`."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest_canary.command", *words, *QUIET],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def alive(self) -> list[int]:
        """The pids of this site's processes."""
        mark, found = f"REHEARSAL={self.name}".encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def wait_for(self, text: str, process: subprocess.Popen[str]) -> str:
        """Read what ``process`` says until a line holds ``text``."""
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if text in line:
                return said
        raise AssertionError(said)

    def end(self) -> None:
        """End what a failed test has left."""
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        for _ in range(50):
            if not self.alive():
                return
            time.sleep(0.1)
