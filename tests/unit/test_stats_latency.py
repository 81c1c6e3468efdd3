"""Which bucket boundaries stand for a quantile, and how many requests a proof takes."""

from math import inf

import numpy as np
import pytest

from pytest_canary.stats.latency import boundary_at_least, boundary_nearest, quantile, quantiles
from pytest_canary.stats.planner import divergence, requests_to_prove_limit, requests_to_prove_ratio

BOUNDS = (0.1, 0.2, 0.4, 0.8)


def test_a_quantile_is_interpolated_in_its_bucket():
    """Ten below 100 ms, eighty below 200 ms, ten below 400 ms: the median lies in the middle of the second bucket."""
    counts = (10, 80, 10, 0, 0)
    assert quantile(BOUNDS, counts, 0.5) == pytest.approx(0.15)
    assert quantile(BOUNDS, counts, 0.95) == pytest.approx(0.3)


def test_a_quantile_above_every_bound_or_of_nothing_is_unknown():
    """Saturating at the last bound is how slow builds pass."""
    assert quantile(BOUNDS, (1, 0, 0, 0, 99), 0.99) is None
    assert quantile(BOUNDS, (0, 0, 0, 0, 0), 0.5) is None


def test_a_histogram_without_boundaries_has_no_quantiles():
    """A source that only counts, or that has begun anew, must not end a run."""
    for counts in (np.zeros((2, 0)), np.ones((2, 1))):
        assert np.isnan(quantiles(np.zeros(0), counts, 0.99)).tolist() == [True, True]


def test_boundaries_are_the_nearest_and_the_next_not_below():
    """Nearest as a ratio; a thousandth short still counts, ladders are written with few digits."""
    assert boundary_nearest(BOUNDS, 0.3) == 0.4
    assert boundary_nearest(BOUNDS, 0.27) == 0.2
    assert boundary_at_least(BOUNDS, 0.21) == 0.4
    assert boundary_at_least(BOUNDS, 0.2001) == 0.2
    assert boundary_at_least(BOUNDS, 0.9) is None


@pytest.mark.parametrize(
    ("share", "rate", "margin", "requests"),
    [
        (0.05, 0.01, 1.5, 5090),
        (0.05, 0.01, 2, 1590),
        (0.05, 0.05, 3, 111),
        (0.5, 0.001, 1.5, 110_000),
        (0.5, 0.01, 3, 1560),
    ],
)
def test_proof_takes_as_many_requests_as_the_table_says(share, rate, margin, requests):
    """Rounded to three digits in the table."""
    assert requests_to_prove_ratio(share, rate, margin, 0.05) == pytest.approx(requests, rel=5e-3)


def test_what_cannot_be_learnt_takes_for_ever():
    """No events, no baseline, a truth beyond the margin."""
    assert requests_to_prove_ratio(0.05, 0.0, 1.5, 0.05) == inf
    assert requests_to_prove_ratio(1.0, 0.01, 1.5, 0.05) == inf
    assert requests_to_prove_ratio(0.05, 0.01, 1.5, 0.05, true=1.6) == inf
    assert requests_to_prove_limit(0.02, 0.01, 0.05) == inf
    assert requests_to_prove_limit(0.0, 0.01, 0.05) == pytest.approx(447.4, rel=1e-3)
    assert divergence(0.3, 0.3) == 0.0
