"""Values that follow a distribution without chance: the n-th request always takes as long, or as many tokens."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

from pytest_canary.ports import Histogram, Role

SIGMA = 0.5
SPREAD = 0.2
GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it, without their whole part, fill 0..1 evenly however many there are (Weyl's sequence)."""
BOUNDS = (*(round(mantissa * 10.0**power, 6) for power in range(-4, 1) for mantissa in range(10, 100)), 100.0)
"""Seconds, 1 ms to 100 s: ninety equal buckets in each power of ten."""
VALUE_BOUNDS = tuple(float(f"{10 ** (step / 40):.4g}") for step in range(-120, 201))
"""1/1000 to 100,000, of anything: forty buckets in each power of ten, each 1.06 times as wide as the one before."""


class Values:
    """Values of every role's requests until now: ``shares`` gives from a middle the share below each bound."""

    def __init__(
        self, bounds: tuple[float, ...], shares: Callable[[float], tuple[float, ...]], mean_of_middle: float = 1.0
    ) -> None:
        self._bounds, self._shares, self._mean = bounds, shares, mean_of_middle
        self._counts: dict[tuple[Role, float], list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))

    def histogram(self, role: Role, requests: int, middle: float) -> Histogram:
        """Where the first ``requests`` of ``role`` lie, around ``middle``."""
        counts = self._counts[role, middle]
        known = sum(counts)
        if known > requests:  # another build stands for the role now
            known, counts[:] = 0, [0] * len(counts)
        shares = self._shares(middle)
        for number in range(known, requests):
            counts[bisect_left(shares, (number + 0.5) * GOLDEN % 1.0)] += 1
        return Histogram(self._bounds, tuple(map(float, counts)), requests * middle * self._mean)


def latencies() -> Values:
    """Seconds around a median, lognormal with a sigma of 0.5."""
    return Values(BOUNDS, _lognormal, math.exp(SIGMA**2 / 2))


def evenly() -> Values:
    """Anything, spread evenly within 20 % of its mean."""
    return Values(VALUE_BOUNDS, _even)


@cache
def _lognormal(median: float) -> tuple[float, ...]:
    normal = NormalDist(math.log(median), SIGMA)
    return tuple(normal.cdf(math.log(bound)) for bound in BOUNDS)


@cache
def _even(mean: float) -> tuple[float, ...]:
    low, wide = mean * (1 - SPREAD), mean * SPREAD * 2
    return tuple(min(max((bound - low) / wide, 0.0), 1.0) if mean else 1.0 for bound in VALUE_BOUNDS)
