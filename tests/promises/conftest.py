"""A project with one rollout in the memory world: real pytest, real plugin, virtual time."""

from __future__ import annotations

import json
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy  # noqa: F401 - runs in this process put sys.modules back, and numpy cannot be imported twice
import pytest

import pytest_canary.session.conductor  # noqa: F401 - for the same reason, all that runs share

ROLLOUT = """
service: gateway
stages: [5, 25, 50, 100]
hold: 10s
min_requests: 20
deadline: 120s
poll: 1s
warmup: 0s
baseline: {revision: stable, window: 5s, min_requests: 50}
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
targets:
  memory:
    clock: {CLOCK: {}}
    platform: {memory: {store: world.json, log: world.log PLATFORM}}
    router: {memory: {ROUTER}}
    metrics: {memory: {rate: 100, error_rate: {v1: 0.01, v2: 0.01, v2-errors: 0.3} METRICS}}
    probe: {memory: {}}
"""


@dataclass
class Run:
    """What a pytest process did to the world, and said."""

    exit: int
    acts: list[str]
    rows: dict[str, str]
    messages: dict[str, str]
    out: str

    @property
    def shifts(self) -> list[float]:
        """The canary's weights in the order they were set, consecutive equals folded."""
        weights: list[float] = []
        for act in self.acts:
            if act.startswith("weights"):
                shares = dict(part.split("=") for part in act.split()[1:])
                weight = float(shares.get("canary", 0.0))
                if not weights or weights[-1] != weight:
                    weights.append(weight)
        return weights

    def did(self, act: str) -> bool:
        """Whether the world was asked to ``act``."""
        return any(line.startswith(act) for line in self.acts)


@dataclass
class Project:
    """A folder with a rollout, and ways to run pytest on it."""

    pytester: pytest.Pytester

    def write(
        self,
        *,
        clock: str = "virtual",
        platform: str = "",
        router: str = "",
        metrics: str = "",
        replace: dict[str, str] | None = None,
        folder: str = "rollouts/gateway",
        **tests: str,
    ) -> Project:
        """Write the rollout.yaml and test files (``name=source``) into ``folder``."""
        home = self.pytester.path / folder
        home.mkdir(parents=True, exist_ok=True)
        text = ROLLOUT.replace("CLOCK", clock).replace("PLATFORM", platform and ", " + platform)
        text = text.replace("ROUTER", router).replace("METRICS", metrics and ", " + metrics)
        for old, new in (replace or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        (home / "rollout.yaml").write_text(text)
        for name, source in tests.items():
            (home / f"{name}.py").write_text(textwrap.dedent(source))
        return self

    @property
    def log(self) -> Path:
        """What the world was asked to do."""
        return self.pytester.path / "rollouts/gateway/world.log"

    def run(self, *args: str, image: str | None = "gateway:v2", process: bool = False) -> Run:
        """Run pytest here and read what happened; in a process of its own when asked."""
        start = len(self.log.read_text().splitlines()) if self.log.exists() else 0
        junit = self.pytester.path / "out.xml"
        junit.unlink(missing_ok=True)
        given = [f"--image={image}"] if image is not None else []
        runner = self.pytester.runpytest_subprocess if process else self.pytester.runpytest_inprocess
        result = runner("-p", "no:cacheprovider", "rollouts", f"--junitxml={junit}", *given, *args)
        return self.read(int(result.ret), result.stdout.str() + result.stderr.str(), start)

    def read(self, exit_code: int, out: str, start: int = 0) -> Run:
        """Read the world's log and the JUnit of a run that is over."""
        acts = self.log.read_text().splitlines()[start:] if self.log.exists() else []
        junit = self.pytester.path / "out.xml"
        rows, messages = read_junit(junit) if junit.exists() else ({}, {})
        return Run(exit_code, acts, rows, messages, out)


def read_junit(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Row -> passed, failed, error or skipped; row -> message and text."""
    rows, messages = {}, {}
    for case in ET.parse(path).getroot().iter("testcase"):
        bake = "bake::" if str(case.get("classname")).endswith(".bake") else ""
        name = f"{bake}{case.get('name')}"
        marks = [child for child in case if child.tag in ("failure", "error", "skipped")]
        rows[name] = marks[0].tag.replace("failure", "failed") if marks else "passed"
        messages[name] = " ".join(f"{mark.get('message')} {mark.text}" for mark in marks)
        messages[name] += " ".join(child.text or "" for child in case if child.tag == "system-out")
    return rows, messages


QUIET = "-p no:randomly -p no:replay -p no:embedded"
"""Plugins that are installed for the tests that name them."""


@pytest.fixture(autouse=True)
def quiet(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it sets variables too, and first
    """Start every pytest of a test without the plugins that change all runs."""
    monkeypatch.setenv("PYTEST_ADDOPTS", QUIET)


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """A project with nothing in it yet."""
    pytester.makeini("[pytest]\njunit_logging = system-out\n")
    return Project(pytester)


@pytest.fixture
def world_of(project: Project) -> Callable[[], dict[str, object]]:
    """The memory world as it stands on disk."""
    return lambda: json.loads((project.pytester.path / "rollouts/gateway/world.json").read_text())
