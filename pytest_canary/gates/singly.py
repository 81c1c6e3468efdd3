"""Rules that look at one rollout at a time, put in the place of one that looks at a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pytest_canary.gates.finding import Finding
from pytest_canary.gates.look import FAIL, STATUSES, Look, ground
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.side import Side
from pytest_canary.gates.values import Limits
from pytest_canary.gates.window import Window
from pytest_canary.stats.grid import Array
from pytest_canary.stats.rows import Flags, Index


class Single(Protocol):
    """What judges one limit (or all limits) of a gate in one rollout."""

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; returns what is wrong when the gate cannot be judged with it."""

    def normal(self, baseline: Reading) -> None:
        """Add one poll of the baseline from before the ramp, after ``capture``."""

    def start_stage(self, window: Window, limits: Limits, /) -> None:
        """Begin a stage with the limits that hold there."""

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""

    def compare(self, canary: Reading, baseline: Reading, at: float, /) -> None:
        """Add what both sides counted since the last comparison, which ended at ``at`` seconds."""

    def finding(self, canary: Reading, baseline: Reading, served: bool, /) -> Finding:
        """What this stage's counts and the evidence so far say; ``served``: hold and minimum requests are."""


class Singly:
    """One such rule per rollout."""

    def __init__(self, rules: Sequence[Single]) -> None:
        self._rules = list(rules)
        self._found: dict[int, Finding] = {}

    def keep(self, rows: Index) -> None:
        """Go on with these rollouts only."""
        self._rules, self._found = [self._rules[row] for row in rows], {}

    def capture(self, baseline: Side) -> list[str | None]:
        """As :class:`Single` has it, of all rollouts."""
        return [rule.capture(baseline.row(row)) for row, rule in enumerate(self._rules)]

    def normal(self, baseline: Side, where: Flags | None) -> None:
        """As :class:`Single` has it, ``where`` there was a poll."""
        for row in self._rows(where):
            self._rules[row].normal(baseline.row(row))

    def start_stage(self, window: Window, limits: Limits) -> None:
        """As :class:`Single` has it."""
        for rule in self._rules:
            rule.start_stage(window, limits)

    def alone(self, canary: Side, where: Flags | None) -> None:
        """As :class:`Single` has it."""
        for row in self._rows(where):
            self._rules[row].alone(canary.row(row))

    def compare(self, canary: Side, baseline: Side, at: Array, where: Flags | None) -> None:
        """As :class:`Single` has it."""
        for row in self._rows(where):
            self._rules[row].compare(canary.row(row), baseline.row(row), float(at[row]))

    def _rows(self, where: Flags | None) -> Sequence[int]:
        return range(len(self._rules)) if where is None else np.flatnonzero(where).tolist()

    def failing(self, canary: Side, baseline: Side, served: Flags) -> Flags:
        """Whether it fails now."""
        look = self.look(canary, baseline, served, np.arange(len(self._rules)))
        return np.asarray(look.status == FAIL)

    def look(self, canary: Side, baseline: Side, served: Flags, rows: Index) -> Look:
        """What each says, in ``rows``."""
        look = Look.undecided(len(self._rules))
        for row in rows.tolist():
            found = self._rules[row].finding(canary.row(row), baseline.row(row), bool(served[row]))
            self._found[row] = found
            look.status[row], look.by[row] = STATUSES.index(found.status), ground(found.by)
            look.harmless[row], look.odds[row] = found.harmless, found.odds
        return look

    def finding(self, row: int, _look: Look, _canary: Reading, _baseline: Reading) -> Finding:
        """The last look in words."""
        return self._found[row]
