"""The interval of a share that was counted."""

from math import comb

import pytest

from pytest_canary.stats.binomial import share_interval


@pytest.mark.parametrize(
    ("events", "number", "low", "high"),
    [(0, 100, 0.0, 0.0362167), (10, 20, 0.2719578, 0.7280422), (5, 5, 0.4781762, 1.0)],
)
def test_it_is_that_of_clopper_and_pearson(events, number, low, high):
    """Quantiles of the Beta distribution, as scipy and R have them."""
    assert share_interval(events, number) == pytest.approx((low, high), abs=1e-6)


def test_at_its_ends_what_was_counted_is_one_time_in_forty():
    """By which it is defined, with whole numbers."""
    low, high = share_interval(2, 400)

    def chance(share, counts):
        return sum(comb(400, k) * share**k * (1 - share) ** (400 - k) for k in counts)

    assert chance(high, range(3)) == pytest.approx(0.025)
    assert 1 - chance(low, range(2)) == pytest.approx(0.025)


def test_it_holds_the_share_and_narrows_with_the_number():
    """More plays, a better known rate."""
    widths = []
    for number in (100, 400, 1600):
        low, high = share_interval(number // 100, number)
        assert low < 0.01 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
