"""Quantiles of any number of durations in little memory."""

from __future__ import annotations

from collections import Counter
from math import frexp, ldexp

STEPS = 256
"""Steps between a power of two and the next, twice over: a bucket is at most 1/128 wide, relative to its value."""
SMALLEST = 1e-6


class Quantiles:
    """A log-linear histogram of seconds; a quantile is right to 0.8 %, and memory does not grow with the number."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int]] = Counter()
        self.number = 0

    def add(self, seconds: float) -> None:
        """Count one duration; what is below a microsecond counts as one."""
        fraction, exponent = frexp(max(seconds, SMALLEST))
        self._counts[exponent, int(fraction * STEPS)] += 1
        self.number += 1

    def quantile(self, q: float) -> float | None:
        """Return the value below which a share ``q`` lies, interpolated in its bucket; None when there is none."""
        rank, below = q * self.number, 0
        for (exponent, step), count in sorted(self._counts.items()):
            if below + count >= rank:
                return ldexp((step + (rank - below) / count) / STEPS, exponent)
            below += count
        return None
