"""Not only our own demo: servers in Go, C and JavaScript, shipped by nothing but a rollout.yaml."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.local.rehearsal import ROOT, Ended, Site

SERVERS = ROOT / ".venv" / "foreign"
ROLLOUTS = Path(__file__).parents[1] / "resources" / "foreign"


@dataclass(frozen=True)
class Shipped:
    """A build of somebody's server, and what its rollout has to come to."""

    server: str
    service: str
    build: str = "v2"
    args: str = ""
    gate: str = ""
    """What convicts it; empty for a good one."""
    phase: str = "gate"

    def __str__(self) -> str:
        return f"{self.server} {self.build}{' ' + self.args if self.args else ''}"


DELAY = "--random-delay, --random-delay-min, 20, --random-delay-max, 60, --random-delay-unit, ms"
ALL = (
    Shipped("podinfo", "podinfo"),
    Shipped("podinfo", "podinfo", args="--random-error", gate="error_rate"),
    Shipped("podinfo", "podinfo", args=DELAY, gate="latency_p99"),
    Shipped("podinfo", "podinfo", args="--unready", phase="deploy"),
    Shipped("nginx", "web"),
    Shipped("nginx", "web", "v2-errors", gate="error_rate"),
    Shipped("nginx", "web", "v2-slow", gate="latency_p99"),
    Shipped("node", "shop"),
    Shipped("node", "shop", "v2-errors", gate="error_rate"),
    Shipped("node", "shop", "v2-slow", gate="latency_p99"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every rollout, two at once."""
    pool = ThreadPoolExecutor(2)
    folder = tmp_path_factory.mktemp("foreign")
    found: dict[Shipped, Future[Ended]] = {one: pool.submit(ship, one, folder / str(n)) for n, one in enumerate(ALL)}
    yield found
    pool.shutdown(cancel_futures=True)


def ship(one: Shipped, folder: Path) -> Ended:
    """Ship it once; nothing may be left running."""
    for name in ("podinfo", "nginx", "node"):
        assert (SERVERS / name).exists(), f"{SERVERS / name} is not there; type scripts/foreign"
    site = Site(folder, ROLLOUTS / one.server, one.service)
    site.more |= {name.upper(): str(SERVERS / name) for name in ("podinfo", "nginx", "node")}
    args = {"canary.args": f"[{one.args}]"} if one.args else {}
    long = {"hold": "60s"} if one.gate else {}
    try:
        ended = site.run(build=one.build, quick=False, **args, **long)
        left = site.alive()
    finally:
        site.end()
    assert not left
    return ended


@pytest.mark.parametrize("one", ALL, ids=str)
def test_a_server_that_knows_nothing_of_us_is_shipped_by_its_rollout_yaml(one, runs):
    """A good build is promoted and nobody dropped; a bad one is caught by its own fault."""
    run = runs[one].result()

    assert "Traceback" not in run.out
    good = not one.gate and one.phase == "gate"
    assert run.exit == (0 if good else 1), run.out
    if good or one.phase == "deploy":
        assert run.report["users"]["dropped"] == 0, run.report["users"]
    if good:
        assert run.report["end"] == "promoted"
    elif one.phase == "deploy":
        assert run.rows["deploy"] == "failure"
    else:
        convicted = {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}
        assert one.gate in convicted or run.rows["smoke"] == "failure", run.out
