"""Whether the traffic is split as it was set."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_canary.stats.grid import LOG_RATIOS, RATIOS, Array, logsumexp, weights

_OTHER = weights(np.abs(LOG_RATIOS) > 1e-9, -np.abs(LOG_RATIOS) / 0.35)
MATTERS = 1.1
"""The odds of a request to reach the canary must be off by so much before a split counts as wrong."""


class SplitEvidence:
    """E-process against "each request goes to the canary with the share that was set", two-sided.

    A mixture over other odds.  A split that varies less than a coin (round robin) never gathers any, so it needs no
    special case.
    """

    def __init__(self, batch: int = 1) -> None:
        self._factor = np.zeros((batch, RATIOS.size))
        self._seen = np.zeros((2, batch))
        self._wanted = np.zeros(batch)

    def update(self, share: float, canary: ArrayLike, others: ArrayLike) -> None:
        """Add one poll: requests of the canary, which was to have ``share``, and of all others."""
        if not 0 < share < 1:
            return
        n, m = (np.atleast_1d(np.asarray(side, dtype=np.float64)) for side in (canary, others))
        self._factor += n[:, None] * LOG_RATIOS - (n + m)[:, None] * np.log1p(share * (RATIOS - 1.0))
        self._seen = self._seen + np.stack([n, m])
        self._wanted = self._wanted + share * (n + m)

    @property
    def log_e(self) -> Array:
        """Log evidence, one per rollout."""
        return logsumexp(_OTHER + self._factor)

    @property
    def seen(self) -> Array:
        """The canary's share that was seen."""
        return np.asarray(self._seen[0] / np.maximum(self._seen.sum(axis=0), 1e-12))

    @property
    def requests(self) -> Array:
        """Requests that were seen on either side."""
        return np.asarray(self._seen.sum(axis=0))

    @property
    def wrong_enough(self) -> NDArray[np.bool_]:
        """Whether the split is off by so much that it matters; with a million requests anything is significant."""
        total = self._seen.sum(axis=0)
        wanted = np.clip(self._wanted / np.maximum(total, 1e-12), 1e-9, 1 - 1e-9)
        seen = np.clip(self.seen, 1e-9, 1 - 1e-9)
        odds = (seen / (1 - seen)) / (wanted / (1 - wanted))
        return np.asarray((total > 0) & (np.maximum(odds, 1 / odds) >= MATTERS))
