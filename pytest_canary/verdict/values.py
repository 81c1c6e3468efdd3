"""The frozen values that a judgement consists of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_canary.gates.values import By, Counted, Status


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate says at one poll, with all that a person needs to believe it."""

    gate: str
    stage: int
    status: Status
    by: By | None
    canary: Counted
    baseline: Counted
    limit: str
    """The limit in words, such as ``ratio <= 1.5``."""
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    """Interval of the ratio that is valid at every look."""
    evidence: float = 1.0
    """E-value of "worse at all"; ``1/alpha`` of it convicts, together with ``odds``."""
    odds: float = 0.0
    """P(worse than the gate | data)."""
    alpha: float = 0.01
    harmless: bool = True
    """No sign of harm: E < 1/sqrt(alpha) and P(worse than the gate) < 0.5."""
    proved: bool = False
    """Whether "not worse than the gate" has been proved at this stage."""
    needed: float | None = None
    """How many more requests of the side that is judged proof would take, about; None when unknown."""
    alert: bool = False
    """Whether the gate only reports."""
    sentence: str = ""
    """All of it in one line."""
    needed_seconds: float | None = None
    """How long that would take at the traffic of this stage."""
    side: str = "canary"
    """What the side that is judged is called: where the traffic returns it is the stable build, started anew."""
    of: str = "requests"
    """What the gate's sample size is a number of, such as ``feedback``."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What one role has counted at this stage; quantiles in seconds, None where unknown."""

    requests: float = 0.0
    errors: float = 0.0
    p50: float | None = None
    p99: float | None = None

    def __str__(self) -> str:
        latency = [
            f"{name} {value * 1000:.0f} ms" if value < 10 else f"{name} {value:.1f} s"
            for name, value in (("p50", self.p50), ("p99", self.p99))
            if value is not None
        ]
        errors = f"{self.errors:.0f} error" + ("" if self.errors == 1 else "s")
        return ", ".join([f"{self.requests:.0f} requests", errors, *latency])


class Step(StrEnum):
    """What to do after a poll."""

    WAIT = "wait"
    ADVANCE = "advance"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do after a poll, and why, in one line."""

    step: Step
    why: str
    overdue: bool = False
    """Whether it was the deadline that stopped."""
