"""An injected regression keeps how counts hang together."""

import numpy as np
import pytest

from pytest_canary.gates import metric
from pytest_canary.play import Buckets, History, regression, worse
from tests.unit.histories import gate, history

RNG = np.random.default_rng


@pytest.mark.parametrize("times", [2.0, 3.0, 2.5, 1.3])
def test_so_many_times_the_errors(times):
    """On average; no replica has more errors than requests."""
    past = history(hours=2, base=0.03)
    bad = worse(past, metric("error_rate"), times, RNG(1))

    assert bad.counters["errors"].sum() / past.counters["errors"].sum() == pytest.approx(times, rel=0.05)
    assert (bad.counters["errors"] <= past.requests).all()
    assert np.array_equal(bad.requests, past.requests)


def test_errors_that_come_in_bursts_come_in_bursts_still():
    """A threefold regression of a service with bursts is three times the bursts, which is harder to see."""
    past = history(hours=4, bursts=600.0)
    bad = worse(past, metric("error_rate"), 3.0, RNG(1)).counters["errors"]
    plain = RNG(2).poisson(bad.mean(), bad.shape)

    assert bad.var() > 5 * plain.var()


def test_latency_moves_between_buckets_and_loses_nobody():
    """Every value is so many times as large, spread evenly in its bucket; counts stay whole numbers."""
    bounds = (0.1, 0.2, 0.4, 0.8)
    counts = np.zeros((500, 4, 5))
    counts[..., 1] = 10
    past = History(
        5.0, {"requests": counts.sum(axis=2)}, {"latency": Buckets(bounds, counts, 0.15 * counts.sum(axis=2))}
    )
    bad = worse(past, metric("latency_p99"), 3.0, RNG(1)).histograms["latency"]

    assert np.array_equal(bad.counts.sum(axis=2), counts.sum(axis=2))
    assert np.array_equal(bad.counts, np.round(bad.counts))
    shares = bad.counts.sum(axis=(0, 1)) / bad.counts.sum()
    assert shares == pytest.approx([0, 0, 1 / 3, 2 / 3, 0], abs=0.01)  # 0.1-0.2 s become 0.3-0.6 s
    assert bad.totals == pytest.approx(3 * past.histograms["latency"].totals)


def test_no_bucket_counts_less_than_none():
    """A counter that goes back is a restart, and its poll would be passed over."""
    bounds = tuple(0.05 * 1.25**n for n in range(24))
    counts = RNG(0).poisson(3.0, (2000, 4, 25)).astype(float)
    past = History(5.0, {"requests": counts.sum(axis=2)}, {"latency": Buckets(bounds, counts, counts.sum(axis=2))})

    for times in (1.3, 2.4, 3.0):
        bad = worse(past, metric("latency_p99"), times, RNG(1)).histograms["latency"]
        assert bad.counts.min() == 0
        assert np.array_equal(bad.counts.sum(axis=2), counts.sum(axis=2))


def test_a_sum_of_values_grows():
    """Tokens, cost."""
    past = History(5.0, {"requests": np.full((9, 2), 4.0), "cost": np.full((9, 2), 2.0)})

    assert worse(past, metric("cost_per_request"), 1.5, RNG(1)).counters["cost"].tolist() == [[3.0, 3.0]] * 9


def test_where_more_is_better_the_rest_grows():
    """A cache that misses twice as often."""
    past = History(5.0, {"cache_queries": np.full((200, 2), 100.0), "cache_hits": np.full((200, 2), 80.0)})
    bad = worse(past, metric("cache_hit_rate"), 2.0, RNG(1))

    assert bad.counters["cache_hits"].mean() == pytest.approx(60.0)


def test_the_regression_is_twice_what_the_gate_allows():
    """Three times the errors for a gate of 1.5."""
    past = history(base=0.02, hours=4)

    assert regression(gate(ratio=1.5), past) == 3.0
    assert regression(gate(ratio=None, delta=0.01), past) == pytest.approx(2.0, rel=0.05)
    assert regression(gate(ratio=None, max=0.05), past) is None
