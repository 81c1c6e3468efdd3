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
    width = 2 / (9 * freedom)
    if (cbrt(square) - (1 - width)) / sqrt(width) < _SURE:
        return 0.0
    return sqrt(max(float(((x - expected) ** 2 - expected).sum()) / float((expected**2).sum()), 0.0))


def largest_by_itself(tau: float, canary: int, baseline: int) -> float:
    """The ratio that ``canary`` replicas reach against ``baseline`` ones of the same build, one time in twenty."""
    return exp(_TOP * tau * sqrt(1 / max(canary, 1) + 1 / max(baseline, 1)))
