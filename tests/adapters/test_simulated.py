"""Traffic by chance, from a seed."""

from __future__ import annotations

import math

import pytest

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.memory import OFFERS as MEMORY
from pytest_canary.adapters.simulated import OFFERS
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Role
from tests.adapters.contracts import BOTH, CANARY, NOWHERE, STABLE, Bench, MetricSourceContract

SOURCE, ROUTER = OFFERS["metrics"], MEMORY["router"]


class TestSimulatedMetrics(MetricSourceContract):
    """It follows the weights of the memory router."""

    clock = VirtualClock

    def connect(self, shared):
        """Beside a router in memory."""
        return ROUTER.connect(ROUTER.Options(), shared), SOURCE.connect(SOURCE.Options(), shared)

    def silent(self, shared):
        """Nobody tells it weights."""
        return SOURCE.connect(SOURCE.Options(), shared)

    def ask(self, router, bench, requests):
        """100 come in a second."""
        del router
        bench.clock.sleep(requests / 100)


def counted(folder, seconds=1000.0, share=0.5, fail=(), **options):
    """What both roles count in some time."""
    bench = Bench(folder, VirtualClock())
    shared = bench.shared()
    router = ROUTER.connect(ROUTER.Options(fail=fail), shared)
    router.attach(Role.BASELINE, STABLE, NOWHERE)
    router.attach(Role.CANARY, CANARY, NOWHERE)
    router.set_weights({Role.BASELINE: 1 - share, Role.CANARY: share})
    source = SOURCE.connect(SOURCE.Options.model_validate(options), shared)
    bench.clock.sleep(seconds)
    return source.poll(BOTH)


def near(count, expected):
    """Within five standard deviations of a Poisson count."""
    return abs(count - expected) < 5 * math.sqrt(expected)


def test_the_same_seed_counts_the_same(tmp_path):
    """A failure can be looked at again."""
    assert counted(tmp_path, seed=3) == counted(tmp_path, seed=3)
    assert counted(tmp_path, seed=3) != counted(tmp_path, seed=4)


def test_what_the_canary_does_leaves_the_chance_of_the_baseline_alone(tmp_path):
    """Two runs that differ in the canary differ there only."""
    good, bad = counted(tmp_path), counted(tmp_path, canary={"error_rate": 0.5})

    assert good[Role.BASELINE] == bad[Role.BASELINE]
    assert good[Role.CANARY] != bad[Role.CANARY]


def test_two_equal_builds_do_not_count_the_same(tmp_path):
    """Each has a chance of its own, or there would be no noise between them."""
    samples = counted(tmp_path)

    assert samples[Role.BASELINE].counters["requests"] != samples[Role.CANARY].counters["requests"]
    assert samples[Role.BASELINE].histograms["latency"].counts != samples[Role.CANARY].histograms["latency"].counts


def test_requests_and_errors_come_as_often_as_asked(tmp_path):
    """Rate, shares, error rate."""
    samples = counted(tmp_path, rate=50, share=0.2, error_rate=0.1)

    for role, expected in ((Role.BASELINE, 40_000), (Role.CANARY, 10_000)):
        assert near(samples[role].counters["requests"], expected)
        assert near(samples[role].counters["errors"], expected / 10)


@pytest.mark.parametrize(
    ("canary", "expected"),
    [({"error_rate": 0.3}, 0.3), ({"error_rate_x": 3}, 0.06), ({}, 0.02), ({"error_rate_x": 99}, 1)],
)
def test_a_canary_fails_as_often_as_asked(tmp_path, canary, expected):
    """Absolute, or as a factor that never makes more than all."""
    counters = counted(tmp_path, error_rate=0.02, canary=canary)[Role.CANARY].counters

    assert counters["errors"] == pytest.approx(counters["requests"] * expected, rel=0.1)


def test_latency_has_the_median_that_was_asked_for(tmp_path):
    """And a canary may be slower by a factor."""
    samples = counted(tmp_path, latency=0.2, sigma=0.3, canary={"latency_x": 2})

    assert samples[Role.BASELINE].histograms["latency"].quantile(0.5) == pytest.approx(0.2, rel=0.02)
    assert samples[Role.CANARY].histograms["latency"].quantile(0.5) == pytest.approx(0.4, rel=0.02)
    tail = samples[Role.BASELINE].histograms["latency"].quantile(0.975)
    assert tail == pytest.approx(0.2 * math.exp(0.3 * 1.96), rel=0.05)


def test_a_router_that_does_not_tell_its_weights_is_no_data(tmp_path):
    """Not a share of zero."""
    with pytest.raises(Exception, match="weights") as failed:
        counted(tmp_path, fail=["weights"])

    assert not isinstance(failed.value, AdapterError)


def test_without_a_router_in_memory_the_missing_line_is_named(tmp_path):
    """Before anything starts."""
    [line] = SOURCE.connect(SOURCE.Options(), Bench(tmp_path, VirtualClock()).shared()).check()

    assert "router: {memory: {}}" in line
