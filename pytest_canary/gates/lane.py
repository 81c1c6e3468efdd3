"""The catastrophe lane: what stops a plainly broken canary within a handful of requests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import Array
from pytest_canary.stats.limit import LimitEvidence
from pytest_canary.stats.rows import Flags, Rows, axes, column

BROKEN = 0.2
"""A canary that fails more often than this is plainly broken."""


class Lane(Rows):
    """Evidence against "fails at most one request in five", whatever the baseline does.

    Fires at ten times the evidence that alpha asks for, and only while the canary is not better than the baseline,
    so that an outage both sides share convicts nobody.
    """

    AXES = axes(_limit=0)
    PARTS = ("_evidence",)

    def __init__(self, alpha: float, batch: int = 1) -> None:
        self._alpha, self._batch = alpha, batch
        self._limit = np.full(batch, BROKEN)
        self._evidence = LimitEvidence(self._limit, batch)

    def expect(self, rate: ArrayLike) -> None:
        """Take it that the baseline fails at ``rate``: where that is much, only twice as much is plainly broken."""
        self._limit = np.minimum(np.maximum(BROKEN, 2 * column(rate, self._batch)), 0.9)
        self._evidence = LimitEvidence(self._limit, self._batch)

    def limit_of(self, row: int) -> float:
        """What is plainly broken in one rollout."""
        return float(self._limit[row])

    def update(self, requests: ArrayLike, events: ArrayLike, where: Flags | None = None) -> None:
        """Add one poll of the canary."""
        self._evidence.update(requests, events, where)

    @property
    def log_e(self) -> Array:
        """Log evidence of "fails more often than the limit"."""
        return self._evidence.log_e

    @property
    def broken(self) -> Flags:
        """Whether it fails more often than that, by its own counts alone."""
        return self._evidence.reaches(float(np.log(10 / self._alpha)))

    def fires(self, log_worse: Array | None) -> Flags:
        """Whether it stops the canary; ``log_worse`` is the evidence of "worse at all", None without a baseline."""
        broken = self.broken
        return np.asarray(broken if log_worse is None else broken & (log_worse >= -1e-9))
