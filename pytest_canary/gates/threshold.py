"""The plain rule: this stage's numbers against the baseline's, once hold and minimum requests are served."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_canary.gates import sentences as say
from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.finding import Finding
from pytest_canary.gates.reading import Reading, Window
from pytest_canary.gates.values import By, Counted, Gate, Kind, Limits, Status
from pytest_canary.stats.ratio import Counts

_ROUNDING = 1e-9
"""Relative slack that keeps "equal" equal in floating point."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A metric's value; ``at_least`` where a quantile lies above the last bucket boundary."""

    value: float | None
    at_least: bool = False


class Threshold:
    """All limits of one gate by the plain rule; nothing is kept but the catastrophe lane of a rate."""

    def __init__(self, gate: Gate, stages: int) -> None:
        self._gate = gate
        self._rate = gate.metric.kind is Kind.RATE
        self._lane = RateEvidence(gate.alpha, stages) if self._rate and gate.catastrophe else None
        self._limits = gate.limits
        self._window: Window | None = None

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; returns what is wrong when the quantile cannot be read from it."""
        if self._lane and self._lane.lane:
            self._lane.lane.expect(baseline.rate or 0.0)
        if not self._rate and self._gate.limits.relative and baseline.quantile(self._gate.metric.quantile) is None:
            last = say.seconds(baseline.bounds[-1]) if baseline.bounds else "none"
            return (
                f"the baseline has no {self._gate.name} in the histogram `{self._gate.metric.histogram}`, whose last "
                f"bucket boundary is {last}; send requests to the baseline, or add boundaries above it"
            )
        return None

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there."""
        self._window, self._limits = window, limits
        if self._lane:
            self._lane.start_stage()

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        if self._lane:
            self._lane.alone(canary.requests, canary.events)

    def compare(self, canary: Reading, baseline: Reading) -> None:
        """Add what both sides counted since the last comparison."""
        if self._lane:
            self._lane.compare(Counts(canary.requests, canary.events, baseline.requests, baseline.events))

    def finding(self, canary: Reading, baseline: Reading, served: bool) -> Finding:
        """What the counts say, once ``served``; a plainly broken canary fails at once."""
        captured = self._gate.against == "captured" or not (self._window and self._window.compared)
        against = self._window.captured if captured and self._window else baseline
        mine, theirs = self._counted(canary), self._counted(against)
        where = "captured baseline" if captured else "baseline"
        says = f"canary {self._number(mine)}, {where} {self._number(theirs)}, limit {self._words}"
        finding = Finding(Status.UNDECIDED, self._words, says, None, mine, theirs)
        if mine.value is not None and theirs.value:
            finding = replace(finding, ratio=mine.value / theirs.value)
        if self._lane and self._lane.broken(bool(self._window and self._window.compared))[0]:
            return replace(finding, status=Status.FAIL, by=By.CATASTROPHE, says=f"plainly broken: {says}")
        if not canary.requests:
            return replace(finding, status=Status.NO_DATA)
        if not served:
            return finding
        if self._limits.relative and against.requests < self._gate.min_baseline:
            missing = f"needs {self._gate.min_baseline} baseline requests, has {against.requests:.0f}"
            return replace(finding, says=f"{says}; {missing}")
        worse = self._worse(self._value(canary), self._value(against))
        if worse is None:
            return replace(finding, says=f"{says}; beyond the last bucket boundary, which cannot say")
        return replace(finding, status=Status.FAIL if worse else Status.PASS, by=By.THRESHOLD, harmless=not worse)

    def _value(self, side: Reading) -> _Value:
        if self._rate:
            return _Value(side.rate)
        value = side.quantile(self._gate.metric.quantile)
        if value is None and side.requests and side.bounds:
            return _Value(side.bounds[-1], at_least=True)
        return _Value(value)

    def _worse(self, mine: _Value, theirs: _Value) -> bool | None:
        """Whether any limit is passed; None where buckets leave it open."""
        if mine.value is None or (self._limits.relative and (theirs.value is None or theirs.at_least)):
            return None
        tops = self._tops(theirs.value or 0.0)
        if any(mine.value > top * (1 + _ROUNDING) for top in tops):
            return True
        if self._limits.min is not None and mine.value < self._limits.min * (1 - _ROUNDING):
            return True
        return None if mine.at_least and tops else False

    def _tops(self, theirs: float) -> list[float]:
        """The highest values that pass, one per limit."""
        limits = self._limits
        tops = [limits.max] if limits.max is not None else []
        if limits.ratio is not None:
            normal = self._gate.floor if self._rate and theirs == 0 else theirs
            tops.append(normal * limits.ratio)
        if limits.delta is not None:
            tops.append(theirs + limits.delta)
        return tops

    def _counted(self, side: Reading) -> Counted:
        if self._rate:
            return side.as_rate()
        return Counted(side.requests, 0.0, side.quantile(self._gate.metric.quantile))

    def _number(self, side: Counted) -> str:
        if self._rate:
            return say.events(side)
        value = "unknown" if side.value is None else say.seconds(side.value)
        return f"{value} of {side.requests:.0f}"

    @property
    def _words(self) -> str:
        named = (("ratio", "<="), ("delta", "<="), ("max", "<="), ("min", ">="))
        values = ((kind, sign, getattr(self._limits, kind)) for kind, sign in named)
        return ", ".join(f"{kind} {sign} {value:g}" for kind, sign, value in values if value is not None)
