"""Runs a rollout over a recording: the state machine, the gates and the decisions of a real one, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_canary.errors import CanaryError, RecordingEnds, UsageError
from pytest_canary.gates import Gate
from pytest_canary.outcome import End, Row
from pytest_canary.plan import Plan, Stage
from pytest_canary.replay.known import names_of, normal_of, parted
from pytest_canary.replay.marked import Marked, marked
from pytest_canary.replay.plan import replanned
from pytest_canary.replay.played import Now, Played
from pytest_canary.replay.tape import Tape
from pytest_canary.replay.world import Forgetful, Unwritten, world_of
from pytest_canary.rollout import Rollout
from pytest_canary.verdict import Decision, Judge, Status, Step, share_alpha

PASSED = "every gate passed at every stage"

Tests = Callable[[Stage | None, Decision | None, float], str]
"""Runs what else there is to ask at a stage that has been held (None: after the baseline window), given the decision
and when the stage began on the run's clock; returns why the rollout must not go on, empty when it may."""


def no_tests(stage: Stage | None, decision: Decision | None, began: float) -> str:
    """Ask nothing else."""
    del stage, decision, began
    return ""


class Player:
    """One recording, and the rollout that lives through it."""

    def __init__(self, recording: Marked, plan: Plan, notes: Sequence[str] = ()) -> None:
        try:
            made = replanned(plan, recording.header)
        except ValueError as error:
            raise UsageError(
                f"{recording.path}:1: found {error}, in the plan of the header; docs/recordings.md has it"
            ) from error
        gates, uncounted = _answered(recording, share_alpha(made.plan.gates))
        self.path, self.plan = recording.path, replace(made.plan, gates=gates)
        self._notes = [*notes, *made.notes, *uncounted]
        self._waiting = ""
        """The first stage that the recording leaves before today's gates have decided on it, and why they had not."""
        self.tape = Tape(recording.header, recording.lines())
        self.tape.begin()
        world, judge = world_of(self.tape, plan.service), Judge(gates, len(self.plan.stages))
        self.rollout = Rollout(self.plan, world, Forgetful(), Unwritten(), judge, self, self.path.stem)
        traffic = self.rollout.traffic
        self.tape.look, self.tape.over = traffic.look, lambda: traffic.cut_made is not None

    def note(self, text: str) -> None:
        """Remember what could not be replayed."""
        if text not in self._notes:
            self._notes.append(text)

    def play(self, tests: Tests = no_tests) -> Played:
        """Live through all of it.

        Raises:
            UsageError: a line of the file is broken.

        """
        stopped, ends = "", None
        try:
            self._up()
            stopped = tests(None, None, self.tape.now()) or self._ramp(tests)
        except UsageError:
            raise
        except RecordingEnds as error:
            ends = error
        except CanaryError as error:
            stopped = str(error)
        return self._ended(stopped, ends)

    def _up(self) -> None:
        rollout = self.rollout
        rollout.open(again=True)
        for step in (rollout.deploy, rollout.smoke, rollout.warm, rollout.baseline):
            step()

    def _ramp(self, tests: Tests) -> str:
        traffic = self.rollout.traffic
        for stage in self.plan.stages:
            began = self.tape.now()
            try:
                decision = self.rollout.ramp(stage)
            except RecordingEnds as error:
                if not error.goes_on:
                    raise
                self._waiting = self._waiting or f"{stage}: {self._undecided(error)}"
                self.tape.ended = None
                continue
            if decision.step is Step.STOP:
                return decision.why
            if failed := tests(stage, decision, began):
                traffic.cut(failed)
                return failed
        self.tape.to_the_end()
        return traffic.cut_made.why if traffic.cut_made else ""

    def _ended(self, stopped: str, ends: RecordingEnds | None) -> Played:
        tape, traffic, then = self.tape, self.rollout.traffic, self.tape.then
        looks, at = tape.looks, tape.now()
        tape.over = lambda: True  # what is left on the tape is not lived through
        made = traffic.cut_made
        waiting, stage = self._waiting, str(traffic.stage or "")
        decided = made is not None or bool(stopped) or (ends is None and not waiting)
        verdicts = tuple(traffic.verdicts)
        blamed = tuple(v.gate for v in verdicts if v.status is Status.FAIL and not v.alert)
        if not decided:
            stage, why = waiting.split(": ", 1) if waiting else (stage, self._undecided(ends))
            now, waiting = Now.NOT_DECIDED, ""
        elif made is None and not stopped:
            now, why = Now(self.rollout.promote(PASSED).end), PASSED
        else:
            outcome = self.rollout.roll_back(stopped)
            now = Now.NOT_STARTED if outcome.end is End.NOT_STARTED else Now.ROLLED_BACK
            why = outcome.why
        tape.unwind()
        odd = tape.oddities.told()
        both = made is not None and then.cut_at is not None
        return Played(
            path=self.path,
            then=then,
            now=now,
            why=why,
            stage=stage,
            looks=looks,
            seconds=(then.cut_at or 0.0) - at if both else None,
            verdicts=verdicts,
            blamed=blamed,
            cut_by_others=ends is not None and ends.cut,
            notes=(*([f"today's gates had not decided on {waiting}"] if waiting else []), *self._notes, *odd),
        )

    def _undecided(self, ends: RecordingEnds | None) -> str:
        findings = [found for found in self.rollout.traffic.findings() if not found.alert]
        doubted = [v.gate for v in findings if v.status is not Status.PASS and not v.harmless]
        blind = [v.gate for v in findings if v.status is Status.NO_DATA]
        said = "nothing had spoken against the canary until then"
        if doubted or blind:
            said = "; ".join(
                f"{', '.join(gates)} {how}" for gates, how in ((doubted, "in doubt"), (blind, "without data")) if gates
            )
        return f"{ends}; {said}"

    # -- Listener ----------------------------------------------------------------------------------------------

    def tick(self, text: str) -> None:
        """Nobody waits."""

    def row(self, row: Row) -> None:
        """What a step says is not told: only the end is."""

    def said(self, text: str) -> None:
        """The same."""


def play(path: Path, plan: Plan, tests: Tests = no_tests) -> Played:
    """Replay the recording ``path`` with the gates of ``plan``.

    Raises:
        UsageError: the file is no recording, or a line of it is broken.

    """
    return Player(marked(path), plan).play(tests)


def _answered(recording: Marked, gates: Sequence[Gate]) -> tuple[tuple[Gate, ...], list[str]]:
    """The gates that the recording can answer, with the share of alpha that each has among all of today's."""
    normal = normal_of(recording.lines())
    if normal is None:
        return tuple(gates), []
    answered, others = parted(gates, normal)
    if gates and not answered:
        raise UsageError(
            f"{recording.path}: found counts of {names_of(normal)}, expected what one of the gates "
            f"{', '.join(others)} asks for; see docs/recordings.md for the names that gates know"
        )
    return answered, [f"not counted then, so not asked now: {', '.join(others)}"] if others else []
