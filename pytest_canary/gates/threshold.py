"""The plain rule: this stage's numbers against the baseline's, once hold and minimum requests are served."""

from __future__ import annotations

from dataclasses import replace

from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.finding import Finding
from pytest_canary.gates.plain import Plain
from pytest_canary.gates.reading import Reading, Window
from pytest_canary.gates.values import By, Gate, Kind, Limits, Status
from pytest_canary.stats.ratio import Counts


class Threshold:
    """All limits of one gate by the plain rule; nothing is kept but the catastrophe lane of a rate.

    The only rule for a gauge, whose value has no sample size: its mean over the stage, said to be an estimate.
    """

    def __init__(self, gate: Gate, stages: int) -> None:
        self._gate, self._plain = gate, Plain(gate)
        self._gauge = gate.metric.kind is Kind.GAUGE
        rate = gate.metric.kind is Kind.RATE
        self._lane = RateEvidence(gate.alpha, stages, levels=gate.levels) if rate and gate.catastrophe else None
        self._window: Window | None = None

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; returns what is wrong when the quantile cannot be read from it."""
        if self._lane and self._lane.lane:
            self._lane.lane.expect(baseline.rate or 0.0)
        return self._plain.unreadable(baseline)

    def normal(self, baseline: Reading) -> None:
        """Nothing: the plain rule knows no bursts."""

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there."""
        self._window, self._plain.limits = window, limits
        if self._lane:
            self._lane.start_stage()

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        if self._lane:
            self._lane.alone(canary.requests, canary.events)

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
        """Add what both sides counted since the last comparison."""
        if self._lane:
            self._lane.compare(Counts(canary.requests, canary.events, baseline.requests, baseline.events), at)

    def finding(self, canary: Reading, baseline: Reading, served: bool) -> Finding:
        """What the counts say, once ``served``; a plainly broken canary fails at once."""
        compared = bool(self._window and self._window.compared)
        captured = (self._gate.against == "captured" or not compared) and self._window is not None
        against = self._window.captured if captured and self._window else baseline
        before = "estimate: " if self._gauge else ""
        finding = self._plain.finding(canary, against, before, "captured baseline" if captured else "baseline")
        if self._lane and self._lane.broken(compared)[0]:
            says = f"plainly broken: {finding.says}"
            return replace(finding, status=Status.FAIL, by=By.CATASTROPHE, says=says)
        if not canary.requests:
            return replace(finding, status=Status.NO_DATA)
        if not served:
            return finding
        least = 1 if self._gauge else self._gate.min_baseline
        if self._plain.limits.relative and against.requests < least:
            missing = f"needs {least} baseline requests, has {against.requests:.0f}"
            return replace(finding, says=f"{finding.says}; {missing}")
        worse = self._plain.worse(canary, against)
        if worse is None:
            return replace(finding, says=f"{finding.says}; beyond the last bucket boundary, which cannot say")
        ground = By.ESTIMATE if self._gauge else By.THRESHOLD
        return replace(finding, status=Status.FAIL if worse else Status.PASS, by=ground, harmless=not worse)
