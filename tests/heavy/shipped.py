"""Rollouts of somebody's model server, one after the other, on one stable build that goes on serving."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.local.rehearsal import ROOT, Ended, Site
from tests.prometheus.servers import prometheus_of

SERVERS = ROOT / ".venv" / "foreign"
ROLLOUTS = ROOT / "tests" / "resources" / "foreign"
RUN_SECONDS = 2400
"""A copy of vLLM may take minutes to start on a busy machine."""
KEEP = os.environ.get("HEAVY_REPORTS", "")
"""A folder that gets the report of every rollout; none unless set."""


@dataclass(frozen=True)
class Shipped:
    """A build, and what its rollout has to come to."""

    build: str
    args: tuple[str, ...] = ()
    model: str = ""
    gates: tuple[str, ...] = ()
    """What may convict it, and nothing else; empty for a good one."""
    step: str = ""
    """The step that refuses it, where no gate has to."""

    def __str__(self) -> str:
        return self.build


@dataclass
class World:
    """A folder with one rollout.yaml, and a Prometheus beside it."""

    site: Site

    def ship(self, one: Shipped) -> Ended:
        """Ship it; the stable build serves on."""
        settings = {"keep": "true"}
        if one.args:
            settings["canary.args"] = json.dumps(one.args)
        if one.model:
            settings["canary.model"] = one.model
        run = self.site.ended(self.site.start(build=one.build, quick=False, **settings), RUN_SECONDS)
        if KEEP:
            Path(KEEP).mkdir(parents=True, exist_ok=True)
            (Path(KEEP) / f"{self.site.service}-{one}.txt").write_text(run.out)
        return run


@contextmanager
def world(folder: Path, server: str, service: str) -> Iterator[World]:
    """The rollout.yaml of ``server`` and a Prometheus with its prometheus.yml; all that it started has ended then."""
    program = SERVERS / server / "bin" / "python"
    assert program.exists(), f"{program} is not there; type scripts/foreign-heavy"
    site = Site(folder, ROLLOUTS / server, service)
    shutil.move(folder / "rollouts" / "prometheus.yml", folder)
    with prometheus_of(folder / "prometheus.yml") as counted:
        site.more |= {"PROMETHEUS": counted.url, "SERVER": str(program.parent)}
        try:
            yield World(site)
            code, said = site.canary("down", seconds=RUN_SECONDS)
            assert code == 0, said
            assert not site.alive(), said
        finally:
            site.end()


def convicted(run: Ended) -> set[str]:
    """The gates that failed."""
    return {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}


def assert_ended_as(one: Shipped, run: Ended) -> None:
    """A good build is promoted, a bad one caught by its own fault, and nobody dropped."""
    assert "Traceback" not in run.out
    assert run.exit == (1 if one.gates or one.step else 0), run.out
    assert run.report["users"]["dropped"] == 0, run.report["users"]
    if one.step:
        assert run.rows[one.step] == "failure", run.out
    elif one.gates:
        assert convicted(run), run.out
        assert convicted(run) <= set(one.gates), run.out
    else:
        assert run.report["end"] == "promoted", run.out
        assert not convicted(run), run.out
