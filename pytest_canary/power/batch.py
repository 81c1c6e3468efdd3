"""A batch of rollouts from the baseline window to the last stage, decided by the code that decides a live run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Gate
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Role
from pytest_canary.power.ended import Ended, How
from pytest_canary.power.prelude import Prelude
from pytest_canary.power.tape import Tape
from pytest_canary.simulation.scene import Scene
from pytest_canary.steps.baseline import fits, longest
from pytest_canary.steps.deploy import PACE_SECONDS
from pytest_canary.steps.ramp import VERIFY_SECONDS, pace_of, split_seen, weights_of
from pytest_canary.verdict import share_alpha
from pytest_canary.verdict.course import ADVANCE, STOP, Rules
from pytest_canary.verdict.frame import Array, Flags, Frame, Index
from pytest_canary.verdict.panel import Panel, Poll

ALONE: Mapping[Role, float] = {Role.BASELINE: 1.0}
LEFT = 0.7
"""Once so few of a batch are left, those that have ended leave it ..."""
STRAGGLE, MANY = 0.05, 100
"""... and once so few of so many are still held at a stage, the others do not wait for them."""


def played_gates(plan: Plan) -> tuple[Gate, ...]:
    """The gates of ``plan`` with their parts of the budget, without those that only probes could feed."""
    return tuple(gate for gate in share_alpha(plan.gates) if not gate.metric.probed)


def play(plan: Plan, scene: Scene, seeds: Sequence[int], prelude: Prelude) -> Ended:
    """Roll out ``plan`` once with each of ``seeds``."""
    tape = Tape(scene, seeds, prelude, plan.control)
    gates, ended = played_gates(plan), Ended.none(len(seeds))
    captured, polls, why = _captured(plan, tape, scene.traffic.rate)
    good = np.flatnonzero([not text for text in why])
    kinds = Panel.kinds(gates, len(plan.stages), captured.keep(good))
    for kind in dict.fromkeys(kinds):
        rows = good[[own == kind for own in kinds]]
        panel = Panel(gates, len(plan.stages), rows.size)
        wrong = panel.capture(captured.keep(rows), [(poll.keep(rows), _of(where, rows)) for poll, where in polls])
        panel.forget_polls()
        fine = np.flatnonzero([not text for text in wrong])
        for row, text in zip(rows.tolist(), wrong, strict=True):
            why[row] = text
        if fine.size < rows.size:
            panel.keep(fine)
        if fine.size:
            first, began = tape.users(Role.CANARY).copy(), tape.now.copy()
            groups = [_Stages(plan, tape, panel, rows[fine], ended, first, began)]
            while groups:
                groups += groups.pop().walk()
    return Ended(ended.how, ended.gate, ended.stage, ended.exposed, ended.seconds, ended.looks, tuple(why))


def _of(where: Flags | None, rows: Index) -> Flags | None:
    return None if where is None or where[rows].all() else where[rows]


def _captured(plan: Plan, tape: Tape, rate: float) -> tuple[Frame, list[Poll], list[str]]:
    """What the stable build counts before the ramp, poll by poll, and why a rollout does not get further.

    As :func:`~pytest_canary.steps.baseline.capture` has it, in every rollout.
    """
    everybody = np.arange(tape.size)
    thin = (
        f"the stable build has fewer than {plan.baseline_requests} requests in {longest(plan.baseline_seconds):.0f} s: "
        f"at {rate:g} requests/s they take {plan.baseline_requests / rate:,.0f} s; lower `baseline.min_requests` or "
        "write a longer `baseline.window`"
    )
    waits = np.ones(tape.size, dtype=bool)
    tape.poll(ALONE, waits)
    first = last = tape.counted([Role.BASELINE], everybody)[Role.BASELINE]
    start, polls, why, counted = tape.now.copy(), list[Poll](), [""] * tape.size, first
    while waits.any():
        left = start + plan.baseline_seconds - tape.now
        tape.sleep(np.minimum(plan.poll_seconds, np.maximum(left, PACE_SECONDS)), waits)
        tape.poll(ALONE, waits)
        now = tape.counted([Role.BASELINE], everybody)[Role.BASELINE]
        step, so_far = now.since(last), now.since(first)
        assert step is not None
        assert so_far is not None
        counted = so_far
        polls.append((step, waits.copy()))
        last = now
        seconds, requests = tape.now - start, counted.of_users
        enough = (seconds >= plan.baseline_seconds) & (requests >= plan.baseline_requests)
        late = ~enough & (seconds >= longest(plan.baseline_seconds))
        for row in np.flatnonzero(waits & late).tolist():
            why[row] = thin
        waits &= ~(enough | late)
    for row in range(tape.size):
        try:
            fits(plan.stages, float(requests[row] / seconds[row]))
        except BaselineFailed as error:
            why[row] = why[row] or str(error)
    return counted, polls, why


class _Stages:
    """The rollouts ``rows`` of a tape, at one stage after the other, from the one with the index ``at`` on."""

    def __init__(
        self, plan: Plan, tape: Tape, panel: Panel, rows: Index, ended: Ended, first: Array, began: Array, at: int = 0
    ) -> None:
        self._plan, self._tape, self._panel, self._ended = plan, tape, panel, ended
        self._ids = rows
        """Which rollout each row of the panel is."""
        self._roles = [Role.BASELINE, *([Role.CONTROL] if plan.control else []), Role.CANARY]
        self._first, self._began, self._at = first, began, at
        """What canaries had answered, and when that was, before their first share."""
        self._ahead: list[_Stages] = []
        self._places = {gate.name: index for index, gate in enumerate(plan.gates)}

    def walk(self) -> list[_Stages]:
        """Through all stages, until every rollout has ended or gone ahead of the others; returns those that have."""
        for stage in self._plan.stages[self._at :]:
            advanced = self._stage(stage)
            if not advanced.size:
                return self._ahead
            self._panel.keep(advanced)
            self._ids = self._ids[advanced]
        self._end(np.arange(self._ids.size), How.PROMOTED, len(self._plan.stages) - 1)
        return self._ahead

    def go_ahead(self, rows: Index, stage: Stage) -> None:
        """These rows of the panel do not wait for those that are still held at ``stage``."""
        panel = self._panel.apart(rows)
        shared = (self._ended, self._first, self._began)
        self._ahead.append(_Stages(self._plan, self._tape, panel, self._ids[rows], *shared, stage.index + 1))

    def _stage(self, stage: Stage) -> Index:
        """Give the canary the share of ``stage`` and hold; the rows of the panel that go on."""
        plan, tape, weights = self._plan, self._tape, weights_of(self._plan, stage)
        self._panel.start_stage(
            stage.index, tape.now[self._ids], weights[Role.CANARY],
            any(share > 0 for role, share in weights.items() if role is not Role.CANARY), stage.hold_seconds,
            stage.min_requests, tape.counted(list(weights), self._ids), str(stage), stage.allowance,
            plan.young_seconds if weights.get(Role.CONTROL) else 0.0,
        )  # fmt: skip
        hold = _Hold(self, stage, weights)
        while hold.goes_on.any():
            hold.step()
        return np.flatnonzero(hold.advanced)

    def _end(self, rows: Index, how: How, stage: int, gates: Flags | None = None) -> None:
        """Note how these rows of the panel ended; ``gates`` are those that failed, a row for each."""
        ids, ended = self._ids[rows], self._ended
        ended.how[ids], ended.stage[ids] = how, stage
        ended.exposed[ids] = (self._tape.users(Role.CANARY) - self._first)[ids]
        ended.seconds[ids] = (self._tape.now - self._began)[ids]
        if gates is not None and len(gates):
            places = np.array([self._places[watch.gate.name] for watch in self._panel.required])
            ended.gate[ids] = np.where(gates.any(axis=0), places[gates.argmax(axis=0)], -1)[rows]


class _Hold:
    """One stage: the split is given time to be seen, then every row holds until there is a decision."""

    def __init__(self, stages: _Stages, stage: Stage, weights: Mapping[Role, float]) -> None:
        self._all, self._stage, self._weights = stages, stage, weights
        plan = stages._plan
        self._rules = Rules(
            stage.hold_seconds, stage.min_requests, stage.deadline_seconds, plan.pace, plan.when_undecided
        )
        size = stages._ids.size
        self._pace, self._poll = pace_of(plan), plan.poll_seconds
        self._began = stages._tape.now[stages._ids].copy()
        self._before = {role: stages._tape.users(role)[stages._ids] for role in weights}
        self._held = np.full(size, np.nan)
        """When the split was seen; NaN before."""
        self.goes_on = np.ones(size, dtype=bool)
        self.advanced = np.zeros(size, dtype=bool)

    @property
    def _waits(self) -> Flags:
        """Whether the split has not been seen yet."""
        return np.asarray(np.isnan(self._held))

    def step(self) -> None:
        """One look at every row that goes on; those that look for the split look more often."""
        self._leave()
        tape, ids = self._all._tape, self._all._ids
        here = np.zeros(tape.size, dtype=bool)
        here[ids[self.goes_on]] = True
        seconds = np.zeros(tape.size)
        seconds[ids] = np.where(self._waits, self._pace, self._poll)
        tape.sleep(seconds, here)
        tape.poll(self._weights, here)
        self._look(self.goes_on.copy())
        seen = self._verify()
        if seen.any():
            self._all._panel.split_seen(seen)
            self._look(seen)
        self._decide(self.goes_on & ~self._waits)

    def _look(self, where: Flags) -> None:
        """Poll once, and cut where a gate fails or the comparison is worth nothing."""
        panel, tape, ids = self._all._panel, self._all._tape, self._all._ids
        panel.observe(tape.counted(self._all._roles, ids), tape.now[ids], None if where.all() else where)
        self._all._ended.looks[ids[where]] += 1
        failing = panel.failing()
        failed = failing.any(axis=0) & where
        wrong = panel.worthless & where & ~failed
        self._stop(failed, How.GATE, failing)
        self._stop(wrong, How.SPLIT)

    def _stop(self, where: Flags, how: How, gates: Flags | None = None) -> None:
        if where.any():
            self._all._end(np.flatnonzero(where), how, self._stage.index, gates)
            self.goes_on = self.goes_on & ~where

    def _verify(self) -> Flags:
        """Where the split has just been seen; a split that is never seen ends the rollout."""
        seen, lost = (np.zeros(self.goes_on.size, dtype=bool) for _ in range(2))
        tape, ids = self._all._tape, self._all._ids
        for row in np.flatnonzero(self.goes_on & self._waits):
            counted = {role: tape.users(role)[ids[row]] - before[row] for role, before in self._before.items()}
            late = bool(tape.now[ids[row]] - self._began[row] >= VERIFY_SECONDS)
            told = split_seen(counted[Role.CANARY], sum(counted.values()), self._weights[Role.CANARY], out_of_time=late)
            seen[row], lost[row] = told is True, told is False
        self._stop(lost, How.SPLIT)
        self._held = np.where(seen, tape.now[ids], self._held)
        return seen

    def _decide(self, where: Flags) -> None:
        if not where.any():
            return
        elapsed = np.where(self._waits, 0.0, self._all._tape.now[self._all._ids] - np.nan_to_num(self._held))
        course = self._all._panel.next_step(self._rules, elapsed, where)
        stop = (course.step == STOP) & where
        self._stop(stop & ~course.overdue, How.GATE, self._all._panel.failing() if stop.any() else None)
        self._stop(stop & course.overdue, How.DEADLINE, course.blamed)
        advanced = (course.step == ADVANCE) & where
        self.advanced, self.goes_on = self.advanced | advanced, self.goes_on & ~advanced

    def _leave(self) -> None:
        """Let those go that have ended, once they are many; and those that go on, once hardly any other is left."""
        if self.goes_on.sum() <= STRAGGLE * self.goes_on.size and self.goes_on.size >= MANY and self.goes_on.any():
            self._go_ahead()
            self._keep(np.flatnonzero(self.goes_on))
        elif (self.goes_on | self.advanced).sum() <= LEFT * self.goes_on.size and self.goes_on.any():
            self._keep(np.flatnonzero(self.goes_on | self.advanced))

    def _go_ahead(self) -> None:
        rows = np.flatnonzero(self.advanced)
        if rows.size and self._stage.index + 1 < len(self._all._plan.stages):
            self._all.go_ahead(rows, self._stage)
        elif rows.size:
            self._all._end(rows, How.PROMOTED, self._stage.index)

    def _keep(self, rows: Index) -> None:
        self._all._panel.keep(rows)
        self._all._ids = self._all._ids[rows]
        self._before = {role: before[rows] for role, before in self._before.items()}
        self._began, self._held = self._began[rows], self._held[rows]
        self.goes_on, self.advanced = self.goes_on[rows], self.advanced[rows]
