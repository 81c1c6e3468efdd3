"""The catastrophe lane: what stops a plainly broken canary within a handful of requests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_canary.stats.grid import Array
from pytest_canary.stats.limit import LimitEvidence

BROKEN = 0.2
"""A canary that fails more often than this is plainly broken."""


class Lane:
    """Evidence against "fails at most one request in five", whatever the baseline does.

    Fires at ten times the evidence that alpha asks for, and only while the canary is not better than the baseline,
    so that an outage both sides share convicts nobody.
    """

    def __init__(self, alpha: float, batch: int = 1) -> None:
        self._alpha, self._batch = alpha, batch
        self.limit = BROKEN
        self._evidence = LimitEvidence(self.limit, batch)

    def expect(self, rate: float) -> None:
        """Take it that the baseline fails at ``rate``: where that is much, only twice as much is plainly broken."""
        self.limit = min(max(BROKEN, 2 * rate), 0.9)
        self._evidence = LimitEvidence(self.limit, self._batch)

    def update(self, requests: ArrayLike, events: ArrayLike) -> None:
        """Add one poll of the canary."""
        self._evidence.update(requests, events)

    @property
    def log_e(self) -> Array:
        """Log evidence of "fails more often than the limit"."""
        return self._evidence.log_e

    def fires(self, log_worse: Array | None) -> NDArray[np.bool_]:
        """Whether it stops the canary; ``log_worse`` is the evidence of "worse at all", None without a baseline."""
        broken = self.log_e >= np.log(10 / self._alpha)
        return np.asarray(broken if log_worse is None else broken & (log_worse >= -1e-9))
