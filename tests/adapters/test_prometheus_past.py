"""What a real Prometheus had counted in the minutes before: range queries, replica by replica."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from pytest_canary import calibrated
from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.prometheus import PrometheusMetrics
from pytest_canary.adapters.prometheus import past as pasts
from pytest_canary.command import main
from pytest_canary.errors import SourceUnavailable
from pytest_canary.play import of_samples
from pytest_canary.ports import Role
from tests.adapters.contracts import NOWHERE, Bench
from tests.prometheus.servers import exposing, prometheus, proxy, told, until

BASELINE = Role.BASELINE
PROFILE = """
select = { namespace = "{namespace}", pod = "=~{pod}" }
replica = "pod"
[counters.requests]
metric = "r_total"
[counters.errors]
metric = "r_total"
match = { code = "=~5.." }
[histograms.latency]
metric = "d"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One Prometheus for all tests here."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), {"quick": 9}) as running:
        yield running


@pytest.fixture
def source(tmp_path):
    """A metric source about some pods, at an address."""
    (tmp_path / "own.toml").write_text(PROFILE)
    with ExitStack() as stack:

        def connected(url, *pods):
            shared = Bench(tmp_path, SystemClock()).shared()
            shared.labels[BASELINE] = told(*pods)
            made = PrometheusMetrics(PrometheusMetrics.Options(url=url, profile="own.toml"), shared)
            stack.callback(made.stop)
            return made

        yield connected


def exposition(requests, errors):
    """Counters, and a histogram with everything in its first bucket."""
    return (
        f'r_total{{code="200"}} {requests - errors}\nr_total{{code="503"}} {errors}\n'
        f'd_bucket{{le="0.01"}} {requests}\nd_bucket{{le="+Inf"}} {requests}\nd_sum {requests / 200}\n'
    )


def counted(server, exposed, *values):
    """Let each pair of requests and errors be scraped, one after the other; returns when, wall time."""
    began = time.time()
    for requests, errors in values:
        for one in exposed:
            one.text = exposition(requests, errors)
        for one in exposed:
            server.wait(one.pod)
        time.sleep(1.1)  # steps are whole seconds
    return began, time.time()


def test_the_hours_before_are_told_step_by_step_and_replica_by_replica(server, source):
    """Nobody has to record for a day before the first calibration."""
    pods = server.take(2, "quick")
    with ExitStack() as held:
        exposed = [held.enter_context(exposing(pod, exposition(100, 1))) for pod in pods]
        for pod in pods:
            server.wait(pod)
        began, ended = counted(server, exposed, (100, 1), (300, 7), (450, 8))
        told_of = list(source(server.url, *pods).past(BASELINE, began, ended, 1.0))

    history = of_samples(told_of)
    assert history.replicas == 2
    assert history.requests.sum(axis=0).tolist() == [350, 350]
    assert history.counters["errors"].sum(axis=0).tolist() == [7, 7]
    assert history.histograms["latency"].counts[..., 0].sum() == 700
    assert told_of[-1].at == pytest.approx(ended, abs=2.5)


def test_a_pod_that_began_anew_loses_nothing_of_what_was_counted(server, source):
    """A restart in the middle of the night is no gap of the whole history."""
    (pod,) = server.take(1, "quick")
    with exposing(pod, exposition(100, 1)) as exposed:
        server.wait(pod)
        began, ended = counted(server, [exposed], (100, 1), (200, 2), (30, 3), (80, 3))
        told_of = list(source(server.url, pod).past(BASELINE, began, ended, 1.0))

    assert told_of[-1].counters["requests"] - told_of[0].counters["requests"] == 180
    assert told_of[-1].counters["errors"] - told_of[0].counters["errors"] == 4


def test_a_long_time_is_asked_for_in_pieces(server, source, monkeypatch):
    """Prometheus answers at most 11,000 points of a series, and says so by an error."""
    monkeypatch.setattr(pasts, "POINTS", 2)
    (pod,) = server.take(1, "quick")
    with exposing(pod, exposition(100, 1)) as exposed, proxy(server) as between:
        server.wait(pod)
        began, ended = counted(server, [exposed], (100, 1), (200, 2), (250, 2), (300, 2))
        told_of = list(source(between.url, pod).past(BASELINE, began, ended, 1.0))

    assert sum("query_range" in path for path, _ in between.asked) >= 2
    assert len({one.at for one in told_of}) == len(told_of)
    assert told_of[-1].counters["requests"] - told_of[0].counters["requests"] == 200


def test_times_before_anything_was_scraped_are_left_out(server, source):
    """A service that is a day old has no week of history."""
    (pod,) = server.take(1, "quick")
    with exposing(pod, exposition(100, 1)):
        server.wait(pod)
        until(lambda: server.ask(f'r_total{{pod="{pod.name}"}}'), 10, "its counters")
        time.sleep(2.1)  # steps are whole seconds
        now = time.time()
        told_of = list(source(server.url, pod).past(BASELINE, now - 1200, now, 1.0))

    assert 1 <= len(told_of) <= 100


def test_a_server_that_does_not_answer_is_named(source, server):
    """In one line."""
    (pod,) = server.take(1, "quick")

    with pytest.raises(SourceUnavailable, match="prometheus at http"):
        list(source(NOWHERE, pod).past(BASELINE, 0.0, 100.0, 10.0))


ROLLOUT = """
service: gateway
stages: [50, 100]
hold: 3s
min_requests: 5
poll: 1s
baseline: {revision: stable, window: 2s, min_requests: 5}
gates: {error_rate: {ratio: 1.5}}
targets:
  production:
    platform: {memory: {}}
    router: {memory: {}}
    probe: {memory: {}}
    metrics:
      prometheus: {url: "URL", profile: ../../own.toml, roles: {baseline: {pod: "=~PODS"}, canary: {job: new}}}
"""


def test_a_service_is_calibrated_on_what_its_prometheus_remembers(server, tmp_path, monkeypatch, capsys):
    """One command on the first day: nothing has to be recorded."""
    pods = server.take(2, "quick")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "own.toml").write_text(PROFILE)
    folder = tmp_path / "rollouts/gateway"
    folder.mkdir(parents=True)
    text = ROLLOUT.replace("URL", server.url).replace("PODS", "|".join(pod.name for pod in pods))
    (folder / "rollout.yaml").write_text(text)
    began = time.time()
    with ExitStack() as held:
        for pod in pods:
            held.enter_context(exposing(pod, lambda: exposition(int(50 * (time.time() - began)), 0)))
        time.sleep(12)
        code = main(["calibrate", "rollouts/gateway", "--hours", "0.01", "--plays", "20"])
    told = capsys.readouterr()

    assert code == 0, told.err
    assert "asks prometheus for the last 0.01 h, every 1 s" in told.out
    assert "of 2 replicas (prometheus)" in told.out
    assert calibrated.read(folder / "calibration.json", "production").after.plays == 20
