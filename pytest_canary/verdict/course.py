"""What to do after a poll, in every rollout of a batch; a live run is a batch of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_canary.gates.look import FAIL, PASS, UNDECIDED
from pytest_canary.verdict.values import Step

Flags = NDArray[np.bool_]
Codes = NDArray[np.int8]

STEPS = tuple(Step)
"""A code is an index."""
WAIT, ADVANCE, STOP = range(3)


@dataclass(frozen=True, slots=True)
class Rules:
    """When a stage may end; seconds."""

    hold: float
    min_requests: int
    deadline: float | None
    pace: str = "hold"
    when_undecided: str = "advance"

    def counted(self, requests: NDArray[np.float64]) -> Flags:
        """Where the canary has had its requests."""
        return np.asarray(requests >= self.min_requests)

    def served(self, elapsed: NDArray[np.float64], requests: NDArray[np.float64]) -> Flags:
        """Where hold and minimum requests are."""
        return self.counted(requests) & (elapsed >= self.hold)

    def overdue(self, elapsed: NDArray[np.float64]) -> Flags:
        """Where the deadline has passed."""
        return np.asarray(elapsed >= (np.inf if self.deadline is None else self.deadline))

    def open(self, elapsed: NDArray[np.float64], requests: NDArray[np.float64]) -> Flags:
        """Where something other than a failure can end the stage now, so that every gate has to be asked."""
        may = self.served(elapsed, requests) | self.overdue(elapsed)
        return may | self.counted(requests) if self.pace == "proof" else may


@dataclass(frozen=True, slots=True)
class Course:
    """One entry per rollout: the step as a code, whether every gate has passed, and whether the deadline stopped it."""

    step: Codes
    proved: Flags
    overdue: Flags


def what_next(
    status: Codes, harmless: Flags, rules: Rules, elapsed: NDArray[np.float64], requests: NDArray[np.float64]
) -> Course:
    """Stop on any fail; go on once the stage is served and nothing speaks against it; else wait, until the deadline.

    ``status`` and ``harmless`` of the gates that have a say, shape (gates, batch); ``elapsed`` and ``requests``
    (batch,).
    """
    failed, proved = (status == FAIL).any(axis=0), (status == PASS).all(axis=0)
    unharmed = ((status == PASS) | ((status == UNDECIDED) & harmless)).all(axis=0)
    served = rules.served(elapsed, requests)
    advance = proved & served
    if rules.pace == "proof" and len(status):
        advance |= proved & rules.counted(requests)
    if rules.when_undecided == "advance":
        advance |= served & unharmed
    late = ~failed & ~advance & rules.overdue(elapsed)
    step = np.where(failed | late, STOP, np.where(advance, ADVANCE, WAIT)).astype(np.int8)
    return Course(step, proved, late)
