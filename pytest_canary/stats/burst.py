"""Events that come in bursts: whether they do, and how much one window may then be worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_canary.stats.grid import Array

SCALES = (1, 6, 12)
"""Polls that are taken together; bursts as short as a poll and as long as twelve are looked for."""
SURE = 2.6
"""Standard deviations of a chi-square beyond which counts are clumpier than chance."""
KNOWN = 30
"""Events from which on "not clumped" is believed; fewer say nothing."""
WORTH = 8.0
"""The most that one window may multiply the evidence by where events come in bursts."""
POLL_WORTH = 10.0
"""The most that one poll may multiply the evidence by while nobody knows."""
_LEAST_WINDOWS = 8
_KEPT = 720
"""Polls that are remembered: an hour, at one in five seconds."""
_EXPECTED = 1e-12


class BurstGuard:
    """Looks at the baseline's own counts, poll by poll, and limits what a window of evidence may be worth.

    Three answers per rollout: events come like chance (no limit), in bursts (a window of time is worth at most 8),
    or too few to know (one poll is worth at most 10).  The limit is chosen from the past alone, so evidence stays
    valid.  Dispersion is Pearson's chi-square of the baseline's events given its requests, at several scales, on the
    normal scale of Wilson and Hilferty; what both sides share (an outage) looks like a burst here, and only costs
    speed.
    """

    def __init__(self, batch: int = 1) -> None:
        self._requests = np.zeros((batch, 0))
        self._events = np.zeros((batch, 0))

    def add(self, requests: ArrayLike, events: ArrayLike) -> None:
        """Add one poll of the baseline."""
        both = (np.asarray(requests, dtype=np.float64), np.asarray(events, dtype=np.float64))
        batch = self._requests.shape[0]
        n, k = (np.broadcast_to(values, (batch,))[:, None] for values in both)
        self._requests = np.hstack([self._requests[:, -_KEPT + 1 :], n])
        self._events = np.hstack([self._events[:, -_KEPT + 1 :], k])

    @property
    def clumped(self) -> NDArray[np.bool_]:
        """Whether events come in bursts, one per rollout."""
        found = np.zeros(self._requests.shape[0], dtype=bool)
        for scale in SCALES:
            windows = self._requests.shape[1] // scale
            if windows >= _LEAST_WINDOWS:
                found |= self._deviation(windows, scale) > SURE
        return found

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether there were events enough to tell, one per rollout."""
        enough = self._requests.shape[1] >= _LEAST_WINDOWS
        return np.asarray(enough & (self._events.sum(axis=1) >= KNOWN))

    def _deviation(self, windows: int, scale: int) -> Array:
        shape = (self._requests.shape[0], windows, scale)
        n = self._requests[:, -windows * scale :].reshape(shape).sum(axis=2)
        k = self._events[:, -windows * scale :].reshape(shape).sum(axis=2)
        rate = k.sum(axis=1, keepdims=True) / np.maximum(n.sum(axis=1, keepdims=True), _EXPECTED)
        expected = np.maximum(n * rate * (1 - rate), _EXPECTED)
        freedom = windows - 1
        square = ((k - n * rate) ** 2 / expected).sum(axis=1) / freedom
        spread = 2 / (9 * freedom)
        return np.asarray((np.cbrt(square) - (1 - spread)) / np.sqrt(spread))


def design_effect(canary: tuple[Array, Array], baseline: tuple[Array, Array], pseudo: float = 4.0) -> float:
    """How many times more the canary's share of events varies between windows than chance has it, at least 1.

    ``canary`` and ``baseline`` are requests and events per window, of one and the same build on both sides; 30
    windows or more.  Shrunk towards 1 by ``pseudo`` windows.
    """
    (nc, ec), (nb, eb) = canary, baseline
    events = ec + eb
    ratio = ((ec * nb / (nc + nb)).sum() + 0.5) / ((eb * nc / (nc + nb)).sum() + 0.5)
    share = ratio * nc / (ratio * nc + nb)
    by_chance = float((events * share * (1 - share)).sum())
    if by_chance <= 0:
        return 1.0
    prior = pseudo * by_chance / events.size
    return max(1.0, (float(((ec - events * share) ** 2).sum()) + prior) / (by_chance + prior))
