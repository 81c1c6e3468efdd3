"""Which bucket boundaries stand for a quantile and its limit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import log

_ROUNDED = 1e-3
"""Ladders of boundaries are written with few digits."""


def quantile(bounds: Sequence[float], counts: Sequence[float], q: float) -> float | None:
    """The value below which a share ``q`` lies, interpolated in its bucket; None when empty or above every bound."""
    rank, below, lower = q * sum(counts), 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return None


def boundary_at_least(bounds: Sequence[float], value: float) -> float | None:
    """The smallest bound that is not below ``value`` (one thousandth short will do); None when there is none."""
    index = bisect_left(bounds, value * (1 - _ROUNDED))
    return bounds[index] if index < len(bounds) else None


def boundary_nearest(bounds: Sequence[float], value: float) -> float:
    """The bound nearest to ``value`` as a ratio."""
    return min((bound for bound in bounds if bound > 0), key=lambda bound: abs(log(bound / max(value, 1e-12))))
