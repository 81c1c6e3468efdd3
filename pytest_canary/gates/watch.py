"""One gate over a whole rollout: keeps its evidence, and says at any poll what it finds.

For a batch of rollouts at once, all at the same stage; a live run is a batch of one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.gates import sentences as say
from pytest_canary.gates.absolute import Absolute
from pytest_canary.gates.absolute_mean import AbsoluteMean
from pytest_canary.gates.finding import Finding, combined
from pytest_canary.gates.look import NO_DATA, PASS, UNDECIDED, Look, combined_look
from pytest_canary.gates.means import FREQUENT, RelativeMean
from pytest_canary.gates.measured import broken_already, coarse, loose, unkept
from pytest_canary.gates.rates import RelativeRate
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.recent import Recent
from pytest_canary.gates.sane import hopeless, may_be_unlike, no_part, no_share, unlike
from pytest_canary.gates.shape import Shape
from pytest_canary.gates.side import Side
from pytest_canary.gates.singly import Singly
from pytest_canary.gates.tails import RelativeTail
from pytest_canary.gates.threshold import Threshold
from pytest_canary.gates.values import INFLIGHT, Decide, Gate, Kind, Limits, Status
from pytest_canary.gates.window import Window
from pytest_canary.stats.grid import Array
from pytest_canary.stats.rows import Flags, Index, column


class Rule(Protocol):
    """What judges one limit (or, by the plain rule, all limits) of a gate, in all rollouts of a batch."""

    def keep(self, rows: Index) -> None:
        """Go on with these rollouts only."""

    def capture(self, baseline: Side) -> list[str | None]:
        """Learn what is normal before the ramp; says of each rollout what is wrong when it cannot be judged so."""

    def normal(self, baseline: Side, where: Flags | None, /) -> None:
        """Add one poll of the baseline from before the ramp, after ``capture``."""

    def start_stage(self, window: Window, limits: Limits, /) -> None:
        """Begin a stage with the limits that hold there."""

    def alone(self, canary: Side, where: Flags | None, /) -> None:
        """Add one poll of the canary, ``where`` there was one (None: everywhere); elsewhere it holds nothing."""

    def compare(self, canary: Side, baseline: Side, at: Array, where: Flags | None, /) -> None:
        """Add what both sides counted since the last comparison, which ended at ``at`` seconds; the same of where."""

    def failing(self, canary: Side, baseline: Side, served: Flags, /) -> Flags:
        """Whether it fails now; asks closely only where it may.  ``served``: hold and minimum requests are."""

    def look(self, canary: Side, baseline: Side, served: Flags, rows: Index, /) -> Look:
        """What this stage's counts and the evidence so far say, in ``rows``; elsewhere it may say anything."""

    def finding(self, row: int, look: Look, canary: Reading, baseline: Reading, /) -> Finding:
        """What the last ``look`` says of one rollout, in words."""


def slowest(latency: Reading) -> float:
    """Seconds that hardly any request takes longer than: the p99, or the last bucket boundary."""
    return latency.quantile(0.99) or (latency.bounds[-1] if latency.bounds else 0.0)


class Watch:
    """The rules of one gate, and what both sides have counted for it at this stage."""

    def __init__(self, gate: Gate, stages: int, batch: int = 1) -> None:
        self.gate, self._stages, self._batch = gate, stages, batch
        self._rules = _rules(gate, stages, batch)
        self._inflight = np.zeros(batch)
        """Seconds; NaN where nobody knows."""
        self._nothing = Side.nothing(batch)
        self._window = Window(0, np.zeros(batch), 0.0, True, 0.0, 0)
        self._canary = self._baseline = self._captured = self._nothing
        self._waiting: tuple[Side, Side] = (self._nothing, self._nothing)
        self._settled = np.zeros(batch, dtype=bool)
        self._ready_at = np.zeros(batch)
        """When what is counted belongs to the stage."""

    def keep(self, rows: Index) -> None:
        """Go on with these rollouts only."""
        self._batch, self._nothing = rows.size, Side.nothing(rows.size)
        for rule in self._rules.values():
            rule.keep(rows)
        self._inflight, self._settled = self._inflight[rows], self._settled[rows]
        self._ready_at = self._ready_at[rows]
        self._canary, self._baseline = self._canary.keep(rows), self._baseline.keep(rows)
        self._captured = self._captured.keep(rows)
        self._waiting = (self._waiting[0].keep(rows), self._waiting[1].keep(rows))
        frozen, captured = self._window.frozen, self._window.captured
        began = frozen.batch == self._window.at.size
        self._window = replace(
            self._window,
            at=self._window.at[rows],
            frozen=frozen.keep(rows) if began else frozen,
            captured=captured.keep(rows) if began else captured,
        )

    # -- what is normal --------------------------------------------------------------------------------------------

    def kind(self, baseline: Reading) -> Hashable:
        """What is alike in all rollouts that one watch can judge together, seen from their baselines."""
        rate, gauged = self.gate.metric.kind is Kind.RATE, self.gate.metric.kind is Kind.MEAN and baseline.gauged
        frequent = rate and (baseline.rate or 0.0) > FREQUENT
        tails = [one.shape(baseline) for one in self._rules.values() if isinstance(one, RelativeTail)]
        return (frequent, gauged, bool(baseline.bounds), *tails)

    def capture(self, baseline: Side) -> list[str | None]:
        """Learn what is normal before the ramp; says of each rollout what is wrong when it cannot be judged so.

        All must be of one :meth:`kind`.
        """
        rows = [baseline.row(row) for row in range(self._batch)]
        if self.gate.metric.kind is Kind.QUANTILE and self.gate.metric.unit == "seconds":
            self._inflight = np.array([INFLIGHT * slowest(one) if one.requests else 0.0 for one in rows])
        self._captured = baseline
        if self.gate.metric.kind is Kind.MEAN and baseline.gauged:
            self.gate = replace(self.gate, metric=replace(self.gate.metric, kind=Kind.GAUGE))
            self._rules = _rules(self.gate, self._stages, self._batch)
        if self.gate.metric.kind is Kind.RATE and (rows[0].rate or 0.0) > FREQUENT:
            self._rules = _rules(self.gate, self._stages, self._batch, frequent=True)
        found = [rule.capture(baseline) for rule in self._rules.values()]
        wrong = [next((one for one in each if one), None) for each in zip(*found, strict=True)] or [None] * self._batch
        return [self._unjudged(one) or why for one, why in zip(rows, wrong, strict=True)]

    def _unjudged(self, baseline: Reading) -> str | None:
        return no_part(self.gate, baseline) or no_share(self.gate, baseline) or unkept(self.gate, baseline)

    def patience(self, latencies: Sequence[Reading]) -> None:
        """Take from ``latencies`` how long requests may be under way; an empty one tells nothing.

        Where a sum grows while a request is answered and their number when it ends, a build that has just got
        requests seems to have too much of the sum.
        """
        if self.gate.metric.kind is Kind.MEAN and self.gate.metric.events and not self._captured.bounds:
            self._inflight = np.array([INFLIGHT * slowest(one) if one.requests else np.nan for one in latencies])

    def normal(self, baseline: Side, where: Flags | None = None) -> None:
        """Add one poll of the baseline from before the ramp: how its events come shows whether they come in bursts."""
        for rule in self._rules.values():
            rule.normal(baseline, where)

    def notes(self) -> list[str]:
        """What a person should know about how this gate is judged, in the first rollout."""
        captured = self._captured.row(0)
        noted = [rule.note() for rule in self._rules.values() if isinstance(rule, RelativeTail)]
        noted += [note(self.gate, captured) for note in (coarse, loose, hopeless, broken_already)]
        return [note for note in noted if note]

    # -- counted ---------------------------------------------------------------------------------------------------

    def start_stage(self, window: Window) -> None:
        """Begin a stage; what was counted for the one before stays only as evidence."""
        self._window = window
        self._canary = self._baseline = self._nothing
        self._waiting = (self._nothing, self._nothing)
        self._settled = np.zeros(self._batch, dtype=bool)
        self._ready_at = window.at + self._settling
        for rule in self._rules.values():
            rule.start_stage(window, self.gate.limits_at(window.index))

    def observe(
        self, canary: Side | None, baseline: Side | None, since: ArrayLike, at: Array, where: Flags | None = None
    ) -> None:
        """Add what was counted from ``since`` to ``at``; None for a side that nobody could count.

        Slow requests that began before the weight moved finish late, so for latency nothing counts until they had
        time to; at most half the hold is given to that.  What comes late by nature (``lag``) waits for all of it.
        In all rollouts, or ``where`` there was a poll.
        """
        here = column(since, self._batch) >= self._ready_at
        here = here if where is None else here & where
        if not here.any():
            return
        self._settled = self._settled | here
        everywhere = None if here.all() else here
        mine, theirs = (self._nothing if side is None else side for side in (canary, baseline))
        if everywhere is not None:
            mine, theirs = mine.only(here), theirs.only(here)
        self._canary, self._baseline = self._canary + mine.onward(), self._baseline + theirs.onward()
        for rule in self._rules.values():
            rule.alone(mine, everywhere)
        if self._window.compared:
            self._waiting = (self._waiting[0] + mine, self._waiting[1] + theirs)
            self._compare(at, here)

    def _compare(self, at: Array, here: Flags) -> None:
        """Compare where both sides have counted something since the last time; the others wait."""
        both = here & (self._waiting[0].requests > 0) & (self._waiting[1].requests > 0)
        if not both.any():
            return
        sides, where, left = self._waiting, None, (self._nothing, self._nothing)
        if not both.all():
            sides, where = (sides[0].only(both), sides[1].only(both)), both
            left = (self._waiting[0].only(~both), self._waiting[1].only(~both))
        for rule in self._rules.values():
            rule.compare(*sides, at, where)
        self._waiting = left

    @property
    def _settling(self) -> Array:
        return np.maximum(self._under_way, self.gate.lag_seconds)

    @property
    def _under_way(self) -> Array:
        """How long requests from before the weight moved are waited for; unknown is as long as may be."""
        if self.gate.decide in (Decide.THRESHOLD, Decide.WINDOW):
            return np.zeros(self._batch)
        return np.fmin(self._inflight, self._window.hold_seconds / 2)

    def follows(self, since: float) -> bool:
        """Whether polls that begin at ``since`` may be added many at once: nothing waits for anything."""
        waits = any(not side.empty for side in self._waiting)
        known = all(isinstance(rule, _FOLLOW) for rule in self._rules.values())
        return known and not waits and bool((self._ready_at <= since).all())

    def followed(self, canary: Side | None, baseline: Side | None, since: Array) -> int:
        """How many successive polls, of what each has counted from ``since`` on, can be added all at once.

        Those in which whoever is compared has counted something: what waits for the other side waits poll by poll.
        """
        plain = since >= self._ready_at
        for side in (canary, baseline) if self._window.compared else (canary,):
            if side is None or side.replicas:  # replicas have windows of their own
                return 0
            plain = plain & (side.requests > 0)
        return int(np.argmin(plain)) if not plain.all() else plain.size

    # -- found -----------------------------------------------------------------------------------------------------

    def _late(self, elapsed: Array) -> Flags:
        """Whether what is counted late is still to come."""
        lag = self.gate.lag_seconds
        return (elapsed < self._window.hold_seconds + lag) & (lag > 0)

    @property
    def _here(self) -> list[Rule]:
        """The rules that have a limit at this stage."""
        limits = self.gate.limits_at(self._window.index)
        return [rule for kind, rule in self._rules.items() if kind == "" or getattr(limits, kind) is not None]

    def failing(self, served: Flags, elapsed: Array) -> Flags:
        """Whether the gate fails now, in each rollout."""
        served = served & ~self._late(elapsed)
        failed = np.zeros(self._batch, dtype=bool)
        for rule in self._here:
            failed = failed | rule.failing(self._canary, self._baseline, served)
        if failed.any() and (odd := self._odd(np.flatnonzero(failed))):
            failed = failed.copy()
            failed[list(odd)] = False
        return failed

    def blind(self) -> Flags:
        """Whether the canary has not counted anything at this stage that the gate could judge."""
        return self._canary.requests <= 0

    def look(self, served: Flags, elapsed: Array, rows: Index | None = None) -> Look:
        """What the gate finds now, over all limits it has at this stage, which began ``elapsed`` seconds ago.

        A gate that is counted late, or has seen too little, never passes by silence.
        """
        return self._looks(served, elapsed, np.arange(self._batch) if rows is None else rows)[0]

    def _looks(self, served: Flags, elapsed: Array, rows: Index) -> tuple[Look, list[Look]]:
        late = self._late(elapsed)
        each = [rule.look(self._canary, self._baseline, served & ~late, rows) for rule in self._here]
        found = combined_look(each, self._batch).copy()
        unsettled = (found.status == NO_DATA) & self._waits
        odd = self._odd(rows[(found.status[rows] != NO_DATA)])
        if odd:
            strange = np.zeros(self._batch, dtype=bool)
            strange[list(odd)] = True
            found.put(strange, NO_DATA)
            found.harmless &= ~strange
        decided = (found.status == PASS) | (found.status == UNDECIDED)
        few = (self._canary.requests < self.gate.least) & (self.gate.metric.kind is not Kind.GAUGE)
        open_ = (decided & (late | few)) | unsettled
        found.put(open_, UNDECIDED)
        found.harmless &= ~open_
        return found, each

    @property
    def _waits(self) -> Flags:
        return ~self._settled & (self._settling > 0)

    def _odd(self, rows: Index) -> dict[int, str]:
        """Why both sides cannot be in one unit, where that is so."""
        if not may_be_unlike(self.gate):
            return {}
        found = {row: unlike(self.gate, self._canary.row(row), self._baseline.row(row)) for row in rows.tolist()}
        return {row: why for row, why in found.items() if why}

    def finding(self, served: Flags, elapsed: Array, row: int = 0) -> Finding:
        """The same in words, of one rollout."""
        look, each = self._looks(served, elapsed, np.array([row]))
        canary, baseline = self._canary.row(row), self._baseline.row(row)
        found = combined([rule.finding(row, one, canary, baseline) for rule, one in zip(self._here, each, strict=True)])
        status, metric = look.status_of(row), self.gate.metric
        says = self._waiting_for(row) if found.status is Status.NO_DATA and self._waits[row] else found.says
        says = say.misses(metric) + says + say.parts(metric, canary, baseline)
        says += say.origin(self.gate.limits_at(self._window.index))
        if status is Status.NO_DATA:
            odd = self._odd(np.array([row])).get(row)
            says += f"; {odd}" if odd else ""
        elif status is not Status.FAIL:
            says += self._missing(canary, bool(self._late(elapsed)[row]))
        return replace(found, says=says, status=status, by=look.by_of(row), harmless=bool(look.harmless[row]))

    def _waiting_for(self, row: int) -> str:
        late = bool(self.gate.lag_seconds)
        why = "what is counted late" if late else "slow requests that began before the weight moved"
        return f"waits {say.seconds(float(self._settling[row]))} for {why}"

    def _missing(self, canary: Reading, late: bool) -> str:
        metric = self.gate.metric
        if late:
            return f"; {metric.of} of this hold come until {say.seconds(self.gate.lag_seconds)} after it"
        if canary.requests < self.gate.least and metric.kind is not Kind.GAUGE:
            return f"; needs {self.gate.least} {metric.of}, has {canary.requests:.0f}"
        return ""


_FOLLOW = (RelativeRate, RelativeMean, RelativeTail, Absolute, AbsoluteMean)
"""Rules that can take many polls at once."""


def _rules(gate: Gate, stages: int, batch: int, *, frequent: bool = False) -> dict[str, Rule]:
    """Kind of limit -> its rule; the limits of a gate share its alpha."""
    kinds = gate.kinds()
    plain = _plain(gate, stages, batch)
    if plain is not None:  # a shape has no plain rule
        numbers: dict[str, Rule] = {"": plain} if kinds != ("shift",) else {}
        return {**numbers, "shift": _shape(gate, gate.alpha, batch)} if "shift" in kinds else numbers
    return {kind: _rule(kind, gate, gate.alpha / len(kinds), stages, frequent, batch) for kind in kinds}


def _shape(gate: Gate, alpha: float, batch: int) -> Rule:
    return Singly([Shape(gate, alpha) for _ in range(batch)])


def _plain(gate: Gate, stages: int, batch: int) -> Rule | None:
    """The rule that judges all limits of a gate by plain numbers; None where evidence does."""
    if gate.decide is Decide.THRESHOLD or gate.metric.kind is Kind.GAUGE:
        return Threshold(gate, stages, batch)
    return Singly([Recent(gate) for _ in range(batch)]) if gate.decide is Decide.WINDOW else None


def _rule(kind: str, gate: Gate, alpha: float, stages: int, frequent: bool, batch: int) -> Rule:
    if kind == "shift":
        return _shape(gate, alpha, batch)
    mean = gate.metric.kind is Kind.MEAN
    if kind in ("max", "min"):
        return AbsoluteMean(kind, gate, alpha, batch) if mean else Absolute(kind, gate, alpha, batch)
    if mean or frequent:
        return RelativeMean(kind, gate, alpha, stages, batch)
    if gate.metric.kind is Kind.RATE:
        return RelativeRate(kind, gate, alpha, stages, batch)
    return RelativeTail(kind, gate, alpha, stages, batch)
