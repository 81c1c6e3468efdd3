"""Shares of buckets and sums of values, of the distributions in ``traffic``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil, erf, exp, inf, log, pi, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pytest_canary.simulation.traffic import Lognormal, Score, Spread

Floats = NDArray[np.float64]

FINEST, FINE, COARSE = 1.03, 1.1, 1.3
"""Each boundary is so many times the one before: never closer than the first, about the second where a gate counts who
lies above a boundary, and the third elsewhere."""
LOW, TAIL = -1.645, 2.326
"""p5 and p99, in standard deviations: between them gates look, and a little beyond."""
BEYOND, FAR = 2.4, 40.0
"""So many times p99 is the end of what is resolved finely, and of all buckets."""
SCORES = tuple(round(step / 25, 2) for step in range(1, 25))


def mean(spread: Spread) -> float:
    """Mean of the values, before anything is folded."""
    return spread.median * exp(spread.sigma**2 / 2) if isinstance(spread, Lognormal) else spread.mean


def quantile(spread: Spread, q: float) -> float:
    """The value below which a share ``q`` lies."""
    z = NormalDist().inv_cdf(q)
    if isinstance(spread, Lognormal):
        return spread.median * exp(z * spread.sigma)
    return min(max(spread.mean + z * spread.sd, 0.0), 1.0)


def scaled(spread: Spread, factor: float) -> Spread:
    """Every value ``factor`` times as large."""
    if isinstance(spread, Lognormal):
        return replace(spread, median=spread.median * factor)
    return replace(spread, mean=spread.mean * factor)


def bounds_of(spread: Spread, *, ratio: float | None = None, limits: Iterable[float] = ()) -> tuple[float, ...]:
    """Boundaries that resolve what gates ask for.

    Around the quantiles a boundary is followed by one ``ratio`` times as high, with others between; coarse without one.
    Each of ``limits`` is a boundary itself.
    """
    if isinstance(spread, Score):
        return tuple(sorted({*SCORES, *(limit for limit in limits if 0 < limit < 1)}))
    low, p99 = quantile(spread, 0.05), quantile(spread, 0.99)
    ladder, step = [low], COARSE if ratio is None else max(ratio ** (1 / ceil(log(ratio) / log(FINE))), FINEST)
    while ladder[-1] < p99 * FAR:
        ladder.append(ladder[-1] * (step if ladder[-1] < p99 * BEYOND else COARSE))
    return tuple(float(f"{bound:.6g}") for bound in sorted({*ladder, *(limit for limit in limits if limit > 0)}))


def shares(spread: Spread, bounds: Sequence[float]) -> Floats:
    """Share of the values in each bucket; one more than ``bounds``."""
    return np.diff([0.0, *(_below(spread, bound) for bound in bounds), 1.0])


def middles(spread: Spread, bounds: Sequence[float]) -> Floats:
    """Mean of the values in each bucket."""
    part = np.diff([0.0, *(_sum_below(spread, bound) for bound in bounds), _sum_below(spread, inf)])
    share = shares(spread, bounds)
    edges = np.array([0.0, *bounds, bounds[-1]])
    middle = (edges[:-1] + edges[1:]) / 2
    return np.asarray(np.divide(part, share, out=middle, where=share > 1e-9))


def _below(spread: Spread, bound: float) -> float:
    if isinstance(spread, Lognormal):
        return _phi((log(bound) - log(spread.median)) / spread.sigma) if bound > 0 else 0.0
    if bound >= 1:
        return 1.0
    return _phi((bound - spread.mean) / spread.sd) if bound >= 0 else 0.0


def _sum_below(spread: Spread, bound: float) -> float:
    """Expectation of the values up to ``bound``, and 0 for those above."""
    if isinstance(spread, Lognormal):
        if bound <= 0:
            return 0.0
        z = inf if bound == inf else (log(bound) - log(spread.median)) / spread.sigma
        return mean(spread) * _phi(z - spread.sigma)
    low, high = -spread.mean / spread.sd, (min(bound, 1.0) - spread.mean) / spread.sd
    within = spread.mean * (_phi(high) - _phi(low)) - spread.sd * (_density(high) - _density(low))
    return within + (1 - _phi(high) if bound >= 1 else 0.0)


def _phi(z: float) -> float:
    return (1 + erf(z / sqrt(2))) / 2 if z != inf else 1.0


def _density(z: float) -> float:
    return exp(-z * z / 2) / sqrt(2 * pi)
