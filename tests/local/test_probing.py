"""Probes in real time: over HTTP, in threads, beside builds that hang; and a rollout that only they can judge."""

from __future__ import annotations

import threading
import time

import pytest

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.http import HttpProbe, ProbeOptions
from pytest_canary.errors import BaselineFailed
from pytest_canary.plan import Plan, Probing, Stage
from pytest_canary.ports import PROBED, Change, Prompt, Role, Sample, World
from pytest_canary.probing import Pace, PacedProbes
from pytest_canary.spec import gate_from
from pytest_canary.steps.baseline import Baseline
from pytest_canary.steps.probing import without_probes
from tests.local.rehearsal import Site
from tests.local.servers import DONE, LAST_CHUNK, STREAM, chunk, request, said, serving

PROMPTS = [Prompt(f"/{name}/v1/chat/completions", {"messages": []}, stream=True) for name in "abc"]
EMPTY = Sample(0.0)


@pytest.fixture
def probes():
    """Asked for at this pace, and gone after the test."""
    made = []

    def make(rate, concurrency=4, timeout=5.0):
        http = HttpProbe(ProbeOptions(timeout=timeout))
        one = PacedProbes(http, SystemClock(), Pace(rate, concurrency))
        made.append((one, http))
        return one

    yield make
    for one, http in made:
        one.end()
        http.close()


def answering(log, seconds=0.0):
    """A build that answers every request after so many seconds, and writes down what it was asked."""

    def answer(connection):
        log.append(request(connection))
        time.sleep(seconds)
        connection.sendall(b"".join([STREAM, chunk(said("ok", "stop") + DONE), LAST_CHUNK]))

    return answer


def hanging(over):
    """A build that takes every connection and answers nobody."""
    return lambda connection: (request(connection), over.wait(30))


def until(true, seconds=60.0):
    """Wait for it, or fail."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def asked(probes, role):
    """What the probes of ``role`` have counted, by its own name."""
    counters = probes.added(role, EMPTY).counters
    return {name.removeprefix(PROBED): count for name, count in counters.items()}


def test_both_builds_are_asked_the_same_in_the_same_order(probes):
    """However slow one of them is."""
    fast, slow, paced = [], [], probes(rate=50, concurrency=1)
    with serving(answering(fast)) as one, serving(answering(slow, 0.1)) as other:
        paced.begin({Role.BASELINE: one, Role.CANARY: other}, PROMPTS)
        until(lambda: min(asked(paced, role)["requests"] for role in (Role.BASELINE, Role.CANARY)) >= 12)
        paced.end()
        told = {role: asked(paced, role)["requests"] for role in (Role.BASELINE, Role.CANARY)}
        latencies = paced.added(Role.CANARY, EMPTY).histograms["probe.ttft"]

    first, second = ([path for path, _ in log[:12]] for log in (fast, slow))
    assert first == second == [prompt.path for prompt in PROMPTS] * 4
    assert abs(told[Role.BASELINE] - told[Role.CANARY]) <= 2
    assert latencies.quantile(0.1) >= 0.09


def test_a_build_that_hangs_has_so_many_in_flight_and_no_more(probes):
    """And the other one waits with it: a comparison of unequal numbers is none."""
    good, over, paced = [], threading.Event(), probes(rate=100, concurrency=3, timeout=30.0)
    with serving(answering(good)) as one, serving(hanging(over)) as other:
        paced.begin({Role.BASELINE: one, Role.CANARY: other}, PROMPTS)
        until(lambda: len(good) == 3 and paced.seen()[Role.CANARY].skipped >= 20)
        began = time.monotonic()
        paced.end()
        took, flying = time.monotonic() - began, [t for t in threading.enumerate() if t.name == "probe-canary"]
        over.set()

    assert took < 0.5
    assert len(flying) == 3
    assert all(thread.daemon for thread in flying)
    assert len(good) == 3
    assert asked(paced, Role.CANARY)["requests"] == 0


def test_a_build_that_hangs_is_told_by_its_faults(probes):
    """At the time limit of the probe; it is not silence."""
    over, paced = threading.Event(), probes(rate=50, concurrency=2, timeout=0.3)
    with serving(hanging(over)) as other:
        paced.begin({Role.CANARY: other}, PROMPTS)
        until(lambda: asked(paced, Role.CANARY)["no_answer"] >= 3)
        paced.end()
        over.set()

    assert "timed out" in paced.seen()[Role.CANARY].first_fault


def test_a_build_that_hangs_before_the_ramp_is_named(probes, tmp_path):
    """It keeps the other from being asked, which must not look like the other's fault."""
    good, over, paced = [], threading.Event(), probes(rate=100, concurrency=2, timeout=30.0)
    gate = gate_from("probe_error_rate", {"ratio": 1.5}, "rollout.yaml:3")
    stage = Stage("rollout.yaml", 0, 0.05, 10.0, 20, 60.0)
    plan = Plan("r", "gateway", "local", tmp_path, None, Change(), (stage,), (gate,), probing=Probing(100, 2, ()))
    with serving(answering(good)) as one, serving(hanging(over)) as other:
        paced.begin({Role.BASELINE: one, Role.CANARY: other}, PROMPTS)
        until(lambda: paced.seen()[Role.CANARY].skipped > paced.seen()[Role.BASELINE].skipped + 5)
        paced.end()
        over.set()
    world = World(None, None, None, None, SystemClock(), None, probes=paced)

    with pytest.raises(BaselineFailed, match=r"were not sent, because the canary still had all it may have in flight"):
        without_probes(world, plan, Baseline(paced.added(Role.BASELINE, EMPTY), 1.0), None)


def test_what_ends_after_the_end_is_not_counted(probes):
    """The canary is being drained then, and may cut what it likes."""
    late, paced = [], probes(rate=20, concurrency=4)
    with serving(answering(late, 0.5)) as other:
        paced.begin({Role.CANARY: other}, PROMPTS)
        until(lambda: late)
        paced.end()
        until(lambda: not [t for t in threading.enumerate() if t.name == "probe-canary"])

    assert asked(paced, Role.CANARY)["requests"] == 0


def test_every_probe_carries_the_mark_by_which_it_can_be_left_out(probes):
    """In logs and metrics of whoever counts."""
    log, paced = [], probes(rate=20)
    with serving(lambda connection: log.append(connection.recv(65536))) as one:
        paced.begin({Role.CANARY: one}, PROMPTS)
        until(lambda: log)
        paced.end()

    assert b"\r\nx-canary-probe: 1\r\n" in log[0].lower()
    assert b"\r\nuser-agent: pytest-canary\r\n" in log[0].lower()


USERS = (
    *("error_rate", "latency_p99", "client_error_rate", "inter_token_latency_p95", "output_tokens"),
    *("cost_per_request", "refusal_rate"),
)
"""Gates of the example that are about what users had."""
PROBED_ONLY = {
    **dict.fromkeys((f"gates.{name}" for name in USERS), "off"), "load.rate": "20",
    "probe.rate": "20", "probe.concurrency": "8", "probe.prompts": "prompts.jsonl", "stages": "50,100", "hold": "60s",
    "deadline": "90s", "baseline.window": "5s", "baseline.min_requests": "50",
}  # fmt: skip


@pytest.mark.parametrize(
    ("build", "gate"),
    [
        ("v2-truncates", "gates.probe_error_rate.ratio=1.5"),
        ("v2-chatty", "gates.probe_output_tokens.ratio=1.3"),
        ("v2-slowstream", "gates.probe_inter_token_latency.ratio=1.5"),
    ],
)
def test_what_nobody_counts_is_caught_by_asking(tmp_path, build, gate):
    """Real builds behind real Envoy, and no gate about what users had: as where a gateway counts little."""
    key, _, limit = gate.partition("=")
    site = Site(tmp_path)
    (tmp_path / "rollouts/inference_gateway/test_gates.py").unlink()
    try:
        ended = site.run(build=build, **{**PROBED_ONLY, key: limit})
    finally:
        site.end()
    failed = {verdict["gate"] for verdict in ended.report["verdicts"] if verdict["status"] == "fail"}
    answered = [ended.report["probes"][side]["answered"] for side in ("baseline", "canary")]

    assert (ended.exit, ended.report["end"]) == (1, "rolled back"), ended.out
    assert failed == {key.split(".")[1]}
    assert ended.report["users"]["dropped"] <= ended.report["exposed"]
    assert abs(answered[0] - answered[1]) <= 8
