"""What the tests of the main job do beside running it: kill it, ask its world, look at its processes and its lines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.local.rehearsal import Site

SHORT: dict[str, Any] = {"stages": "50,100", "hold": "1s", "baseline.window": "2s", "warmup.prompts": "short.jsonl"}
"""Two stages, and no streams before the ramp."""
HASTY: dict[str, Any] = {**SHORT, "warmup.for": "200ms", "baseline.window": "1s", "baseline.min_requests": "50"}
"""For runs whose end is not decided by what they measure."""
ENDLESS = {"hold": "60s", "deadline": "120s"}
"""For runs that something else ends."""
ANSWERED = 10.0
NOBODY = 65534


def watched(folder: Path) -> Iterator[Site]:
    """The example in ``folder``, whose processes are all gone when the test is over."""
    made = Site(folder / "a path with spaces")
    example = made.folder / "rollouts" / "inference_gateway"
    short = (example / "prompts.jsonl").read_text().splitlines(keepends=True)[:4]
    (example / "short.jsonl").write_text("".join(short))
    yield made
    left = made.alive()
    made.end()
    assert not left, "processes were left behind"


def killed(site: Site, *, guard: bool = False, before: Callable[[str], object] = str, **settings: Any) -> str:
    """Kill -9 a run whose canary has half of the users, and its guard, unless that is to live; where users ask.

    ``before`` is called with what the run has said, just before it dies.
    """
    process = site.start(**{**HASTY, **ENDLESS, **settings})
    said = site.wait_for("ramp[50%]", process)
    watching = guard_of(site)
    before(said)
    if not guard:
        os.kill(watching, signal.SIGSTOP)  # one that dies is replaced as long as the run lives
    process.kill()
    process.communicate()
    if not guard:
        os.kill(watching, signal.SIGKILL)
    return address_in(said)


def guard_of(site: Site) -> int:
    """The pid of the guard of the run that is under way; 0 while there is none."""
    return next((pid for pid in site.alive() if b"pytest_canary.command\0guard" in command_of(pid)), 0)


def command_of(pid: int) -> bytes:
    """The words that started a process; nothing when it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def until_gone(site: Site, patience_seconds: float = 30.0) -> None:
    """Wait until none of the site's processes is left."""
    until = time.monotonic() + patience_seconds
    while site.alive():
        assert time.monotonic() < until, [command_of(pid) for pid in site.alive()]
        time.sleep(0.05)


def address_in(said: str) -> str:
    """Where users of the world ask, from what a run has said about its target."""
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert found, said
    return found.group()


def serving(site: Site) -> dict[str, int]:
    """The pids of the builds that run, by the name of the build."""
    found = {}
    for pid in site.alive():
        words = command_of(pid).decode().split("\0")
        if "pytest_canary.demo" in words:
            found[words[words.index("--build") + 1]] = pid
    return found


def envoy_of(site: Site) -> int:
    """The pid of the site's Envoy."""
    return next(pid for pid in site.alive() if b"/envoy/_bin/envoy" in command_of(pid))


def assert_lines_stand_alone(out: str) -> None:
    """Each row of a rollout begins its line, and nothing unreadable stands between them."""
    row = r"canary \S[^\n]*? (?:ok|FAILED) +\d+\.\d s  \S"
    whole = re.findall(f"^{row}", out, re.MULTILINE)
    assert len(whole) >= 6, out
    assert len(whole) == len(re.findall(row, out)), out
    assert "Traceback" not in out
    assert "\x1b" not in out


def as_nobody(command: list[str], env: dict[str, str], folder: Path) -> tuple[list[str], dict[str, Any]]:
    """``command`` and what else ``subprocess.run`` needs, so that an ordinary user runs it in ``folder``.

    Nobody may not look into root's home, where this interpreter may live; Debian's own is for all.
    """
    nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(httpx.__file__).parents[1])])
    env = {**env, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": paths}
    for python in (sys.executable, f"/usr/bin/{own}", f"/usr/local/bin/{own}"):
        try:
            subprocess.run([python, "-c", "import pytest_canary"], check=True, env=env, cwd="/", **nobody)
        except OSError:
            continue
        return [python, *command[1:]], {"env": env, **nobody}
    raise AssertionError(f"an ordinary user can run no {own}; apt-get install {own}, or run the tests as one")


class Asking:
    """Somebody who asks ``address`` again and again, a new connection each time, as long as the block lasts."""

    def __init__(self, address: str) -> None:
        self.builds, self.lost = Counter[str](), list[str]()
        self.address, self._over = address, threading.Event()
        self._thread = threading.Thread(target=self._ask, name="asking")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.02):
            try:
                self.builds[httpx.get(f"{self.address}/health", timeout=ANSWERED).json()["build"]] += 1
            except (httpx.HTTPError, ValueError) as error:
                self.lost.append(repr(error))


def builds_that_answer(address: str, times: int = 40) -> set[str]:
    """The builds that answer ``times`` requests in a row."""
    return {httpx.get(f"{address}/health", timeout=ANSWERED).json()["build"] for _ in range(times)}


def until_asked(asking: Asking, times: int, patience_seconds: float = 20.0) -> None:
    """Wait until ``asking`` has been answered ``times`` more."""
    until, goal = time.monotonic() + patience_seconds, asking.builds.total() + times
    while asking.builds.total() < goal:
        assert time.monotonic() < until, f"answered by {asking.builds}, lost {asking.lost[:3]}"
        time.sleep(0.02)
