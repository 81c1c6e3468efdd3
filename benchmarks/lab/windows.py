"""Both sides of one metric over any stretch of polls: what the rules of the peers look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lab.series import Errors, Floats, Ints, Latency, Means

Bools = NDArray[np.bool_]
Value = Callable[[Floats], Floats]
"""The metric, of counts whose last axis is the columns of a `Comparison`; NaN where there are no requests."""

_ROUNDING = 1e-9
"""Relative slack that keeps a canary which is exactly at the limit there, in floating point."""


@dataclass(frozen=True)
class Comparison:
    """One metric of canary and baseline.

    ``canary`` and ``base`` are running totals of shape (rollouts, polls + 1, columns); the last column is the number
    of requests.  ``limit`` is the highest ratio that passes.  ``floor`` stands for a baseline value of 0 in rules that
    have a floor.
    """

    poll_seconds: float
    stage: Ints
    canary: Floats
    base: Floats
    value: Value
    limit: float
    floor: float = 0.0

    @property
    def polls(self) -> int:
        """How many polls there are, which is also the answer of a rule that never rolls back."""
        return len(self.stage)

    def width(self, seconds: float) -> int:
        """How many polls are nearest to ``seconds``, at least one."""
        return max(1, round(seconds / self.poll_seconds))

    def ticks(self, seconds: float) -> Ints:
        """The polls at which something happens that happens every ``seconds``, the first after ``seconds``."""
        step = max(seconds / self.poll_seconds, 1.0)
        numbers = np.arange(1, int(self.polls / step + _ROUNDING) + 1)
        polls: Ints = np.rint(numbers * step).astype(np.int64) - 1
        return polls

    def last(self, polls: Ints, seconds: float) -> tuple[Floats, Floats]:
        """The counts of both sides in the ``seconds`` that end with each of ``polls``."""
        starts = np.maximum(polls + 1 - self.width(seconds), 0)
        return self.canary[:, polls + 1] - self.canary[:, starts], self.base[:, polls + 1] - self.base[:, starts]

    def worse(self, canary: Floats, base: Floats, floor: float = 0.0) -> Bools:
        """Whether the ratio is above the limit; errors against none are, 0 against 0 and no requests are not."""
        normal = self.value(base)
        allowed = self.limit * np.where(normal == 0, floor, normal)
        return self.value(canary) > allowed * (1 + _ROUNDING)


def of_errors(data: Errors, limit: float) -> Comparison:
    """Error rates in percent."""
    canary = _totals(data.canary_errors, data.canary_requests)
    base = _totals(data.base_errors, data.base_requests)
    return Comparison(data.poll_seconds, data.stage, canary, base, lambda counts: 100 * _mean(counts), limit, 0.1)


def of_means(data: Means, limit: float) -> Comparison:
    """Means per request."""
    (number, total, _), (base_number, base_total, _) = data.canary, data.base
    canary, base = _totals(total, number), _totals(base_total, base_number)
    return Comparison(data.poll_seconds, data.stage, canary, base, _mean, limit)


def of_latency(data: Latency, limit: float, rows: slice = slice(None)) -> Comparison:
    """The p99 of some of the rollouts; the columns are the requests up to each boundary, so the last is all of them."""
    canary, base = (_running(np.cumsum(side[rows], axis=2)) for side in (data.canary, data.base))
    return Comparison(data.poll_seconds, data.stage, canary, base, lambda counts: p99(data.bounds, counts), limit)


def p99(bounds: Floats, below: Floats) -> Floats:
    """`histogram_quantile(0.99, ...)` of Prometheus: linear in the bucket, and never above the last boundary."""
    rank = 0.99 * below[..., -1:]
    bucket = (below < rank).sum(axis=-1, keepdims=True)
    inside = np.minimum(bucket, len(bounds) - 1)
    before = np.where(inside > 0, np.take_along_axis(below, np.maximum(inside - 1, 0), axis=-1), 0.0)
    edges = np.concatenate([[0.0], bounds])
    lower, upper = edges[inside], edges[inside + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (rank - before) / (np.take_along_axis(below, inside, axis=-1) - before)
        value = np.where(bucket > inside, upper, lower + (upper - lower) * share)
    return np.where(rank > 0, value, np.nan)[..., 0]


def stages(stage: Ints) -> list[tuple[int, int]]:
    """The first poll of each stage, and the one after its last."""
    edges = [0, *(np.flatnonzero(np.diff(stage)) + 1).tolist(), len(stage)]
    return list(pairwise(edges))


def first(bad: Bools, polls: Ints, never: int) -> Ints:
    """The poll of the first column that is bad, per row."""
    if not len(polls):
        return np.full(len(bad), never)
    return np.where(bad.any(axis=1), polls[bad.argmax(axis=1)], never)


def _mean(counts: Floats) -> Floats:
    requests = counts[..., -1]
    means: Floats = np.full(requests.shape, np.nan)
    np.divide(counts[..., 0], requests, out=means, where=requests > 0)
    return means


def _totals(*columns: Floats) -> Floats:
    return _running(np.stack(columns, axis=-1))


def _running(counts: Floats) -> Floats:
    """Running totals over polls, with a first row of zeros: what happened in [a, b) is ``total[b] - total[a]``."""
    totals = np.zeros((counts.shape[0], counts.shape[1] + 1, counts.shape[2]))
    np.cumsum(counts, axis=1, out=totals[:, 1:])
    return totals
