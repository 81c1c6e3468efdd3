"""One gate over a whole rollout: keeps its evidence, and says at any poll what it finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from pytest_canary.gates import sentences as say
from pytest_canary.gates.absolute import Absolute
from pytest_canary.gates.absolute_mean import AbsoluteMean
from pytest_canary.gates.finding import Finding, combined
from pytest_canary.gates.means import FREQUENT, RelativeMean
from pytest_canary.gates.measured import broken_already, coarse, loose, unkept
from pytest_canary.gates.rates import RelativeRate
from pytest_canary.gates.reading import Reading, Window
from pytest_canary.gates.recent import Recent
from pytest_canary.gates.sane import hopeless, no_part, no_share, unlike
from pytest_canary.gates.shape import Shape
from pytest_canary.gates.tails import RelativeTail
from pytest_canary.gates.threshold import Threshold
from pytest_canary.gates.values import INFLIGHT, Decide, Gate, Kind, Limits, Status


class Rule(Protocol):
    """What judges one limit (or, by the plain rule, all limits) of a gate."""

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; returns what is wrong when the gate cannot be judged with it."""

    def start_stage(self, window: Window, limits: Limits, /) -> None:
        """Begin a stage with the limits that hold there."""

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""

    def normal(self, baseline: Reading) -> None:
        """Add one poll of the baseline from before the ramp, after ``capture``."""

    def compare(self, canary: Reading, baseline: Reading, at: float, /) -> None:
        """Add what both sides counted since the last comparison, which ended at ``at`` seconds."""

    def finding(self, canary: Reading, baseline: Reading, served: bool, /) -> Finding:
        """What this stage's counts and the evidence so far say; ``served``: hold and minimum requests are."""


def slowest(latency: Reading) -> float:
    """Seconds that hardly any request takes longer than: the p99, or the last bucket boundary."""
    return latency.quantile(0.99) or (latency.bounds[-1] if latency.bounds else 0.0)


class Watch:
    """The rules of one gate, and what both sides have counted for it at this stage."""

    def __init__(self, gate: Gate, stages: int) -> None:
        self.gate, self._stages = gate, stages
        self._rules = _rules(gate, stages)
        self._inflight_seconds: float | None = 0.0
        self._window = Window(0, 0.0, 0.0, True, 0.0, 0)
        self._canary = self._baseline = self._captured = Reading()
        self._waiting: tuple[Reading, Reading] = (Reading(), Reading())
        self._settled = False

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; returns what is wrong when the gate cannot be judged with it."""
        if self.gate.metric.kind is Kind.QUANTILE and self.gate.metric.unit == "seconds" and baseline.requests:
            self._inflight_seconds = INFLIGHT * slowest(baseline)
        self._captured = baseline
        if self.gate.metric.kind is Kind.MEAN and baseline.gauged:
            self.gate = replace(self.gate, metric=replace(self.gate.metric, kind=Kind.GAUGE))
            self._rules = _rules(self.gate, self._stages)
        if self.gate.metric.kind is Kind.RATE and (baseline.rate or 0.0) > FREQUENT:
            self._rules = _rules(self.gate, self._stages, frequent=True)
        wrong = next((wrong for rule in self._rules.values() if (wrong := rule.capture(baseline))), None)
        strange = no_part(self.gate, baseline) or no_share(self.gate, baseline)
        return strange or unkept(self.gate, baseline) or wrong

    def patience(self, latency: Reading) -> None:
        """Take from ``latency`` how long requests may be under way; an empty one tells nothing.

        Where a sum grows while a request is answered and their number when it ends, a build that has just got
        requests seems to have too much of the sum.
        """
        if self.gate.metric.kind is Kind.MEAN and self.gate.metric.events and not self._captured.bounds:
            self._inflight_seconds = INFLIGHT * slowest(latency) if latency.requests else None

    def normal(self, baseline: Reading) -> None:
        """Add one poll of the baseline from before the ramp: how its events come shows whether they come in bursts."""
        for rule in self._rules.values():
            rule.normal(baseline)

    def notes(self) -> list[str]:
        """What a person should know about how this gate is judged."""
        noted = [rule.note() for rule in self._rules.values() if isinstance(rule, RelativeTail)]
        noted += [note(self.gate, self._captured) for note in (coarse, loose, hopeless, broken_already)]
        return [note for note in noted if note]

    def start_stage(self, window: Window) -> None:
        """Begin a stage; what was counted for the one before stays only as evidence."""
        self._window = window
        self._canary = self._baseline = Reading()
        self._waiting = (Reading(), Reading())
        self._settled = False
        for rule in self._rules.values():
            rule.start_stage(window, self.gate.limits_at(window.index))

    def observe(self, canary: Reading | None, baseline: Reading | None, since: float, at: float) -> None:
        """Add what was counted from ``since`` to ``at``; None for a side that nobody could count.

        Slow requests that began before the weight moved finish late, so for latency nothing counts until they had
        time to; at most half the hold is given to that.  What comes late by nature (``lag``) waits for all of it.
        """
        if since < self._window.at + self._settling:
            return
        self._settled = True
        mine, theirs = canary or Reading(), baseline or Reading()
        self._canary, self._baseline = self._canary + mine, self._baseline + theirs
        self._waiting = (self._waiting[0] + mine, self._waiting[1] + theirs)
        for rule in self._rules.values():
            rule.alone(mine)
        if self._window.compared and all(side.requests > 0 for side in self._waiting):
            for rule in self._rules.values():
                rule.compare(*self._waiting, at)
            self._waiting = (Reading(), Reading())

    @property
    def _settling(self) -> float:
        return max(self._under_way, self.gate.lag_seconds)

    @property
    def _under_way(self) -> float:
        """How long requests from before the weight moved are waited for; unknown is as long as may be."""
        if self.gate.decide in (Decide.THRESHOLD, Decide.WINDOW):
            return 0.0
        most = self._window.hold_seconds / 2
        return most if self._inflight_seconds is None else min(self._inflight_seconds, most)

    def finding(self, served: bool, elapsed: float) -> Finding:
        """What the gate finds now, over all limits it has at this stage, which began ``elapsed`` seconds ago.

        A gate that is counted late, or has seen too little, never passes by silence.
        """
        late = elapsed < self._window.hold_seconds + self.gate.lag_seconds and self.gate.lag_seconds > 0
        found = self._found(served and not late)
        metric, limits = self.gate.metric, self.gate.limits_at(self._window.index)
        says = say.misses(metric) + found.says + say.parts(metric, self._canary, self._baseline) + say.origin(limits)
        found = replace(found, says=says)
        if found.status is not Status.NO_DATA and (odd := unlike(self.gate, self._canary, self._baseline)):
            return replace(found, status=Status.NO_DATA, by=None, harmless=False, says=f"{says}; {odd}")
        if found.status not in (Status.PASS, Status.UNDECIDED):
            return found
        if late:
            waits = f"; {metric.of} of this hold come until {say.seconds(self.gate.lag_seconds)} after it"
            return replace(found, status=Status.UNDECIDED, by=None, harmless=False, says=says + waits)
        if self._canary.requests < self.gate.least and metric.kind is not Kind.GAUGE:
            needs = f"; needs {self.gate.least} {metric.of}, has {self._canary.requests:.0f}"
            return replace(found, status=Status.UNDECIDED, by=None, harmless=False, says=says + needs)
        return found

    def _found(self, served: bool) -> Finding:
        limits = self.gate.limits_at(self._window.index)
        here = [rule for kind, rule in self._rules.items() if kind == "" or getattr(limits, kind) is not None]
        found = combined([rule.finding(self._canary, self._baseline, served) for rule in here])
        if found.status is Status.NO_DATA and not self._settled and self._settling:
            why = (
                "what is counted late" if self.gate.lag_seconds else "slow requests that began before the weight moved"
            )
            says = f"waits {say.seconds(self._settling)} for {why}"
            return replace(found, status=Status.UNDECIDED, harmless=False, says=says)
        return found


def _rules(gate: Gate, stages: int, *, frequent: bool = False) -> dict[str, Rule]:
    """Kind of limit -> its rule; the limits of a gate share its alpha."""
    kinds = gate.kinds()
    plain = _plain(gate, stages)
    if plain is not None:  # a shape has no plain rule
        numbers: dict[str, Rule] = {"": plain} if kinds != ("shift",) else {}
        return {**numbers, "shift": Shape(gate, gate.alpha)} if "shift" in kinds else numbers
    return {kind: _rule(kind, gate, gate.alpha / len(kinds), stages, frequent) for kind in kinds}


def _plain(gate: Gate, stages: int) -> Rule | None:
    """The rule that judges all limits of a gate by plain numbers; None where evidence does."""
    if gate.decide is Decide.THRESHOLD or gate.metric.kind is Kind.GAUGE:
        return Threshold(gate, stages)
    return Recent(gate) if gate.decide is Decide.WINDOW else None


def _rule(kind: str, gate: Gate, alpha: float, stages: int, frequent: bool) -> Rule:
    if kind == "shift":
        return Shape(gate, alpha)
    mean = gate.metric.kind is Kind.MEAN
    if kind in ("max", "min"):
        return AbsoluteMean(kind, gate, alpha) if mean else Absolute(kind, gate, alpha)
    if mean or frequent:
        return RelativeMean(kind, gate, alpha, stages)
    if gate.metric.kind is Kind.RATE:
        return RelativeRate(kind, gate, alpha, stages)
    return RelativeTail(kind, gate, alpha, stages)
