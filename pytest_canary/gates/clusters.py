"""How much more counts vary than chance has it, where one request brings many values that are alike."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_canary.stats.batches import Spread

POLLS = 10
"""From so many polls of the baseline on, what they vary by is believed ..."""
UNKNOWN = 30.0
"""... and before, this is taken: a request of a few hundred tokens whose gaps are mostly alike."""


class Clusters:
    """The design effect of several kinds of events: their variance over polls, by that of as many coins."""

    def __init__(self, kinds: int) -> None:
        self._spreads = [Spread() for _ in range(kinds)]
        self._events, self._values = [0.0] * kinds, 0.0
        self.polls: list[tuple[float, Sequence[float]]] = []
        """Values and events of each poll, for who has to begin anew with the effect known."""

    def add(self, values: float, events: Sequence[float]) -> None:
        """Take in one poll of the baseline."""
        self.polls.append((values, events))
        self._values += values
        for index, (spread, count) in enumerate(zip(self._spreads, events, strict=True)):
            spread.add(values, count)
            self._events[index] += count

    @property
    def effect(self) -> float:
        """The largest of all kinds, at least 1."""
        if len(self.polls) < POLLS or not self._values:
            return UNKNOWN
        shares = [count / self._values for count in self._events]
        found = [
            spread.variance / (share * (1 - share))
            for spread, share in zip(self._spreads, shares, strict=True)
            if 0 < share < 1
        ]
        return max([1.0, *found])
