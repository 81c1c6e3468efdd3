"""The grid of ratios that evidence is kept on, and the weights that lie on it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATIOS: Array = np.exp(np.linspace(-np.log(64), np.log(64), 193))
"""Ratios canary / baseline from 1/64 to 64, 1 among them, each 1.044 times the one before."""
LOG_RATIOS: Array = np.log(RATIOS)


def logsumexp(values: Array, axis: int = -1) -> Array:
    """log(sum(exp(values))) along ``axis``, without overflow."""
    top = values.max(axis=axis, keepdims=True)
    shifted = values - top
    np.exp(shifted, out=shifted)
    return np.asarray(np.log(shifted.sum(axis=axis)) + top.squeeze(axis=axis))


def weights(mask: NDArray[np.bool_], log_weights: Array) -> Array:
    """Log weights that add up to 1 where ``mask`` holds, minus infinity elsewhere."""
    chosen = np.where(mask, log_weights, -np.inf)
    return np.asarray(chosen - logsumexp(chosen))


def worse_than(ratio: float) -> Array:
    """Alternatives for "worse": ratios in (1.2 ratio, 32 ratio], weight 1/r."""
    return weights((1.2 * ratio < RATIOS) & (32 * ratio >= RATIOS), -LOG_RATIOS)


def not_worse_than(ratio: float) -> Array:
    """Alternatives for "not worse": ratios below ratio / 1.05, most weight around 1."""
    return weights(ratio / 1.05 > RATIOS, -np.abs(LOG_RATIOS) / 0.35)


@cache
def around_one(scale: float) -> Array:
    """Laplace weights on log r, centred at "the same build"."""
    return weights(RATIOS > 0, -np.abs(LOG_RATIOS) / scale)
