"""Latencies that follow a lognormal distribution without chance: the n-th request always takes as long."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from functools import cache
from statistics import NormalDist

from pytest_canary.ports import Histogram, Role

SIGMA = 0.5
GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it, without their whole part, fill 0..1 evenly however many there are (Weyl's sequence)."""
BOUNDS = (*(round(mantissa * 10.0**power, 6) for power in range(-4, 1) for mantissa in range(10, 100)), 100.0)
"""Seconds, 1 ms to 100 s: ninety equal buckets in each power of ten."""


class Latencies:
    """Latencies of every role's requests until now."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Role, float], list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))

    def histogram(self, role: Role, requests: int, median: float) -> Histogram:
        """Where the first ``requests`` of ``role`` lie, around a ``median`` in seconds."""
        counts = self._counts[role, median]
        known = sum(counts)
        if known > requests:  # another build stands for the role now
            known, counts[:] = 0, [0] * len(counts)
        shares = _shares(median)
        for number in range(known, requests):
            counts[bisect_left(shares, (number + 0.5) * GOLDEN % 1.0)] += 1
        mean = median * math.exp(SIGMA**2 / 2)
        return Histogram(BOUNDS, tuple(map(float, counts)), requests * mean)


@cache
def _shares(median: float) -> tuple[float, ...]:
    normal = NormalDist(math.log(median), SIGMA)
    return tuple(normal.cdf(math.log(bound)) for bound in BOUNDS)
