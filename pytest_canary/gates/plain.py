"""Point estimates and what a limit makes of them: the arithmetic of the plain rules."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_canary.gates import sentences as say
from pytest_canary.gates.finding import Finding
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Counted, Gate, Kind, Status

_ROUNDING = 1e-9
"""Relative slack that keeps "equal" equal in floating point."""


@dataclass(frozen=True, slots=True)
class Value:
    """A metric's value; ``at_least`` where a quantile lies above the last bucket boundary."""

    value: float | None
    at_least: bool = False


class Plain:
    """The limits of one gate on plain numbers; ``limits`` are those of the stage."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._kind = gate.metric.kind
        self.limits = gate.limits

    def unreadable(self, baseline: Reading) -> str | None:
        """What is wrong when the baseline's quantile cannot be read; None when it can."""
        quantile = self._gate.metric.quantile
        if self._kind is Kind.QUANTILE and self._gate.limits.relative and baseline.quantile(quantile) is None:
            last = say.amount(baseline.bounds[-1], self._gate.metric.unit) if baseline.bounds else "none"
            return (
                f"the baseline has no {self._gate.name} in the histogram `{self._gate.metric.histogram}`, whose last "
                f"bucket boundary is {last}; send requests to the baseline, or add boundaries above it"
            )
        return None

    def value(self, side: Reading) -> Value:
        """What one side's counts say."""
        if self._kind is Kind.RATE:
            return Value(side.rate)
        if self._kind in (Kind.MEAN, Kind.GAUGE):
            return Value(side.mean)
        value = side.quantile(self._gate.metric.quantile)
        if value is None and side.requests and side.bounds:
            return Value(side.bounds[-1], at_least=True)
        return Value(value)

    def worse(self, canary: Reading, baseline: Reading) -> bool | None:
        """Whether any limit is passed: more fails, equal passes; None where buckets leave it open."""
        mine, theirs = self.value(canary), self.value(baseline)
        if mine.value is None or (self.limits.relative and (theirs.value is None or theirs.at_least)):
            return None
        tops, bottoms = self._tops(theirs.value or 0.0), self._bottoms(theirs.value or 0.0)
        if any(mine.value > top + abs(top) * _ROUNDING for top in tops):
            return True
        if any(mine.value < bottom - abs(bottom) * _ROUNDING for bottom in bottoms):
            return True
        return None if mine.at_least and tops else False

    def _tops(self, theirs: float) -> list[float]:
        """The highest values that pass, one per limit."""
        limits = self.limits
        tops = [limits.max] if limits.max is not None else []
        if not self._gate.metric.lower_is_better:
            return tops
        if limits.ratio is not None:
            normal = self._gate.floor if self._kind is Kind.RATE and theirs == 0 else theirs
            tops.append(normal * limits.ratio)
        if limits.delta is not None:
            tops.append(theirs + limits.delta)
        return tops

    def _bottoms(self, theirs: float) -> list[float]:
        """The lowest values that pass, one per limit."""
        limits = self.limits
        bottoms = [limits.min] if limits.min is not None else []
        if self._gate.metric.lower_is_better:
            return bottoms
        if limits.ratio is not None:
            bottoms.append(theirs / limits.ratio)
        if limits.delta is not None:
            bottoms.append(theirs - limits.delta)
        return bottoms

    def finding(self, canary: Reading, baseline: Reading, before: str = "", where: str = "baseline") -> Finding:
        """Both sides in words and numbers, undecided."""
        mine, theirs = self._counted(canary), self._counted(baseline)
        says = f"{before}canary {self._number(mine)}, {where} {self._number(theirs)}, limit {self.words}"
        ratio = mine.value / theirs.value if mine.value is not None and theirs.value else None
        return Finding(Status.UNDECIDED, self.words, says, None, mine, theirs, ratio)

    def _counted(self, side: Reading) -> Counted:
        if self._kind is Kind.RATE:
            return side.as_rate()
        if self._kind is Kind.QUANTILE:
            return Counted(side.requests, 0.0, side.quantile(self._gate.metric.quantile))
        return side.as_mean()

    def _number(self, side: Counted) -> str:
        if self._kind is Kind.RATE:
            return say.events(side)
        if self._kind is Kind.QUANTILE:
            value = "unknown" if side.value is None else say.amount(side.value, self._gate.metric.unit)
            return f"{value} of {side.requests:.0f}"
        return say.mean(side, self._gate.metric.unit)

    @property
    def words(self) -> str:
        """The limits, such as ``ratio <= 1.5``."""
        named = (("ratio", "<="), ("delta", "<="), ("max", "<="), ("min", ">="))
        values = ((kind, sign, getattr(self.limits, kind)) for kind, sign in named)
        return ", ".join(f"{kind} {sign} {value:g}" for kind, sign, value in values if value is not None)
