"""Plays the stages of a plan with pseudo-canaries, all at once, through the very panel that judges a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_canary.gates import Gate
from pytest_canary.plan import Plan
from pytest_canary.play.cast import Cast, Part
from pytest_canary.play.frames import Counters, Packed
from pytest_canary.play.history import Array, History
from pytest_canary.ports import Role
from pytest_canary.verdict.course import STOP, WAIT, Rules
from pytest_canary.verdict.frame import Frame
from pytest_canary.verdict.panel import Panel

Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Played:
    """What became of each play, arrays of shape (plays,)."""

    stopped: NDArray[np.bool_]
    """Whether the gate rolled the pseudo-canary back."""
    exposed: Array
    """Requests that the pseudo-canary had until the end."""
    refused: int = 0
    """Plays that did not begin: the gate cannot be judged on what was normal then."""
    why: str = ""
    """Why not, of one of them."""

    @property
    def plays(self) -> int:
        """How many there are."""
        return len(self.stopped)

    @property
    def stops(self) -> int:
        """How many were rolled back."""
        return int(self.stopped.sum())


def play(
    plan: Plan, gate: Gate, history: History, cast: Cast, canary: History | None = None, *, at_most: int | None = None
) -> Played:
    """Play every part of ``cast`` with ``gate`` alone; the canary's counts are taken from ``canary`` where given.

    Where a stage waits beyond its hold, the history goes on; at its end it begins again.  With ``at_most`` the rest is
    not played to its end once more than so many were rolled back.
    """
    packed = Packed(history, gate.metric)
    worse = packed if canary is None else Packed(canary, gate.metric)
    told = _Told(np.zeros(cast.plays, dtype=bool), np.zeros(cast.plays), cast.plays if at_most is None else at_most)
    for rows in _alike(plan, gate, packed, cast):
        _Plays(plan, gate, (packed, worse), cast, rows, told).run()
    return Played(told.stopped, told.exposed, told.refused, told.why)


@dataclass(slots=True)
class _Told:
    stopped: NDArray[np.bool_]
    exposed: Array
    at_most: int
    refused: int = 0
    why: str = ""

    @property
    def known(self) -> bool:
        """Whether nothing more is asked."""
        return bool(self.stopped.sum() > self.at_most)


def _alike(plan: Plan, gate: Gate, packed: Packed, cast: Cast) -> Iterator[Index]:
    """Plays that one panel can judge together: what is normal in them calls for the same rules."""
    normal = Counters(packed, cast.orders)
    for step in range(cast.before):
        normal.step(cast.starts + step)
    kinds = Panel.kinds([gate], len(plan.stages), normal.frame(np.zeros(cast.plays)))
    for kind in dict.fromkeys(kinds):
        yield np.flatnonzero(np.array([one == kind for one in kinds], dtype=bool))


class _Plays:
    """Pseudo-canaries on their way through the stages; those that have ended leave."""

    def __init__(
        self, plan: Plan, gate: Gate, packed: tuple[Packed, Packed], cast: Cast, rows: Index, told: _Told
    ) -> None:
        self._plan, self._packed, self._cast, self._told = plan, packed, cast, told
        self._step = cast.step_seconds
        self._rows, self._orders, self._at = rows, cast.orders[rows], cast.starts[rows].copy()
        self._panel = Panel([gate], len(plan.stages), rows.size)

    def run(self) -> None:
        """All of them, to their ends."""
        self._capture()
        for part in self._cast.parts:
            if self._rows.size and not self._told.known:
                self._stage(part)

    def _capture(self) -> None:
        good = self._packed[0]
        normal, polls = Counters(good, self._orders), list[tuple[Frame, None]]()
        for _ in range(self._cast.before):
            more = normal.step(self._at)
            self._at = self._at + 1
            polls.append((Frame(self._now, good.layout, more), None))
        wrong = self._panel.capture(normal.frame(self._now), polls)
        refused = np.array([bool(one) for one in wrong], dtype=bool)
        if refused.any():
            self._told.refused += int(refused.sum())
            self._told.why = next(one for one in wrong if one)
            self._keep(np.flatnonzero(~refused))

    @property
    def _now(self) -> Array:
        return np.asarray(self._at * self._step, dtype=np.float64)

    def _keep(self, rows: Index) -> None:
        self._rows, self._orders, self._at = self._rows[rows], self._orders[rows], self._at[rows]
        if rows.size:
            self._panel.keep(rows)

    def _stage(self, part: Part) -> None:
        """Hold one stage in all plays; each goes on when its own decision says so."""
        good, worse = self._packed
        stage, hold = self._plan.stages[part.index], part.steps * self._step
        canary, baseline = (
            Counters(worse, self._orders[:, : part.canaries]),
            Counters(good, self._orders[:, part.canaries :]),
        )
        began, on = self._now, np.ones(self._rows.size, dtype=bool)
        self._panel.start_stage(
            part.index, began, part.weight, True, hold, stage.min_requests,
            {Role.CANARY: canary.frame(began), Role.BASELINE: baseline.frame(began)}, allowance=stage.allowance,
        )  # fmt: skip
        longest = good.steps * self._step  # a stage that waits for ever ends with the history
        deadline = max(min(stage.deadline_seconds or longest, longest), hold)
        rules = Rules(hold, stage.min_requests, deadline, self._plan.pace, self._plan.when_undecided)
        while on.any() and not self._told.known:
            where = None if on.all() else on
            canary.step(self._at, where)
            baseline.step(self._at, where)
            self._at = self._at + on
            now = self._now
            self._panel.observe({Role.CANARY: canary.frame(now), Role.BASELINE: baseline.frame(now)}, now, where)
            course = self._panel.next_step(rules, now - began, where)
            stop = on & (course.step == STOP)
            on = on & (course.step == WAIT)
            if stop.any():
                self._told.stopped[self._rows[stop]] = True
                self._told.exposed[self._rows[stop]] += canary.requests[stop]
                left = np.flatnonzero(~stop)
                began, on = began[left], on[left]
                self._keep(left)
                canary.keep(left)
                baseline.keep(left)
        self._told.exposed[self._rows] += canary.requests
