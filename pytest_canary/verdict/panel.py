"""Keeps the evidence of every gate over a batch of rollouts, all at the same stage; a live run is a batch of one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.gates.finding import Finding
from pytest_canary.gates.values import Action, Gate
from pytest_canary.gates.watch import Watch
from pytest_canary.gates.window import Window
from pytest_canary.ports import Role
from pytest_canary.stats.rows import column, successive
from pytest_canary.verdict.course import STOP, WAIT, Course, Rules, what_next
from pytest_canary.verdict.feed import caught_up, copied, feed, sides
from pytest_canary.verdict.frame import Array, Flags, Frame, Index, Layout
from pytest_canary.verdict.guards import ControlGuard, SplitGuard
from pytest_canary.verdict.noise import noisy, told
from pytest_canary.verdict.readings import latency_of, missing_labels, side_of, side_or_nothing, uncounted
from pytest_canary.verdict.tally import StageTally

Poll = tuple[Frame, Flags | None]
"""What was counted, and in which rollouts there was such a poll (None: in all)."""


class Panel:
    """The gates of ``batch`` rollouts of one plan; ``stages`` is how many it has.

    Counters go in as frames; a role that is missing, or whose counters went back, adds nothing for that time.
    """

    def __init__(self, gates: Sequence[Gate], stages: int, batch: int = 1) -> None:
        self._stages, self.batch = stages, batch
        self.watches = [Watch(gate, stages, batch) for gate in gates]
        self.captured = Frame(np.zeros(batch), Layout((), (), ()), np.zeros((batch, 0)))
        self._normal: Sequence[Poll] = ()
        self._frozen = self.captured
        self._split: SplitGuard | None = None
        self._verified = np.zeros(batch, dtype=bool)
        self._control: ControlGuard | None = None
        self.stage: StageTally | None = None

    def keep(self, rows: Index) -> None:
        """Go on with these rollouts only: the others have ended."""
        for part in (*self.watches, self.stage, self._split, self._control):
            if part is not None:
                part.keep(rows)
        self.captured, self._frozen = self.captured.keep(rows), self._frozen.keep(rows)
        self._verified = self._verified[rows]
        self._normal, self.batch = (), rows.size

    def apart(self, rows: Index) -> Panel:
        """A panel of these rollouts alone; this one goes on as it is."""
        begun_anew = [self._normal, *([self.stage.polls] if self.stage else [])]
        other = copied(self, [watch.gate for watch in self.watches], *begun_anew)
        other.keep(rows)
        return other

    # -- what is normal --------------------------------------------------------------------------------------------

    @staticmethod
    def kinds(gates: Sequence[Gate], stages: int, baseline: Frame) -> list[Hashable]:
        """What must be equal of rollouts that one panel judges, seen from their baselines."""
        watches = [Watch(gate, stages) for gate in gates]
        sides = [side_or_nothing(watch.gate, baseline) for watch in watches]
        return [
            tuple(watch.kind(side.row(row)) for watch, side in zip(watches, sides, strict=True))
            for row in range(baseline.batch)
        ]

    def capture(self, baseline: Frame, polls: Sequence[Poll] = ()) -> list[str]:
        """Learn what is normal from the counts of a window before the ramp; of each rollout, what cannot be judged.

        ``polls`` are the same counts poll by poll: whether events come in bursts shows there.
        """
        self.captured = self._frozen = baseline
        self._normal = [(sound, where) for poll, where in polls if (sound := poll.sound()) is not None]
        found = [self._capture(watch) for watch in self.watches]
        return [next((one for one in each if one), "") for each in zip(*found, strict=True)] or [""] * self.batch

    def _capture(self, watch: Watch) -> list[str]:
        gate = watch.gate
        wrong = unresolved(watch, self.captured)
        polls = [(side, where) for poll, where in self._normal if (side := side_of(gate, poll)) is not None]
        if gate.noise:
            captured = side_or_nothing(gate, self.captured)
            for row, already in enumerate(wrong):
                readings = [side.row(row) for side, where in polls if where is None or where[row]]
                wrong[row] = already or unjudged(gate, noisy(gate, captured.row(row), readings))
        latency = latency_of(self.captured)
        watch.patience([latency.row(row) for row in range(self.batch)])
        if not all(wrong):
            for side, where in polls:
                watch.normal(side, where)
        return wrong

    def notes(self) -> list[str]:
        """How gates are judged where that is not just as they were written, in the first rollout."""
        gates = [watch.gate for watch in self.watches]
        normal = [poll for poll, _ in self._normal]
        return [note for watch in self.watches for note in watch.notes()] + told(gates, self.captured, normal)

    # -- counted ---------------------------------------------------------------------------------------------------

    def start_stage(
        self, index: int, at: ArrayLike, share: float, compared: bool, hold_seconds: float, min_requests: int,
        frames: Mapping[Role, Frame], label: str = "", allowance: float = 1.0, young_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """Begin the stage ``index``: its traffic was set at ``at``, ``frames`` are the counters from which it counts.

        ``compared`` says whether the baseline serves beside the canary; ``label`` stands in sentences, the share by
        default, after whose it is where that is not the canary's; ``allowance`` is how many times what a gate allows
        proof must exclude at this stage.
        For ``young_seconds`` after ``at`` gates compare with the control alone, where there is one.
        """
        before, began = self.stage, column(at, self.batch)
        if before is not None and before.compared and (normal := before.normal) is not None:
            seen = normal.counter("requests") > 0
            if seen.all():
                self._frozen = normal
            elif seen.any():
                self._frozen = normal.only(seen) + self._frozen.only(~seen)
        label = label or f"{share * 100:g}%"
        self.stage = StageTally(index, began, share, compared, hold_seconds, min_requests, label, frames, allowance)
        self.stage.young_until = began + young_seconds
        self._split, self._verified = None, np.zeros(self.batch, dtype=bool)
        for watch in self.watches:
            self._enter(watch, self.stage)

    def _enter(self, watch: Watch, stage: StageTally) -> None:
        frozen, captured = (side_or_nothing(watch.gate, frame) for frame in (self._frozen, self.captured))
        watch.start_stage(
            Window(
                stage.index, stage.at, stage.share, stage.compared or watch.gate.metric.probed,
                stage.hold_seconds, stage.min_requests, frozen=frozen, captured=captured, allowance=stage.allowance,
            )
        )  # fmt: skip

    def add(self, gate: Gate) -> str:
        """Take in a gate that appears at this stage of a live run; what the stage has counted so far counts for it.

        Returns why it cannot be judged, and then it is not.
        """
        stage = self.stage
        watch = Watch(gate, self._stages - (stage.index if stage else 0), self.batch)
        if wrong := self._capture(watch)[0]:
            return wrong
        if stage is not None:
            self._enter(watch, stage)
            watch = caught_up(watch, stage)
        self.watches.append(watch)
        return ""

    def observe(self, frames: Mapping[Role, Frame], at: ArrayLike, where: Flags | None = None) -> None:
        """Take in one poll, in all rollouts or ``where`` there was one; before the first stage it is passed over."""
        if self.stage is None:
            return
        seen_at = column(at, self.batch)
        since, increments = self.stage.observe(frames, seen_at, where)
        reference = self.stage.compared_with(increments, seen_at)
        for watch in self.watches:
            feed(watch, reference, increments, since, self.stage.seen_at, where)
        if self._split is not None:
            here = self._verified if where is None else self._verified & where
            self._split.observe(increments, since, self.stage.spans, None if here.all() else here)
        if Role.CONTROL in increments:
            self._control = self._control or ControlGuard(self.captured)
            self._control.observe(increments, where)

    # -- ahead -----------------------------------------------------------------------------------------------------

    @property
    def follows(self) -> bool:
        """Whether the next polls may be judged many at once: a panel of one, in which nothing waits for anything."""
        stage = self.stage
        if stage is None or self._split is None or self.batch != 1 or not self._verified.all():
            return False
        since = float(stage.seen_at[0])
        return self._split.follows(since) and all(watch.follows(since) for watch in self.watches)

    def ahead(self, frames: Mapping[Role, Frame], at: Array) -> tuple[Panel, int]:
        """What a panel of one would be after each of the polls in the rows of ``frames``, read at the times ``at``.

        Its first so many rows are just what they would be if one poll came after the other; the rest are not known.
        """
        other, stage = self.apart(np.zeros(at.size, dtype=np.intp)), self.stage
        assert stage is not None
        assert self._split is not None
        with successive(at.size):
            other.observe(frames, at)
            since, seen_at, increments = other.told
            reference = stage.compared_with(increments, seen_at)
        sure = [self._split.followed(increments, since)]
        sure += [watch.followed(*sides(watch, reference, increments), since) for watch in self.watches]
        return other, min(sure)

    @property
    def told(self) -> tuple[Array, Array, Mapping[Role, Frame]]:
        """From when to when the last poll of this stage counted what."""
        assert self.stage is not None
        return self.stage.polls.last

    def after(self, ahead: Panel, polls: int) -> Panel:
        """The panel that :meth:`ahead` has found for the time after so many polls."""
        assert self.stage is not None
        assert ahead.stage is not None
        since, at, increments = ahead.told
        rows = np.arange(polls)
        self.stage.polls.add(since[rows], at[rows], {role: one.keep(rows) for role, one in increments.items()})
        ahead.keep(rows[-1:])
        ahead._normal, ahead.stage.polls = self._normal, self.stage.polls
        return ahead

    def split_seen(self, where: Flags | None = None) -> None:
        """The split of this stage has been verified, everywhere or ``where``; from here on it is watched."""
        self._verified = self._verified | (True if where is None else where)
        if self.stage is not None and self._split is None:
            self._split = SplitGuard(self.stage.share, self.stage.at, self.captured)

    def forget_polls(self) -> None:
        """Let go of the polls from before the ramp; no gate is added any more."""
        self._normal = ()

    # -- found -----------------------------------------------------------------------------------------------------

    @property
    def worthless(self) -> Flags:
        """Where something makes any comparison worthless."""
        broken = [guard.broken for guard in (self._split, self._control) if guard is not None]
        return np.logical_or.reduce(broken) if broken else np.zeros(self.batch, dtype=bool)

    def wrong_of(self, row: int) -> str:
        """What that is in one rollout, in one line."""
        guards = (guard for guard in (self._split, self._control) if guard is not None)
        return next((wrong for guard in guards if (wrong := guard.wrong_of(row))), "")

    @property
    def asked(self) -> list[Watch]:
        """The gates that are asked at this stage."""
        return [watch for watch in self.watches if self.stage is not None and watch.gate.gates(self.stage.index)]

    @property
    def required(self) -> list[Watch]:
        """Those of them that have a say."""
        return [watch for watch in self.asked if watch.gate.action is not Action.ALERT]

    def _served(self, stage: StageTally) -> Flags:
        return (stage.elapsed >= stage.hold_seconds) & (np.floor(stage.requests) >= stage.min_requests)

    def failing(self) -> Flags:
        """Which gates fail now, a row for each of :attr:`required`; asks closely only where one may."""
        stage, required = self.stage, self.required
        if stage is None or not required:
            return np.zeros((0, self.batch), dtype=bool)
        served, elapsed = self._served(stage), stage.elapsed
        return np.stack([watch.failing(served, elapsed) for watch in required])

    def next_step(self, rules: Rules, elapsed: Array, where: Flags | None = None) -> Course:
        """What to do now, ``elapsed`` seconds after the split was verified; every gate is asked only where it matters.

        Elsewhere than ``where`` it is to wait.
        """
        stage, required = self.stage, self.required
        assert stage is not None
        requests, failed = np.floor(stage.requests), self.failing().any(axis=0)
        may_end = rules.open(elapsed, requests) & ~failed
        may_end = may_end if where is None else may_end & where
        step = np.where(failed, STOP, WAIT).astype(np.int8)
        nobody, shape = np.zeros(self.batch, dtype=bool), (len(required), self.batch)
        course = Course(step, nobody, nobody.copy(), np.zeros(shape, dtype=bool))
        rows = np.flatnonzero(may_end)
        if rows.size:
            served, since = self._served(stage), stage.elapsed
            looks = [watch.look(served, since, rows) for watch in required]
            shape = (len(required), rows.size)
            status = np.array([look.status[rows] for look in looks], dtype=np.int8).reshape(shape)
            harmless = np.array([look.harmless[rows] for look in looks], dtype=bool).reshape(shape)
            ended = what_next(status, harmless, rules, elapsed[rows], requests[rows])
            course.step[rows], course.proved[rows], course.overdue[rows] = ended.step, ended.proved, ended.overdue
            course.blamed[:, rows] = ended.blamed
        return course

    def findings(self, row: int = 0) -> list[tuple[Gate, Finding]]:
        """What every gate that gates at the current stage says of one rollout, in words."""
        stage = self.stage
        if stage is None:
            return []
        served, elapsed = self._served(stage), stage.elapsed
        return [(watch.gate, watch.finding(served, elapsed, row)) for watch in self.asked]


def unresolved(watch: Watch, baseline: Frame) -> list[str]:
    """Why the gate of ``watch`` cannot be judged against each baseline, in one line; empty where it can."""
    gate = watch.gate
    missing = uncounted(gate, baseline) or missing_labels(gate, baseline)
    found = [missing] * baseline.batch if missing else watch.capture(side_or_nothing(gate, baseline))
    way_out = f"; `{gate.name}: off` under `gates` leaves it out of `{gate.preset}`" if gate.preset else ""
    return [unjudged(gate, f"{wrong}{way_out}" if wrong else None) for wrong in found]


def unjudged(gate: Gate, wrong: str | None) -> str:
    """``wrong`` with the gate's name and place; empty where nothing is."""
    place = f"{gate.where}: " if gate.where else ""
    return f"{place}{gate.name} cannot be judged: {wrong}" if wrong else ""
