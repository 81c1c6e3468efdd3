"""What one limit of a gate finds at a poll, before it becomes a verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log

from pytest_canary.gates.values import By, Counted, Status

NOTHING_COUNTED = Counted()


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit at one poll; fields as in a verdict, ``says`` is its sentence without the name of the gate."""

    status: Status
    limit: str
    says: str
    by: By | None = None
    canary: Counted = NOTHING_COUNTED
    baseline: Counted = NOTHING_COUNTED
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    evidence: float = 1.0
    odds: float = 0.0
    harmless: bool = False
    needed: float | None = None


def evidence_of(log_e: float) -> float:
    """``exp(log_e)``, kept within what a float and a JSON file can hold."""
    return exp(min(max(log_e, -600.0), 600.0))


def harmless(log_e: float, odds: float, alpha: float) -> bool:
    """No sign of harm: evidence below 1/sqrt(alpha), and the data do not favour "worse than the gate"."""
    return log_e < -0.5 * log(alpha) and odds < 0.5


def still_needed(total: float, served: float, log_proof: float, beta: float) -> float | None:
    """Canary requests that proof still takes, from what it takes in all; None when it cannot be had this way."""
    if not total < float("inf"):
        return None
    missing = (log(1 / beta) - log_proof) / log(1 / beta)
    return max(total - served, total * min(missing, 10.0), 0.0)


def combined(findings: list[Finding]) -> Finding:
    """The finding of a gate with several limits: fails if any fails, passes if all pass, else the least known."""
    if not findings:
        return Finding(Status.PASS, "no limit at this stage", "no limit at this stage", harmless=True)
    order = (Status.FAIL, Status.NO_DATA, Status.UNDECIDED, Status.PASS)
    told = min(findings, key=lambda finding: (order.index(finding.status), finding.harmless, -finding.odds))
    needs = [finding.needed for finding in findings if finding.status is not Status.PASS]
    return replace(told, needed=None if None in needs else max((need for need in needs if need), default=0.0))
