"""LiteLLM's proxy behind Envoy, counted by a real Prometheus: shipped by a rollout.yaml and a prometheus.yml alone.

One service has one rollout after the other, as in life: what was promoted is what the next is compared with.
"""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.local.rehearsal import ROOT, Ended, Site
from tests.prometheus.servers import prometheus_of

LITELLM = ROOT / ".venv" / "foreign" / "litellm" / "bin" / "litellm"
FILES = Path(__file__).parents[1] / "resources" / "foreign" / "litellm"
SECONDS = 600
"""LiteLLM takes seven seconds of a processor to start, and minutes where nobody has one to spare."""


AT_ONCE = 2
"""Services, each with two or three proxies: with more of them on two cores the proxies answer nobody for minutes."""


@dataclass(frozen=True)
class Shipped:
    """A configuration of the proxy, and what its rollout has to come to."""

    build: str
    gate: str = ""
    """What convicts it; empty for a good one."""
    target: str = "counted"

    def __str__(self) -> str:
        return f"{self.build} {self.target}"


SERVICES = (
    (
        Shipped("v2-errors", "error_rate"),
        Shipped("v2-slow", "latency_p99"),
        Shipped("v2"),
    ),
    (
        Shipped("v2-costly", "cost_per_request"),
        Shipped("again"),
    ),
    (
        Shipped("v2-chatty", "output_tokens", "seen"),
        Shipped("v2-refuses", "refusal_rate", "seen"),
        Shipped("v2-blocks", "latency_p99", "seen"),
    ),
)
"""`again` is v1 under another name, so that nothing differs but chance."""
ALL = [one for service in SERVICES for one in service]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every rollout; two services at once."""
    assert LITELLM.exists(), f"{LITELLM} is not there; type scripts/foreign"
    found: dict[Shipped, Future[Ended]] = {one: Future() for one in ALL}
    folder = tmp_path_factory.mktemp("litellm")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        services = [pool.submit(ship, folder / str(n), service, found) for n, service in enumerate(SERVICES)]
        yield found
    for service in services:
        assert service.result() == [], "processes that nobody has ended"


def ship(folder: Path, service: tuple[Shipped, ...], found: dict[Shipped, Future[Ended]]) -> list[int]:
    """Ship one service's builds, each on top of what the last has left; what still runs after `down`."""
    site = Site(folder, FILES, "llm-proxy")
    shutil.copy(folder / "rollouts" / "v1.yaml", folder / "rollouts" / "again.yaml")
    shutil.copy(FILES / "prometheus.yml", folder)
    try:
        with prometheus_of(folder / "prometheus.yml") as counted:
            site.more |= {"LITELLM": str(LITELLM), "PROMETHEUS": counted.url}
            for one in service:
                found[one].set_result(shipped(site, one))
            code, said = site.canary("down", "--target", service[0].target, seconds=SECONDS)
        assert code == 0, said
        return site.alive()
    except BaseException as error:
        for one in service:
            if not found[one].done():  # nobody may wait for it for ever
                found[one].set_exception(error)
        raise
    finally:
        site.end()


def shipped(site: Site, one: Shipped) -> Ended:
    """Ship one build; once more where a proxy has crashed meanwhile.

    On a busy machine LiteLLM's interpreter now and then ends with SIGSEGV.  A stable build that dies ends a rollout,
    as it should, and then nothing was learnt about the configuration.
    """
    ended = site.ended(begin(site, one), SECONDS)
    if "ended with signal SIGSEGV" in ended.out and ended.report["end"] == "rolled back":
        print(f"{one}: a proxy crashed, its rollout was rolled back and is shipped again")  # noqa: T201
        return site.ended(begin(site, one), SECONDS)
    return ended


def begin(site: Site, one: Shipped):
    """A bad build may take as long as it takes."""
    long = {"hold": "100s"} if one.gate else {}
    return site.start(f"--canary-target={one.target}", build=one.build, quick=False, keep="true", **long)


@pytest.mark.parametrize("one", ALL, ids=str)
def test_a_proxy_for_models_is_judged_by_what_it_counts_itself(one, runs):
    """A good configuration is promoted and nobody dropped; a bad one is convicted by the gate for its fault alone."""
    run = runs[one].result()
    convicted = {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}

    assert "Traceback" not in run.out
    assert convicted == ({one.gate} if one.gate else set()), run.out
    assert run.exit == (1 if one.gate else 0), run.out
    assert run.report["end"] == ("rolled back" if one.gate else "promoted")
    if not one.gate:
        assert run.report["users"]["dropped"] == 0, run.report["users"]
