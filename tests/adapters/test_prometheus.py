"""Prometheus as a metric source: a real server that scrapes real gateways, and places that say what a test wants."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import time
from contextlib import ExitStack
from math import isclose
from pathlib import Path

import pytest
from pydantic import ValidationError

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.profiles.counted import UNITS
from pytest_canary.adapters.profiles.profile import BUILT_IN, Profile, load
from pytest_canary.adapters.prometheus import PrometheusMetrics
from pytest_canary.errors import AdapterError, SourceUnavailable, UsageError
from pytest_canary.ports import Role
from tests.adapters.contracts import BOTH, NOWHERE, Bench, MetricSourceContract
from tests.prometheus.servers import (
    WRONG,
    chat,
    configure,
    exposing,
    gateway,
    prometheus,
    proxy,
    told,
    until,
)

BASELINE, CANARY = Role.BASELINE, Role.CANARY
SECOND = 1.0
SIMPLE = """
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
    """One Prometheus for all tests here; each takes pods of its own."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), {"second": 40, "quick": 60}) as running:
        yield running


@pytest.fixture
def bench(tmp_path):
    """A target whose folder has a profile of its own."""
    (tmp_path / "own.toml").write_text(SIMPLE)
    bench = Bench(tmp_path, SystemClock())
    bench.made = []
    yield bench
    for one in bench.made:
        one.stop()


@pytest.fixture
def held():
    """What is ended after the test."""
    with ExitStack() as stack:
        yield stack


def source(bench: Bench, url: str, router=None, /, **options) -> PrometheusMetrics:
    """The metric source, and what a router tells of each role."""
    shared = bench.shared()
    shared.labels.update(router or {})
    made = PrometheusMetrics.connect(PrometheusMetrics.Options.model_validate({"url": url, **options}), shared)
    made.shared = shared
    bench.made.append(made)
    return made


def numbers(requests, errors=0, upto=(), seconds=0.0):
    """An exposition: a counter with an error child only where there are errors, and a histogram up to 10 and 20 ms."""
    lines = [f'r_total{{code="200"}} {requests - errors}'] + [f'r_total{{code="503"}} {errors}'] * bool(errors)
    buckets = zip(("0.01", "0.02", "+Inf"), upto, strict=False)
    lines += [f'd_bucket{{le="{le}"}} {count}' for le, count in buckets]
    lines += [f"d_sum {seconds}"] * bool(upto)
    return "\n".join(lines) + "\n"


class Split:
    """Shares requests out between two gateways and tells what belongs to whom, as a router would."""

    def __init__(self, shared, server, pods):
        self._shared, self._server = shared, server
        self._pods = {pod.target: pod for pod in pods}
        self._placed, self._weights = {}, {}

    def attach(self, role, revision, address):
        """The gateway at ``address`` stands for ``role``."""
        del revision
        self._placed[role] = pod = self._pods[address]
        self._shared.labels[role] = told(pod)

    def set_weights(self, weights):
        """From the next request on."""
        self._weights = weights

    def send(self, requests):
        """By the weights, and wait until they are scraped."""
        for role, weight in self._weights.items():
            assert set(chat(self._placed[role], round(requests * weight))) <= {200, 500}
        for pod in self._placed.values():
            self._server.wait(pod)

    def stop(self):
        """Nothing runs."""


class TestPrometheusMetrics(MetricSourceContract):
    """The counts are those of the gateways, as Prometheus scrapes them ten times a second."""

    histograms = ("latency", "ttft")

    @pytest.fixture(autouse=True)
    def _gateways(self, server, held):
        self.server, self.pods = server, server.take(2, "quick")
        for pod in self.pods:
            held.enter_context(gateway(pod))
        for pod in self.pods:
            server.wait(pod)

    def connect(self, shared):
        """With the profile of the demo gateway."""
        options = PrometheusMetrics.Options(url=self.server.url, profile="demo-gateway")
        return Split(shared, self.server, self.pods), PrometheusMetrics.connect(options, shared)

    def silent(self, shared):
        """Nobody listens there."""
        shared.labels.update({role: told(pod) for role, pod in zip(BOTH, self.pods, strict=True)})
        return PrometheusMetrics.connect(PrometheusMetrics.Options(url=NOWHERE, profile="demo-gateway"), shared)

    def addresses(self):
        """The two gateways."""
        return tuple(pod.target for pod in self.pods)

    def ask(self, router, bench, requests):
        """All at once."""
        del bench
        router.send(requests)

    def test_a_sample_says_when_it_was_true(self, world, bench):
        """The time of the scrape, so it may lie before the question, by a scrape interval and a bit."""
        before = bench.clock.now()

        assert before - 2 <= world[1].poll([BASELINE])[BASELINE].at <= bench.clock.now()


# -- what is counted --------------------------------------------------------------------------------------------------


def test_counters_are_exactly_what_was_sent_by_role_and_by_replica(server, bench, held):
    """A count that is only about right cannot convict anybody."""
    stable, good, bad = server.take(3)
    for pod, build in ((stable, "v1"), (good, "v1"), (bad, "v2-lies")):
        held.enter_context(gateway(pod, build))
    chat(stable, 12), chat(good, 7), chat(bad, 5), chat(good, 3, WRONG)
    for pod in (stable, good, bad):
        server.wait(pod)
    polled = source(bench, server.url, {BASELINE: told(stable), CANARY: told(good, bad)}, profile="demo-gateway").poll(
        BOTH
    )

    canary = polled[CANARY]
    assert polled[BASELINE].counters["requests"] == polled[BASELINE].histograms["latency"].number == 12
    assert (canary.counters["requests"], canary.counters["errors"], canary.counters["client_errors"]) == (15, 5, 3)
    assert {name: one.counters["requests"] for name, one in canary.replicas.items()} == {good.name: 10, bad.name: 5}
    assert canary.replicas[bad.name].histograms["latency"].number == 5
    assert canary.gauges == {"in_flight": 0}


def test_a_build_that_never_failed_has_no_errors_rather_than_no_data(server, bench, held):
    """A counter's child is absent until its first hit."""
    (pod,) = server.take()
    held.enter_context(exposing(pod, numbers(10)))
    server.wait(pod)
    made = source(bench, server.url, {CANARY: told(pod)}, profile="own.toml")

    assert server.ask(made.queries(CANARY)["counters.errors.0"]) == []
    assert made.poll([CANARY])[CANARY].counters == {"requests": 10, "errors": 0}


def test_a_pod_that_nobody_has_asked_yet_has_counted_nothing_in_the_buckets_of_the_others(server, bench, held):
    """Many servers show a metric only once there is something to count."""
    stable, canary = server.take(2)
    held.enter_context(exposing(stable, numbers(10, 0, (5, 9, 10), 0.2)))
    held.enter_context(exposing(canary, ""))
    server.wait(stable), server.wait(canary)
    roles = {BASELINE: told(stable), CANARY: told(canary)}
    polled = source(bench, server.url, roles, profile="own.toml").poll(BOTH)

    assert polled[CANARY].counters == {"requests": 0, "errors": 0}
    assert polled[CANARY].histograms["latency"].bounds == (0.01, 0.02)
    assert polled[CANARY].histograms["latency"].counts == (0, 0, 0)
    assert polled[BASELINE].histograms["latency"].counts == (5, 4, 1)
    assert polled[BASELINE].histograms["latency"].total == 0.2


def test_a_histogram_that_nobody_has_although_there_are_requests_is_not_told(server, bench, held):
    """Zero observations of a metric with a misspelt name would look like speed."""
    (pod,) = server.take()
    held.enter_context(exposing(pod, numbers(10)))
    server.wait(pod)
    polled = source(bench, server.url, {CANARY: told(pod)}, profile="own.toml").poll([CANARY])

    assert "latency" not in polled[CANARY].histograms


def test_a_gateway_that_restarts_goes_on_counting_from_where_it_was(server, bench):
    """Its own counters begin at zero again."""
    (pod,) = server.take()
    made = source(bench, server.url, {CANARY: told(pod)}, profile="demo-gateway")
    with gateway(pod):
        chat(pod, 9)
        server.wait(pod)
        first = made.poll([CANARY])[CANARY]
    with gateway(pod):
        chat(pod, 4)
        server.wait(pod)
        second = made.poll([CANARY])[CANARY]

    assert second.counters["requests"] == second.histograms["latency"].number == 13
    assert second.since(first).counters["requests"] == 4
    assert second.since(first).replicas[pod.name].counters["requests"] == 4


def test_a_restart_is_one_for_all_counters_of_a_pod(server, bench, held):
    """Its errors may already be more than before, and were still counted from zero."""
    (pod,) = server.take(1, "quick")
    exposed = held.enter_context(exposing(pod, numbers(100, 2)))
    made = source(bench, server.url, {CANARY: told(pod)}, profile="own.toml")
    server.wait(pod)
    made.poll([CANARY])
    exposed.text = numbers(50, 3)
    server.wait(pod)

    assert made.poll([CANARY])[CANARY].counters == {"requests": 150, "errors": 5}


def test_a_pod_that_goes_keeps_its_counts_and_one_that_comes_counts_from_zero(server, bench, held):
    """A Deployment replaces its pods while the rollout goes on.

    One that was there when we came, and could not be read, counts from its first reading: the rest is old.
    """
    stays, goes, mute = server.take(3, "quick")
    for pod, requests in ((stays, 10), (goes, 20), (server.later, 5)):
        held.enter_context(exposing(pod, numbers(requests)))
    server.wait(stays), server.wait(goes)
    made = source(bench, server.url, {CANARY: told(stays, goes, mute, server.later)}, profile="own.toml")
    first = made.poll([CANARY])[CANARY]
    exposed = held.enter_context(exposing(mute, numbers(1000)))
    server.wait(mute)
    second = made.poll([CANARY])[CANARY]
    exposed.text = numbers(1003)
    configure(server.folder, [(pod, {}) for pod in [*server.pods, server.later] if pod is not goes])
    until(lambda: not server.ask(f'up{{pod="{goes.name}"}}'), 10)
    server.wait(server.later), server.wait(mute)
    third = made.poll([CANARY])[CANARY]

    assert [sample.counters["requests"] for sample in (first, second, third)] == [30, 30, 38]
    counted = {name: one.counters["requests"] for name, one in third.replicas.items()}
    assert counted == {stays.name: 10, goes.name: 20, mute.name: 3, "later": 5}


def test_what_the_canary_has_counted_is_no_news_when_its_pods_become_the_baseline(server, bench, held):
    """Promotion changes who stands for a role, not what was counted."""
    old, new = server.take(2, "quick")
    exposed = [held.enter_context(exposing(pod, numbers(10))) for pod in (old, new)]
    server.wait(old), server.wait(new)
    made = source(bench, server.url, {BASELINE: told(old), CANARY: told(new)}, profile="own.toml")
    made.poll(BOTH)
    exposed[1].text = numbers(4)
    server.wait(new)
    with_reset = made.poll(BOTH)
    made.shared.labels[BASELINE] = made.shared.labels.pop(CANARY)

    assert with_reset[CANARY].counters["requests"] == 14
    assert made.poll(BOTH)[BASELINE].counters["requests"] == 14


def test_errors_are_never_a_scrape_newer_than_the_requests_among_which_they_are(server, bench, held):
    """Asked one after the other, two counters may come from two scrapes."""
    (pod,) = server.take(1, "quick")
    began = time.monotonic()
    held.enter_context(exposing(pod, lambda: numbers(n := int((time.monotonic() - began) * 1e6), n)))
    server.wait(pod)
    made = source(bench, server.url, {CANARY: told(pod)}, profile="own.toml")
    seen, polls = set[tuple[float, ...]](), 0
    while polls < 100 or len(seen) < 4:  # however seldom a busy machine scrapes
        seen.add(tuple(made.poll([CANARY])[CANARY].counters.values()))
        polls += 1
        assert time.monotonic() < began + 60

    assert all(requests == errors for requests, errors in seen)


def test_milliseconds_become_seconds_and_the_first_name_that_exists_wins(server, bench, held):
    """Metrics are renamed between versions, and both names are there for a while."""
    old, new = server.take(2, "quick")
    shown = 'r_total 4\n{0}_bucket{{le="5"}} 1\n{0}_bucket{{le="1e+03"}} 3\n{0}_bucket{{le="+Inf"}} 4\n{0}_sum 2500\n'
    held.enter_context(exposing(old, shown.format("before")))
    held.enter_context(exposing(new, shown.format("after") + shown.format("before").partition("\n")[2]))
    profile = SIMPLE.replace('metric = "d"', 'any = [{metric = "after"}, {metric = "before"}]\nunit = "ms"')
    (bench.folder / "ms.toml").write_text(profile)
    server.wait(old), server.wait(new)
    roles = {BASELINE: told(old), CANARY: told(new)}
    for sample in source(bench, server.url, roles, profile="ms.toml").poll(BOTH).values():
        latency = sample.histograms["latency"]
        assert (latency.bounds, latency.counts) == ((0.005, 1.0), (1, 2, 1))
        assert isclose(latency.total, 2.5)


def test_replicas_that_count_in_different_buckets_are_no_data(server, bench, held):
    """Adding them would make up a distribution that nobody has seen."""
    one, other = server.take(2, "quick")
    held.enter_context(exposing(one, numbers(4, 0, (1, 2, 4))))
    held.enter_context(exposing(other, numbers(4, 0, (1, 2, 4)).replace("0.02", "0.5")))
    server.wait(one), server.wait(other)

    with pytest.raises(SourceUnavailable, match="replicas of canary count latency in different buckets"):
        source(bench, server.url, {CANARY: told(one, other)}, profile="own.toml").poll([CANARY])


def test_a_gauge_in_per_cent_is_a_share_and_replicas_are_put_together_as_the_profile_says(server, bench, held):
    """Utilisations are not added up."""
    pods = server.take(2, "quick")
    for pod, value in zip(pods, (40, 80), strict=True):
        held.enter_context(exposing(pod, f"r_total 1\nbusy {value}\n"))
        server.wait(pod)
    more = '[gauges.gpu_utilisation]\nmetric = "busy"\nunit = "percent"\nacross = "mean"\n'
    more += '[gauges.in_flight]\nquery = "sum by ($by) (busy{$match} - on ($by) sum by ($by) (r_total{$match}))"\n'
    (bench.folder / "gpu.toml").write_text(SIMPLE + more)
    sample = source(bench, server.url, {CANARY: told(*pods)}, profile="gpu.toml").poll([CANARY])[CANARY]

    assert sample.gauges["gpu_utilisation"] == pytest.approx(0.6)
    assert sample.gauges["in_flight"] == 118
    assert sample.replicas[pods[1].name].gauges["gpu_utilisation"] == 0.8


def test_labels_say_which_model_each_replica_serves(server, bench, held):
    """By the names that the profile has for them; a label that tells the roles apart differs, whatever they serve."""
    pods = server.take(3, "quick")
    for pod, version in zip(pods, ("7", "7", "8"), strict=True):
        held.enter_context(exposing(pod, f'r_total{{code="200"}} 1\nabout{{model="llama",version="{version}"}} 1\n'))
        server.wait(pod)
    (bench.folder / "named.toml").write_text(
        f'model = {{ name = "model", version = "version", metric = "about" }}\n{SIMPLE}'
    )
    stable, *canaries = pods
    roles = {BASELINE: told(stable), CANARY: told(*canaries)}
    made = source(bench, server.url, roles, profile="named.toml")
    by_version = {"baseline": {"version": "7"}, "canary": {"version": "8"}}

    assert made.models(BASELINE) == {stable.name: "llama@7"}
    assert made.models(CANARY) == {canaries[0].name: "llama@7", canaries[1].name: "llama@8"}
    assert source(bench, server.url, roles, profile="own.toml").models(CANARY) == {}
    assert source(bench, server.url, roles, profile="named.toml", roles=by_version).models(CANARY) == {}


@pytest.mark.parametrize("build", ["v1", "v2-model8"])
def test_the_demo_gateway_tells_its_version_before_anybody_asks_it(build, server, bench, held):
    """The canary has no requests when it is compared."""
    (pod,) = server.take()
    held.enter_context(gateway(pod, build))
    server.wait(pod)
    made = source(bench, server.url, {CANARY: told(pod)}, profile="demo-gateway")

    assert made.models(CANARY) == {pod.name: "@8" if build == "v2-model8" else "@7"}


# -- what is counted twice, or not told apart -------------------------------------------------------------------------


def test_a_pod_that_is_scraped_twice_is_named_rather_than_counted_twice(server, bench, held):
    """Twice the counts are twice the evidence that there is; one of two jobs is chosen by a label."""
    one, other = server.take(2, "quick")
    held.enter_context(exposing(one, numbers(4)))
    held.enter_context(exposing(other, numbers(4)))
    ours = [(pod, {}) for pod in server.pods if pod is not other]
    configure(server.folder, [*ours, (other, {"pod": one.name}), (one, {"prometheus_replica": "b"})])
    until(lambda: len(server.ask(f'up{{pod="{one.name}"}} == 1')) == 3, 10)
    roles = {CANARY: told(one)}

    with pytest.raises(SourceUnavailable, match=r"stands 2 times.*prometheus_replica"):
        source(bench, server.url, roles, profile="own.toml").poll([CANARY])
    with pytest.raises(SourceUnavailable, match="is scraped twice, as job 'quick'"):
        source(bench, server.url, roles, profile="own.toml", labels={"prometheus_replica": ""}).poll([CANARY])
    exact = {"prometheus_replica": "", "instance": one.target}
    assert (
        source(bench, server.url, roles, profile="own.toml", labels=exact).poll([CANARY])[CANARY].counters["requests"]
        == 4
    )


def test_two_roles_that_are_read_from_the_same_series_are_refused(server, bench):
    """They would be alike for ever, and nothing would look better."""
    (pod,) = server.take()

    with pytest.raises(SourceUnavailable, match="baseline and canary are read from the same series"):
        source(bench, server.url, dict.fromkeys(BOTH, told(pod)), profile="own.toml").poll(BOTH)


def test_a_router_that_does_not_tell_what_the_profile_needs_is_named(server, bench):
    """A label that is missing is not a pod that is missing."""
    made = source(bench, server.url, {CANARY: {"namespace": "n", "pod": "p"}}, profile="contour")

    with pytest.raises(SourceUnavailable, match=r"contour tells canary by \{service\}"):
        made.poll([CANARY])
    with pytest.raises(SourceUnavailable, match="the router of this target does not say"):
        source(bench, server.url, profile="contour").poll([CANARY])


# -- when it was true -------------------------------------------------------------------------------------------------


def test_a_sample_is_as_old_as_the_scrape_it_comes_from_and_interval_and_lag_are_made_known(server, bench, held):
    """What was counted after the scrape is not in it."""
    slow, quick = server.take(), server.take(1, "quick")
    for (pod,), interval in ((slow, 1.0), (quick, 0.25)):
        held.enter_context(exposing(pod, numbers(1)))
        server.wait(pod)
        until(lambda name=pod.name: len(server.ask(f'up{{pod="{name}"}}[3s] @ {time.time()}')[0]["values"]) >= 3, 10)
        made = source(bench, server.url, {CANARY: told(pod)}, profile="own.toml")
        for _ in range(4):
            offset = bench.clock.wall() - bench.clock.now()
            at = made.poll([CANARY])[CANARY].at
            (scrape,) = server.ask(f'timestamp(up{{pod="{pod.name}"}})')
            assert at <= bench.clock.now()
            assert at + offset == pytest.approx(float(scrape["value"][1]), abs=interval + 0.5)
        assert made.interval_seconds == pytest.approx(interval, abs=0.05)
        assert 0 <= made.lag_seconds <= interval + 1
        notes = [fact.data for fact in bench.facts if "interval" in fact.data]
        assert notes[-1] == {"interval": made.interval_seconds, "lag": pytest.approx(made.lag_seconds, abs=1)}


def test_all_roles_are_read_at_one_instant_of_the_servers_own_clock(server, bench, held):
    """Two instants would give one side more time to count."""
    one, other = server.take(2, "quick")
    for pod in (one, other):
        held.enter_context(exposing(pod, numbers(1)))
        server.wait(pod)
    front = held.enter_context(proxy(server))
    source(bench, front.url, {BASELINE: told(one), CANARY: told(other)}, profile="own.toml").poll(BOTH)
    times = {part for path, _ in front.asked for part in path.split("&") if part.startswith("time=")}

    assert len(front.asked) > 2
    assert len(times) == 1


def test_a_gateway_that_hangs_is_no_data_after_a_while_and_back_when_it_goes_on(server, bench, held):
    """Its last numbers would look like a build that makes no errors any more.

    Where another replica is read, the patience is longer: a pod that a Deployment replaces looks like that too.
    """
    one, other = server.take(2)
    process = held.enter_context(gateway(one))
    held.enter_context(gateway(other))
    chat(one, 3)
    server.wait(one), server.wait(other)
    made = source(bench, server.url, {CANARY: told(one), BASELINE: told(one, other)}, profile="demo-gateway")
    # One after the other: together they would be refused, as they share a pod.
    before = {role: made.poll([role])[role] for role in BOTH}
    os.kill(process.pid, signal.SIGSTOP)
    try:
        server.wait(one, up=False)
        soon = {role: made.poll([role])[role] for role in BOTH}
        assert soon[CANARY].counters == before[CANARY].counters
        assert soon[CANARY].at < bench.clock.now() - 1
        until(lambda: raised(made), 10)
        assert re.match(rf"canary: the newest scrape of {one.name} is \d s old", raised(made))
        assert not raised(made, BASELINE)
        until(lambda: raised(made, BASELINE), 15)
        assert re.match(rf"baseline: the newest scrape of {one.name} is 1\d s old", raised(made, BASELINE))
    finally:
        os.kill(process.pid, signal.SIGCONT)
    server.wait(one)

    assert made.poll([CANARY])[CANARY].counters == before[CANARY].counters


def raised(made, role=CANARY) -> str:
    """What a poll raises; empty when it answers."""
    try:
        made.poll([role])
    except SourceUnavailable as error:
        return str(error)
    return ""


def test_pods_that_are_not_scraped_yet_are_no_data(server, bench):
    """Either every scrape fails, or nobody scrapes: two lines, for two things to do."""
    (pod,) = server.take()
    until(lambda: server.ask(f'up{{pod="{pod.name}"}}'))

    assert f"every scrape of {pod.name} failed" in raised(
        source(bench, server.url, {CANARY: told(pod)}, profile="own.toml")
    )
    nowhere = {CANARY: {"namespace": "elsewhere", "pod": "gone"}}
    assert raised(source(bench, server.url, nowhere, profile="own.toml")) == (
        'no series for canary: sum by (job, instance, pod) (r_total{namespace="elsewhere",pod=~"gone"}); '
        "check profile, labels or that pods are scraped"
    )


# -- what is in flight ------------------------------------------------------------------------------------------------


def test_what_is_in_flight_is_told_by_a_scrape_that_is_new_enough_or_not_at_all(server, bench, held):
    """A router that waits for zero must not believe a zero from before its last request."""
    one, other = server.take(2)
    for pod, value in ((one, 2), (other, 1)):
        held.enter_context(exposing(pod, f"gateway_requests_in_flight {value}\n"))
        server.wait(pod)
    made = source(bench, server.url, {CANARY: told(one, other)}, profile="demo-gateway")
    in_flight = made.shared.handles["in_flight"]

    assert in_flight(CANARY, time.time() - 10) == 3
    since = time.time()
    with pytest.raises(AdapterError, match="was not scraped in the last"):
        in_flight(CANARY, since)
    server.wait(one), server.wait(other)
    assert in_flight(CANARY, since) == 3
    with pytest.raises(AdapterError, match="no router has attached it"):
        in_flight(BASELINE, since)


def test_a_profile_without_the_gauge_cannot_tell_what_is_in_flight(server, bench):
    """Nothing in flight would be a guess."""
    made = source(bench, server.url, {CANARY: told(*server.take())}, profile="own.toml")

    with pytest.raises(AdapterError, match=r"no \[gauges.in_flight\]"):
        made.in_flight(CANARY, 0)


# -- a server that does not answer ------------------------------------------------------------------------------------


def test_a_server_that_hangs_is_no_data_within_the_timeout_and_back_when_it_goes_on(server, bench, held):
    """Whoever polls holds the lock under which traffic would be taken away."""
    (pod,) = server.take()
    held.enter_context(exposing(pod, numbers(1)))
    server.wait(pod)
    made = source(bench, server.url, {CANARY: told(pod)}, profile="own.toml", timeout=0.5)
    made.poll([CANARY])
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(SourceUnavailable, match=r"does not answer: nothing in 0\.5 s"):
            made.poll([CANARY])
        assert time.monotonic() - began < 1.2
        assert len(made.check()) == 1
    finally:
        os.kill(server.process.pid, signal.SIGCONT)

    assert made.poll([CANARY])[CANARY].counters["requests"] == 1
    assert made.check() == []


def test_an_address_where_nobody_listens_is_one_line_that_says_what_to_type(bench):
    """Before anything is deployed, and without anybody's password."""
    made = source(bench, "http://anna:secret@127.0.0.1:9", {CANARY: {}}, profile="own.toml")

    assert made.check() == [
        "prometheus at http://127.0.0.1:9 does not answer: connection refused; check `metrics.prometheus.url`, "
        "or from outside the cluster: kubectl -n monitoring port-forward svc/prometheus 9090"
    ]


@pytest.mark.parametrize("url", ["prom.internal:9090", "ftp://prom", "http://", "http://prom:port", "http://[::1"])
def test_an_address_that_is_none_is_said_before_anything_is_asked(url, bench):
    """`requests` would raise something else for each of them."""
    (line,) = source(bench, url, profile="own.toml").check()

    assert "expected an address such as http://127.0.0.1:9090" in line


def test_a_server_that_is_busy_for_a_moment_is_asked_again(server, bench, held):
    """Three times, a tenth of a second apart."""
    statuses = iter([503, 429, 200])
    front = held.enter_context(proxy(server, lambda _: next(statuses)))

    assert source(bench, front.url, profile="own.toml").check() == []
    assert len(front.asked) == 3


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (401, "lets us not in (401); check `metrics.prometheus.bearer`"),
        (404, "has no query API there (404)"),
        (302, "sends us elsewhere"),
        (500, "answers 500"),
    ],
)
def test_what_answers_but_not_like_prometheus_is_no_data(status, line, server, bench, held):
    """A login page is not zero errors."""
    front = held.enter_context(proxy(server, lambda _: status))

    (said,) = source(bench, front.url, profile="own.toml", bearer="s3cret").check()
    assert said.startswith(f"prometheus at {front.url} {line}")
    assert "s3cret" not in said


# -- how it lets us in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"bearer": "s3cret"}, "authorization", "Bearer s3cret"),
        ({"bearer_file": "token"}, "authorization", "Bearer from-file"),
        (
            {"basic": {"user": "anna", "password": "s3cret"}},
            "authorization",
            "Basic " + base64.b64encode(b"anna:s3cret").decode(),
        ),
        ({"tenant": "team-a"}, "x-scope-orgid", "team-a"),
        ({"headers": {"X-Key": "s3cret"}}, "x-key", "s3cret"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_every_request_carries_what_lets_us_in(options, header, value, server, bench, held, monkeypatch):
    """And nothing from ~/.netrc in its place."""
    (bench.folder / "token").write_text("from-file\n")
    (bench.folder / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(bench.folder / "netrc"))
    front = held.enter_context(proxy(server, lambda headers: 200 if headers.get(header) == value else 401))

    assert source(bench, front.url, profile="own.toml", **options).check() == []


def test_a_token_in_a_file_is_read_again_for_every_request(server, bench, held):
    """A token of a service account lives for an hour; a rollout may take a day."""
    token = bench.folder / "token"
    front = held.enter_context(
        proxy(server, lambda headers: 200 if headers.get("authorization") == "Bearer two" else 401)
    )
    made = source(bench, front.url, profile="own.toml", bearer_file="token")

    assert "was not asked" in made.check()[0]
    token.write_text("one")
    assert "(401)" in made.check()[0]
    token.write_text("two")
    assert made.check() == []


def test_a_certificate_is_believed_where_its_authority_is_named_or_all_are(server, bench, held):
    """Inside a cluster nobody has a certificate that the machine's own authorities know."""
    pem = bench.folder / "prom.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "-", "-days", "1"]
    told = ["-subj", "/CN=prom", "-addext", "subjectAltName=IP:127.0.0.1"]
    pem.write_bytes(subprocess.run([*made, *told], check=True, capture_output=True).stdout)
    front = held.enter_context(proxy(server, certificate=pem))

    (line,) = source(bench, front.url, profile="own.toml").check()
    assert line.startswith(f"prometheus at {front.url} does not answer: ")
    assert "certificate verify failed" in line
    assert line.endswith("; check `metrics.prometheus.tls`")
    assert source(bench, front.url, profile="own.toml", tls={"ca": "prom.pem"}).check() == []
    assert source(bench, front.url, profile="own.toml", tls={"insecure": True}).check() == []
    assert source(bench, front.url, profile="own.toml", tls={"ca": "prom.pem", "cert": "prom.pem"}).check() == []
    (line,) = source(bench, front.url, profile="own.toml", tls={"ca": "none.pem"}).check()
    assert "none.pem" in line


@pytest.mark.parametrize(
    "options",
    [
        {"basic": "anna:s3cret"},
        {"basic": {"user": "anna", "pasword": "s3cret"}},
        {"bearer": ["s3cret"]},
        {"headers": "s3cret"},
        {"headers": {"X-Key": ["s3cret"]}},
    ],
)
def test_a_mistake_beside_a_secret_does_not_print_it(options):
    """Messages end up in the log of a pipeline."""
    with pytest.raises(ValidationError) as caught:
        PrometheusMetrics.Options.model_validate({"url": NOWHERE, **options})

    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr([(error["input"], error["msg"]) for error in caught.value.errors()])


def test_only_one_way_to_log_in_may_be_given():
    """Which of two would be sent is nobody's guess."""
    with pytest.raises(ValidationError, match="one way to log in, found bearer and basic"):
        PrometheusMetrics.Options.model_validate(
            {"url": NOWHERE, "bearer": "a", "basic": {"user": "a", "password": "b"}}
        )


# -- profiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_query_of_a_built_in_profile_is_one_that_prometheus_understands(name, server, bench):
    """By itself, to be pasted, and all in one."""
    roles = {} if load(name, bench.folder).select else {"baseline": {"job": "old"}, "canary": {"job": "new"}}
    made = source(bench, server.url, {CANARY: told(*server.pods[:1])}, profile=name, roles=roles)

    for query in made.queries(CANARY).values():
        server.ask(query)
    assert raised(made).startswith(("no series for canary", "canary: every scrape"))


def test_a_query_that_is_too_long_for_an_address_is_sent_in_a_body(server, bench, held):
    """Usual proxies refuse an address above 8 KiB; vLLM has many numbers, and namespaces long names."""
    (pod,) = server.take(1, "quick")
    held.enter_context(exposing(pod, 'http_requests_total{handler="/v1/completions",status="2xx"} 3\n'))
    server.wait(pod)
    front = held.enter_context(proxy(server))
    labels = {"job": "=~quick|" + "|".join(f"another-job-{nth}" for nth in range(30))}
    made = source(bench, front.url, {CANARY: told(pod)}, profile="vllm", labels=labels)

    assert made.poll([CANARY])[CANARY].counters["requests"] == 3
    assert max(len(path) for path, _ in front.asked) > 10_000
    assert front.longest < 4200


def test_without_a_profile_the_first_built_in_one_that_the_baseline_has_is_used(server, bench, held):
    """Nobody has to know its name to try."""
    one, other, idle = server.take(3, "quick")
    held.enter_context(gateway(one))
    held.enter_context(exposing(other, 'http_request_duration_seconds_count{path="root",status="200"} 3\n'))
    for pod, name in ((one, "demo-gateway"), (other, "podinfo")):
        server.wait(pod)
        source(bench, server.url, {BASELINE: told(pod)}).poll([BASELINE])
        assert [fact.data["profile"] for fact in bench.facts if "profile" in fact.data][-1] == name

    with pytest.raises(SourceUnavailable, match="that a built-in profile knows"):
        source(bench, server.url, {BASELINE: told(idle)}).poll([BASELINE])


def test_contours_envoy_is_read_by_service_and_each_envoy_may_restart_by_itself(server, bench, held):
    """Two Envoys count the same Service; a sum of both that goes back would look like one that began anew."""
    envoys = server.take(2, "quick")

    def shown(ok, bad, slow):
        name = 'envoy_cluster_name="shop_gw_80"'
        lines = [f"envoy_cluster_upstream_rq_total{{{name}}} {ok + bad}"]
        lines += [f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="2",{name}}} {ok}'] * bool(ok)
        lines += [f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="5",{name}}} {bad}'] * bool(bad)
        buckets = (("5", ok), ("1e+03", ok + bad - slow), ("+Inf", ok + bad))
        lines += [f'envoy_cluster_upstream_rq_time_bucket{{{name},le="{le}"}} {n}' for le, n in buckets]
        return "\n".join([*lines, f"envoy_cluster_upstream_rq_time_sum{{{name}}} {ok}\n"])

    first, second = (held.enter_context(exposing(pod, shown(100, 1, 0))) for pod in envoys)
    for pod in envoys:
        server.wait(pod)
    roles = {BASELINE: {"namespace": "shop", "service": "gw", "port": "80"}}
    made = source(bench, server.url, roles)
    before = made.poll([BASELINE])[BASELINE]
    first.text, second.text = shown(5, 0, 0), shown(110, 2, 1)
    for pod in envoys:
        server.wait(pod)
    after = made.poll([BASELINE])[BASELINE]

    assert (before.counters["requests"], before.counters["errors"]) == (202, 2)
    assert (after.counters["requests"], after.counters["errors"]) == (218, 3)
    assert after.since(before).histograms["latency"].counts == (15, 0, 1)
    assert after.histograms["latency"].bounds == (0.005, 1.0)
    assert not after.replicas


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "podinof",
            f"found 'podinof', expected one of {', '.join(BUILT_IN)}, or a file ending in .toml; did you mean podinfo?",
        ),
        ("none.toml", "none.toml: No such file or directory"),
    ],
)
def test_a_profile_that_is_not_there_is_one_line(name, said, bench):
    """With the names that are."""
    with pytest.raises(UsageError) as caught:
        source(bench, NOWHERE, profile=name)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[counters.requests]", "[counters.request]", "expected a table [counters.requests]: nothing can be judged"),
        ("replica", "replika", "replika: no such key"),
        ('metric = "d"', 'metrik = "d"', "histograms.latency.metrik: no such key"),
        ('metric = "d"', 'metric = "d_bucket"', "histograms.latency: expected the name without _bucket"),
        ('metric = "d"', 'metric = "d"\nunit = "min"', "histograms.latency.unit: found 'min', expected: "),
        ('metric = "d"', 'metric = "d-e"', "histograms.latency.metric: found 'd-e', expected: "),
        ("{namespace}", "{name}", "expected only {namespace}, {service}, {port}, {deployment}, {pod}, {instance} in "),
        ('metric = "r_total"\n[', 'query = "sum(r_total)"\n[', "counters.requests: expected a `query` with $match"),
        ("[histograms.latency]", "[histograms.latency", "not TOML: "),
        ('code = "=~5.."', "code = 5", "counters.errors.match.code: found 5, expected: "),
        ("select", "selekt", "select: missing"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_profile_is_one_line_with_file_and_key(old, new, said, bench):
    """Found before anything is deployed."""
    assert old in SIMPLE
    (bench.folder / "mine.toml").write_text(SIMPLE.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        source(bench, NOWHERE, profile="mine.toml")

    assert str(caught.value).startswith(f"{bench.folder / 'mine.toml'}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_profile_may_extend_a_built_in_one(bench):
    """Where only the labels have other names, three lines are enough."""
    (bench.folder / "mine.toml").write_text(
        'extends = "vllm"\nreplica = "pod_name"\nselect = { pod_name = "=~{pod}" }\n'
    )
    mine, theirs = load("mine.toml", bench.folder), load("vllm", bench.folder)

    assert mine.counters == theirs.counters
    assert mine.select == {"pod_name": "=~{pod}"}


def test_the_page_about_profiles_says_what_the_code_does(bench):
    """Examples are copied, and an option that nobody can find does not exist."""
    page = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()
    for nth, text in enumerate(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)):
        (bench.folder / f"page-{nth}.toml").write_text(text)
        assert load(f"page-{nth}.toml", bench.folder).name in (f"page-{nth}", "vllm")
    told = set(re.findall(r"`\[?(\w[\w-]*)(?:\.NAME\])?`", page))

    assert nth > 0
    assert told >= {*PrometheusMetrics.Options.model_fields, *Profile.model_fields, *BUILT_IN, *UNITS}


def test_a_query_that_prometheus_does_not_understand_is_said_in_its_words(server, bench):
    """Only the server can read PromQL."""
    wrong = SIMPLE + '[counters.more]\nquery = "summ by ($by) (r_total{$match})"\n'
    (bench.folder / "own.toml").write_text(wrong)
    said = raised(source(bench, server.url, {CANARY: told(*server.take())}, profile="own.toml"))

    assert "answers 400: invalid parameter" in said
    assert "parse error: unexpected <by>" in said
    assert said.endswith("check the profile and `metrics.prometheus.labels`")
