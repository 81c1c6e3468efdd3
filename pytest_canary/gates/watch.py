"""One gate over a whole rollout: keeps its evidence, and says at any poll what it finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from pytest_canary.gates import sentences as say
from pytest_canary.gates.absolute import Absolute
from pytest_canary.gates.absolute_mean import AbsoluteMean
from pytest_canary.gates.finding import Finding, combined
from pytest_canary.gates.means import FREQUENT, RelativeMean
from pytest_canary.gates.rates import RelativeRate
from pytest_canary.gates.reading import Reading, Window
from pytest_canary.gates.recent import Recent
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


class Watch:
    """The rules of one gate, and what both sides have counted for it at this stage."""

    def __init__(self, gate: Gate, stages: int) -> None:
        self.gate, self._stages = gate, stages
        self._rules = _rules(gate, stages)
        self._inflight_seconds = 0.0
        self._window = Window(0, 0.0, 0.0, True, 0.0, 0)
        self._canary = self._baseline = Reading()
        self._waiting: tuple[Reading, Reading] = (Reading(), Reading())
        self._settled = False

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; returns what is wrong when the gate cannot be judged with it."""
        if self.gate.metric.kind is Kind.QUANTILE and baseline.requests:
            slowest = baseline.quantile(0.99) or (baseline.bounds[-1] if baseline.bounds else 0.0)
            self._inflight_seconds = INFLIGHT * slowest
        if self.gate.metric.kind is Kind.RATE and (baseline.rate or 0.0) > FREQUENT:
            self._rules = _rules(self.gate, self._stages, frequent=True)
        return next((wrong for rule in self._rules.values() if (wrong := rule.capture(baseline))), None)

    def normal(self, baseline: Reading) -> None:
        """Add one poll of the baseline from before the ramp: how its events come shows whether they come in bursts."""
        for rule in self._rules.values():
            rule.normal(baseline)

    def notes(self) -> list[str]:
        """What a person should know about how this gate is judged."""
        noted = [rule.note() for rule in self._rules.values() if isinstance(rule, RelativeTail)]
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
        time to; at most half the hold is given to that.
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
        if self.gate.decide in (Decide.THRESHOLD, Decide.WINDOW):
            return 0.0
        return min(self._inflight_seconds, self._window.hold_seconds / 2)

    def finding(self, served: bool) -> Finding:
        """What the gate finds now, over all limits it has at this stage."""
        limits = self.gate.limits_at(self._window.index)
        here = [rule for kind, rule in self._rules.items() if kind == "" or getattr(limits, kind) is not None]
        found = combined([rule.finding(self._canary, self._baseline, served) for rule in here])
        if found.status is Status.NO_DATA and not self._settled and self._settling:
            says = f"waits {say.seconds(self._settling)} for slow requests that began before the weight moved"
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
