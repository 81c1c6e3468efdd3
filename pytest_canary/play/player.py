"""Plays the stages of a plan with pseudo-canaries, through the very judge and decisions of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Gate
from pytest_canary.plan import Plan
from pytest_canary.play.cast import Cast, Part
from pytest_canary.play.counters import Counters
from pytest_canary.play.history import Array, History
from pytest_canary.ports import Role, Sample
from pytest_canary.verdict import Judge, Step, decide


@dataclass(frozen=True, slots=True)
class Played:
    """What became of each play, arrays of shape (plays,)."""

    stopped: NDArray[np.bool_]
    """Whether the gate rolled the pseudo-canary back."""
    exposed: Array
    """Requests that the pseudo-canary had until the end."""
    refused: int = 0
    """Plays that did not begin: the stable build's own noise lies above the gate."""

    @property
    def plays(self) -> int:
        """How many there are."""
        return len(self.stopped)

    @property
    def stops(self) -> int:
        """How many were rolled back."""
        return int(self.stopped.sum())


def play(plan: Plan, gate: Gate, history: History, cast: Cast, canary: History | None = None) -> Played:
    """Play every part of ``cast`` with ``gate`` alone; the canary's counts are taken from ``canary`` where given.

    Where a stage waits beyond its hold, the history goes on; at its end it begins again.
    """
    stopped, exposed, refused = np.zeros(cast.plays, dtype=bool), np.zeros(cast.plays), 0
    for nth in range(cast.plays):
        one = _Play(plan, gate, history, canary or history, cast, nth)
        try:
            stopped[nth] = one.run()
        except BaselineFailed:
            refused += 1
        exposed[nth] = one.exposed
    return Played(stopped, exposed, refused)


class _Play:
    """One pseudo-canary on its way through the stages."""

    def __init__(self, plan: Plan, gate: Gate, history: History, canary: History, cast: Cast, nth: int) -> None:
        self._plan, self._gate, self._cast = plan, gate, cast
        self._history, self._worse = history, canary
        self._order, self._at = cast.orders[nth], int(cast.starts[nth])
        self._judge = Judge([gate], len(plan.stages))
        self.exposed = 0.0

    def run(self) -> bool:
        """Whether it was rolled back."""
        normal, polls = Counters(self._history, self._order, self._gate.metric), list[Sample]()
        for _ in range(self._cast.before):
            polls.append(normal.step(self._at))
            self._at += 1
        self._judge.capture(normal.sample(0.0), polls)
        return any(self._stage(part) for part in self._cast.parts)

    def _stage(self, part: Part) -> bool:
        """Hold one stage; True when it stops."""
        stage, step = self._plan.stages[part.index], self._history.step_seconds
        canary = Counters(self._worse, self._order[: part.canaries], self._gate.metric)
        baseline = Counters(self._history, self._order[part.canaries :], self._gate.metric)
        began, hold = self._at * step, part.steps * step
        self._judge.start_stage(
            part.index, began, part.weight, True, hold, stage.min_requests,
            {Role.CANARY: canary.sample(began), Role.BASELINE: baseline.sample(began)}, allowance=stage.allowance,
        )  # fmt: skip
        deadline = max(stage.deadline_seconds or np.inf, hold)
        while True:
            canary.step(self._at)
            baseline.step(self._at)
            self._at += 1
            now = self._at * step
            self._judge.observe({Role.CANARY: canary.sample(now), Role.BASELINE: baseline.sample(now)}, now)
            decision = decide(
                self._judge.verdicts(), elapsed=now - began, requests=self._judge.requests, hold=hold,
                min_requests=stage.min_requests, deadline=min(deadline, self._longest(hold)),
                pace=self._plan.pace, when_undecided=self._plan.when_undecided,
            )  # fmt: skip
            if decision.step is not Step.WAIT:
                self.exposed += canary.requests
                return decision.step is Step.STOP

    def _longest(self, hold: float) -> float:
        """A stage that waits for ever ends with the history."""
        return max(hold, self._history.seconds)
