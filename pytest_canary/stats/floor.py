"""How far replicas of one build are from each other, and which ratio that alone can make."""

from __future__ import annotations

from math import cbrt, exp, sqrt

import numpy as np
from numpy.typing import ArrayLike

FEWEST = 5
"""Replicas below which nothing can be said."""
_SURE = 3.0
"""Standard deviations beyond which replicas differ by more than chance."""
_TOP = 1.645
"""Of a normal: one comparison in twenty is further off."""


def spread(requests: ArrayLike, events: ArrayLike) -> float:
    """Standard deviation of the replicas' log rates beyond chance; 0 where chance explains them.

    Method of moments on counts with one common rate: ``var(x_j) = n_j p + (n_j p)^2 tau^2``.
    """
    n, x = np.asarray(requests, dtype=np.float64), np.asarray(events, dtype=np.float64)
    if n.size < FEWEST or x.sum() <= 0:
        return 0.0
    expected = n * x.sum() / n.sum()
    freedom = n.size - 1
    square = float(((x - expected) ** 2 / np.maximum(expected, 1e-12)).sum()) / freedom
    if not _surely_above(square, freedom):
        return 0.0
    return sqrt(max(float(((x - expected) ** 2 - expected).sum()) / float((expected**2).sum()), 0.0))


def _surely_above(square: float, freedom: int) -> bool:
    """Whether a chi-square over its degrees of freedom is too large for chance (Wilson and Hilferty 1931)."""
    width = 2 / (9 * freedom)
    return (cbrt(square) - (1 - width)) / sqrt(width) >= _SURE


def beyond_chance(means: ArrayLike, variances: ArrayLike) -> float:
    """Relative standard deviation of ``means`` beyond what their own ``variances`` explain; 0 where these do."""
    m, v = np.asarray(means, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    centre = float(m.mean()) if m.size else 0.0
    if m.size < FEWEST or not centre:
        return 0.0
    around = (m - centre) ** 2
    if not _surely_above(float((around / np.maximum(v, 1e-300)).sum()) / (m.size - 1), m.size - 1):
        return 0.0
    return sqrt(max(float(around.sum() / (m.size - 1) - v.mean()), 0.0)) / abs(centre)


def relative(values: ArrayLike) -> float:
    """Standard deviation over the mean, chance included; 0 of fewer than five or of nothing."""
    x = np.asarray(values, dtype=np.float64)
    if x.size < FEWEST or not x.mean():
        return 0.0
    return float(x.std(ddof=1) / abs(x.mean()))


def largest_by_itself(tau: float, canary: int, baseline: int) -> float:
    """The ratio that ``canary`` replicas reach against ``baseline`` ones of the same build, one time in twenty."""
    return exp(_TOP * tau * sqrt(1 / max(canary, 1) + 1 / max(baseline, 1)))
