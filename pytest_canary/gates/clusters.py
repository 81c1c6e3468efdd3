"""How much more counts vary than chance has it, where one request brings many values that are alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.batches import Spread
from pytest_canary.stats.grid import Array
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column

POLLS = 10
"""From so many polls of the baseline on, what they vary by is believed ..."""
UNKNOWN = 30.0
"""... and before, this is taken: a request of a few hundred tokens whose gaps are mostly alike."""

Poll = tuple[ArrayLike, Sequence[ArrayLike], Flags | None]
"""Values, events of each kind, and where there were any."""


class Clusters(Rows):
    """The design effect of several kinds of events: their variance over polls, by that of as many coins."""

    AXES = axes(_events=1, _values=0, _number=0)
    PARTS = ("_spreads",)

    def __init__(self, kinds: int, batch: int = 1) -> None:
        self._spreads = [Spread(batch) for _ in range(kinds)]
        self._events, self._values, self._number = np.zeros((kinds, batch)), np.zeros(batch), np.zeros(batch)
        self.polls: list[Poll] = []
        """For who has to begin anew with the effect known."""

    def keep(self, rows: Index) -> None:
        batch = self._values.size
        super().keep(rows)
        self.polls = [
            (column(n, batch)[rows], [column(k, batch)[rows] for k in events], None if there is None else there[rows])
            for n, events, there in self.polls
        ]

    def add(self, values: ArrayLike, events: Sequence[ArrayLike], where: Flags | None = None) -> None:
        """Take in one poll of the baseline; elsewhere than ``where`` there was none."""
        self.polls.append((values, events, where))
        there = np.ones(self._values.size) if where is None else where.astype(np.float64)
        self._number = self._number + there
        self._values = self._values + column(values, there.size) * there
        for index, (spread, count) in enumerate(zip(self._spreads, events, strict=True)):
            spread.add(column(values, there.size) * there, column(count, there.size) * there)
            self._events[index] += column(count, there.size) * there

    @property
    def effect(self) -> Array:
        """The largest of all kinds, at least 1; one per rollout."""
        known = (self._number >= POLLS) & (self._values > 0)
        shares = self._events / np.where(self._values > 0, self._values, 1.0)
        inside = (shares > 0) & (shares < 1)
        coins = np.where(inside, shares * (1 - shares), 1.0)
        found = [np.where(here, s.variance / c, 1.0) for s, here, c in zip(self._spreads, inside, coins, strict=True)]
        return np.where(known, np.max([np.ones(self._values.size), *found], axis=0), UNKNOWN)
