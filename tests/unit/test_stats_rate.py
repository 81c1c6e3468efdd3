"""What counts say about a rate and about a difference of two."""

import numpy as np
import pytest

from pytest_canary.stats.rate import bounds, odds_above, odds_of_difference, upper_bound


@pytest.mark.parametrize(
    ("n", "k", "m", "j", "delta"), [(1000, 60, 1000, 10, 0.05), (300, 12, 2790, 9, 0.02), (50, 0, 60, 1, 0.01)]
)
def test_odds_of_a_difference_agree_with_drawing_from_both_posteriors(n, k, m, j, delta):
    """400,000 draws from Beta(.5, .5) posteriors, to a third of a point."""
    rng = np.random.default_rng(0)
    drawn = rng.beta(k + 0.5, n - k + 0.5, 400_000) - rng.beta(j + 0.5, m - j + 0.5, 400_000) > delta
    assert odds_of_difference((n, k), (m, j), delta) == pytest.approx(drawn.mean(), abs=0.003)


@pytest.mark.parametrize(("n", "k", "limit"), [(100, 0, 0.01), (500, 9, 0.02), (20, 20, 0.95)])
def test_odds_above_a_limit_and_the_upper_bound_agree_with_drawing(n, k, limit):
    """The same for one rate."""
    drawn = np.random.default_rng(0).beta(k + 0.5, n - k + 0.5, 400_000)
    assert odds_above(n, k, limit) == pytest.approx((drawn > limit).mean(), abs=0.003)
    assert upper_bound(n, k) == pytest.approx(np.quantile(drawn, 0.995), rel=0.01)


def test_bounds_hold_at_every_look_together():
    """Of 300 rollouts looked at 8 times each, at most 5 % ever lose the true rate."""
    rng, lost = np.random.default_rng(3), 0
    for _ in range(300):
        counts = np.cumsum(rng.binomial(125, 0.04, 8))
        spans = [bounds(125 * (i + 1), count, 0.05) for i, count in enumerate(counts)]
        lost += any(not low <= 0.04 <= high for low, high in spans)
    assert lost <= 15
    assert spans[-1][1] - spans[-1][0] < 0.06


def test_any_counts_give_numbers():
    """No requests, all failed, a thousand million: never an error, never outside 0..1."""
    for n, k in ((0, 0), (1, 1), (3, 5), (1e9, 1e7), (1e9, 0)):
        low, high = bounds(n, k, 0.05)
        assert 0 <= low <= high <= 1
        assert 0 <= odds_above(n, k, 0.01) <= 1
        assert 0 <= odds_of_difference((n, k), (1e9, 1e7), 0.01) <= 1
