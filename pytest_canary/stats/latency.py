"""Which bucket boundaries stand for a quantile and its limit."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import log

import numpy as np

from pytest_canary.stats.grid import Array

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


def quantiles(bounds: Array, counts: Array, q: float) -> Array:
    """The same of every rollout, ``counts`` in shape (batch, buckets); NaN when empty or above every bound."""
    inside = counts[:, :-1]
    if not inside.shape[1]:  # a source that knows no boundaries, or has begun anew
        return np.full(len(counts), np.nan)
    below = np.cumsum(inside, axis=1)
    rank = (q * (below[:, -1] + counts[:, -1]))[:, None]
    reached = (below >= rank) & (inside > 0)
    at, rows = reached.argmax(axis=1), np.arange(len(counts))
    found, count = reached[rows, at], inside[rows, at]
    low = np.where(at > 0, bounds[at - 1], 0.0)
    share = (rank[:, 0] - (below[rows, at] - count)) / np.where(found, count, 1.0)
    return np.where(found, low + (bounds[at] - low) * share, np.nan)


def boundary_at_least(bounds: Sequence[float], value: float) -> float | None:
    """The smallest bound that is not below ``value`` (one thousandth short will do); None when there is none."""
    index = bisect_left(bounds, value * (1 - _ROUNDED))
    return bounds[index] if index < len(bounds) else None


def boundary_nearest(bounds: Sequence[float], value: float) -> float:
    """The bound nearest to ``value`` as a ratio."""
    wanted, first = max(value, 1e-12), bisect_right(bounds, 0.0)
    at = min(max(bisect_left(bounds, wanted), first + 1), len(bounds) - 1)
    return min((bound for bound in bounds[max(at - 1, first) : at + 1]), key=lambda bound: abs(log(bound / wanted)))
