"""Times of trouble, of single pods or of everybody: on and off at random, poll after poll."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_canary.simulation.traffic import Spells

Floats = NDArray[np.float64]


class Trouble:
    """Spells of so many columns (pods, or one for everybody) in one rollout.

    They begin as a Poisson process of one in ``every`` seconds, whether one is on or not, and last ``seconds`` each;
    one that begins meanwhile makes it last longer.
    """

    def __init__(self, spells: Spells, columns: int, rng: np.random.Generator) -> None:
        self._spells, self._rng = spells, rng
        self._now = 0.0
        # As if it had been going on for ever: the last one began so long ago.
        self._until = spells.seconds - rng.exponential(spells.every, columns)
        self._next = rng.exponential(spells.every, columns)

    def share(self, seconds: float) -> Floats:
        """``[columns]``: for how much of the next ``seconds`` one is on, 0..1."""
        now, end = self._now, self._now + seconds
        on = np.clip(self._until - now, 0.0, seconds)
        while True:
            due = self._next < end
            if not due.any():
                break
            begins = np.where(due, self._next, end)
            stops = begins + self._spells.seconds
            fresh = np.clip(np.minimum(stops, end) - np.maximum(begins, np.maximum(self._until, now)), 0.0, None)
            on = on + np.where(due, fresh, 0.0)
            self._until = np.where(due, np.maximum(self._until, stops), self._until)
            gaps = self._rng.exponential(self._spells.every, due.size)
            self._next = np.where(due, self._next + gaps, self._next)
        self._now = end
        return np.asarray(on / seconds)
