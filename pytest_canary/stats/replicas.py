"""Replicas as the unit of evidence: one bad minute of one replica must convict nobody."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.ratio import FIRST, start_weights
from pytest_canary.stats.rows import Index, Rows, axes

_RATIOS = np.array([1.5, 2, 3, 4.5, 7, 12, 20, 32.0])
_TEMPERS = np.array([1.0, 0.3])
_CLIP = 8.0
"""The most that one replica's window may be worth, either way."""
FEWEST = 6
"""Ways to choose the canary's replicas among all; with fewer, chance alone explains any difference."""
UNEVEN = 0.25
"""How far a replica's traffic may be from the others', as a share of it."""


class ReplicaEvidence(Rows):
    """E-process against "the canary's replicas are like the others", from windows of counts per replica.

    In each window the statistic of the canary's replicas is divided by its mean over all ways to choose as many
    replicas, so its mean is exactly 1 whatever happens inside a window, as long as replicas are exchangeable and
    windows are nearly independent.  The mean over subsets is an elementary symmetric polynomial.  ``worth`` is the
    most that one window may multiply it by: in a large fleet a single replica's bad moment would be beyond chance.
    """

    AXES = axes(_posterior=1, _banked=1)

    def __init__(self, stages: int, batch: int = 1, first: float = FIRST, worth: float = np.inf) -> None:
        ratios, self._temper = np.tile(_RATIOS, _TEMPERS.size), np.repeat(_TEMPERS, _RATIOS.size)
        self._log_ratio, self._excess = np.log(ratios), ratios - 1.0
        self._prior = np.log(1 / ratios / (1 / ratios).sum())
        self._weights = np.log(start_weights(stages, first))[:, None]
        self._posterior = np.broadcast_to(self._prior, (self._weights.size, batch, ratios.size)).copy()
        self._banked = np.zeros((self._weights.size, batch))
        self._begun, self._log_worth = 0, np.log(worth)

    def start_stage(self) -> None:
        """Begin a copy that has seen nothing."""
        self._begun = min(self._begun + 1, self._weights.size)

    def window(self, requests: ArrayLike, events: ArrayLike, canaries: int, rows: Index | None = None) -> None:
        """Add one closed window: counts per replica, shape (batch, replicas), the ``canaries`` of the canary first.

        Of all rollouts, or of those of ``rows``.
        """
        n, x = np.atleast_2d(np.asarray(requests, float)), np.atleast_2d(np.asarray(events, float))
        replicas = n.shape[1]
        if not 0 < canaries < replicas:
            return
        served = np.maximum(n.sum(axis=1), 1e-12)
        expected = n * (x.sum(axis=1) / served)[:, None]
        gain = self._temper * (x[..., None] * self._log_ratio - self._excess * expected[..., None])
        gain = np.clip(gain, -np.log(_CLIP), np.log(_CLIP))
        factor = gain[:, :canaries].sum(axis=1) - np.log(_mean_over_subsets(np.exp(gain), canaries))
        begun, at = slice(0, self._begun), slice(None) if rows is None else rows
        won = logsumexp(self._posterior[begun, at] + factor)
        self._banked[begun, at] += np.minimum(won, self._log_worth)
        self._posterior[begun, at] += factor - won[..., None]

    @property
    def log_e(self) -> Array:
        """Log evidence, one per rollout."""
        return logsumexp(self._weights + self._banked, axis=0)


def _mean_over_subsets(factors: Array, size: int) -> Array:
    """Mean over all subsets of ``size`` replicas of the product of their factors, shape (batch, alternatives)."""
    batch, replicas, alternatives = factors.shape
    means = np.zeros((size + 1, batch, alternatives))
    means[0] = 1.0
    for j in range(replicas):
        for i in range(min(j + 1, size), 0, -1):
            means[i] = means[i] * (j + 1 - i) / (j + 1) + means[i - 1] * factors[:, j] * i / (j + 1)
    return np.asarray(means[size])


def evened(canary: Sequence[tuple[float, float]], baseline: Sequence[tuple[float, float]]) -> Evened | None:
    """Replicas (requests, events) of both sides, merged into virtual ones of equal traffic; None where that fails.

    Replicas are comparable only where each had about as many requests: fewer requests make a rate noisier, and the
    noisiest would look like the worst.  So the smaller ones of either side are put together until they are as large
    as the largest of all, within a quarter.
    """
    busy = [[one for one in side if one[0] > 0] for side in (canary, baseline)]
    if not all(busy):
        return None
    size = max(requests for side in busy for requests, _ in side)
    mine, theirs = (_packed(side, size) for side in busy)
    return (mine, theirs) if choices(len(mine), len(theirs)) >= FEWEST else None


def choices(canary: int, baseline: int) -> int:
    """In how many ways the canary's replicas could have been chosen among all; 0 where one side has none."""
    return comb(canary + baseline, canary) if canary and baseline else 0


Evened = tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]
"""Replicas of the canary and of the baseline, each as requests and events."""


def _packed(side: Sequence[tuple[float, float]], size: float) -> tuple[tuple[float, float], ...]:
    """Put replicas together until each has about ``size`` requests; what is left over and fits nowhere stays out."""
    chance = 3 * sqrt(size)
    groups: list[tuple[float, float]] = []
    open_requests = open_events = 0.0
    for requests, events in sorted(side, reverse=True):
        open_requests, open_events = open_requests + requests, open_events + events
        if open_requests >= (1 - UNEVEN) * size - chance:
            groups.append((open_requests, open_events))
            open_requests = open_events = 0.0
    if open_requests and groups and min(groups)[0] + open_requests <= (1 + UNEVEN) * size + chance:
        requests, events = min(groups)
        groups.remove((requests, events))
        groups.append((requests + open_requests, events + open_events))
    return tuple(groups)
