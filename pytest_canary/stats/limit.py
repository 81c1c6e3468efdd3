"""Evidence about one rate against a fixed limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.ratio import FIRST

_SPREAD = np.append(np.linspace(1 / 16, 15 / 16, 15), [0.9875, 0.999875])
_TIMES = np.geomspace(1.2, 64.0, 24)


def _alternatives(limit: float) -> tuple[Array, Array]:
    """Rates above ``limit`` and their log weights: half on multiples of its odds, half spread up to 1."""
    odds = _TIMES * limit / (1 - limit)
    rates = np.append(odds / (1 + odds), limit + (1 - limit) * _SPREAD)
    shares = np.append(1 / _TIMES / (1 / _TIMES).sum(), np.full(_SPREAD.size, 1 / _SPREAD.size)) / 2
    return np.minimum(rates, 1 - 1e-12), np.log(shares)


class LimitEvidence:
    """E-process against "events happen at a rate of at most ``limit``", from one side's counts alone.

    A mixture over higher rates and over the polls at which the trouble may have begun: .8 on the first, the rest
    thins out over the later ones, so that a long good past does not hide a sudden collapse.  For "at least", hand
    in the complement: requests without the event, and 1 - limit.
    """

    def __init__(self, limit: float, batch: int = 1) -> None:
        self._limit = min(max(limit, 1e-9), 1 - 1e-9)
        self._rates, self._shares = _alternatives(self._limit)
        self._begun = np.full((batch, self._rates.size), -np.inf)
        self._polls = 0

    def update(self, requests: ArrayLike, events: ArrayLike) -> None:
        """Add one poll; more events than requests (counters read at different moments) count as so many requests."""
        k = np.maximum(np.atleast_1d(np.asarray(events, dtype=np.float64)), 0.0)[:, None]
        n = np.maximum(np.atleast_1d(np.asarray(requests, dtype=np.float64))[:, None], k)
        self._polls += 1
        began_now = FIRST if self._polls == 1 else (1 - FIRST) / (self._polls * (self._polls - 1))
        factor = k * np.log(self._rates / self._limit) + (n - k) * np.log((1 - self._rates) / (1 - self._limit))
        self._begun = np.logaddexp(self._begun, np.log(began_now) + self._shares) + factor

    @property
    def log_e(self) -> Array:
        """Log evidence, one per rollout."""
        if not self._polls:
            return np.zeros(self._begun.shape[0])
        return np.logaddexp(logsumexp(self._begun), np.log((1 - FIRST) / self._polls))
