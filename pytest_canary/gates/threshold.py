"""The plain rule: this stage's numbers against the baseline's, once hold and minimum requests are served."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.finding import Finding
from pytest_canary.gates.look import FAIL, STATUSES, Look, ground
from pytest_canary.gates.plain import Plain
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.side import Side
from pytest_canary.gates.values import By, Gate, Kind, Limits, Status
from pytest_canary.gates.window import NOBODY, Window
from pytest_canary.stats.grid import Array
from pytest_canary.stats.ratio import Counts
from pytest_canary.stats.rows import Flags, Index, Rows


class Threshold(Rows):
    """All limits of one gate by the plain rule; nothing is kept but the catastrophe lane of a rate.

    The only rule for a gauge, whose value has no sample size: its mean over the stage, said to be an estimate.
    """

    PARTS = ("_lane",)

    def __init__(self, gate: Gate, stages: int, batch: int = 1) -> None:
        self._gate, self._plain, self._batch = gate, Plain(gate), batch
        self._gauge = gate.metric.kind is Kind.GAUGE
        rate = gate.metric.kind is Kind.RATE and gate.catastrophe
        self._lane = RateEvidence(gate.alpha, stages, batch=batch, levels=gate.levels) if rate else None
        self._compared, self._began = False, False
        self._captured = NOBODY
        self._found: dict[int, Finding] = {}

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._batch, self._found = rows.size, {}
        self._captured = self._captured.keep(rows) if self._began else self._captured

    def capture(self, baseline: Side) -> list[str | None]:
        """Learn what is normal before the ramp; says what is wrong when the quantile cannot be read from it."""
        if self._lane and self._lane.lane:
            some = baseline.requests > 0
            self._lane.lane.expect(np.where(some, baseline.events / np.where(some, baseline.requests, 1.0), 0.0))
        return [self._plain.unreadable(baseline.row(row)) for row in range(self._batch)]

    def normal(self, baseline: Side, where: Flags | None) -> None:
        """Nothing: the plain rule knows no bursts."""

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there."""
        self._compared, self._captured, self._began = window.compared, window.captured, True
        self._plain.limits = limits
        if self._lane:
            self._lane.start_stage()

    def alone(self, canary: Side, where: Flags | None) -> None:
        """Add one poll of the canary."""
        if self._lane:
            self._lane.alone(canary.requests, canary.events, where)

    def compare(self, canary: Side, baseline: Side, at: Array, where: Flags | None) -> None:
        """Add what both sides counted since the last comparison."""
        if self._lane:
            counts = Counts(canary.requests, canary.events, baseline.requests, baseline.events)
            self._lane.compare(counts, at, where=where)

    def failing(self, canary: Side, baseline: Side, served: Flags) -> Flags:
        """Whether it fails now."""
        failed = self._lane.broken(self._compared) if self._lane else np.zeros(self._batch, dtype=bool)
        asked = np.flatnonzero(served & ~failed)
        if asked.size:
            failed = failed.copy()
            found = self.look(canary, baseline, served, asked)
            failed[asked] = found.status[asked] == FAIL
        return failed

    def look(self, canary: Side, baseline: Side, served: Flags, rows: Index) -> Look:
        """What the counts say in ``rows``, once ``served``; a plainly broken canary fails at once."""
        look = Look.undecided(self._batch)
        broken = self._lane.broken(self._compared) if self._lane else np.zeros(self._batch, dtype=bool)
        for row in rows.tolist():
            found = self._finding(row, canary.row(row), baseline.row(row), bool(served[row]), bool(broken[row]))
            self._found[row] = found
            look.status[row], look.by[row] = STATUSES.index(found.status), ground(found.by)
            look.harmless[row] = found.harmless
        return look

    def finding(self, row: int, _look: Look, _canary: Reading, _baseline: Reading) -> Finding:
        """The last look in words."""
        return self._found[row]

    def _finding(self, row: int, canary: Reading, baseline: Reading, served: bool, broken: bool) -> Finding:
        captured = (self._gate.against == "captured" or not self._compared) and self._began
        against = self._captured.row(row) if captured else baseline
        before = "estimate: " if self._gauge else ""
        finding = self._plain.finding(canary, against, before, "captured baseline" if captured else "baseline")
        if broken:
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
        by = By.ESTIMATE if self._gauge else By.THRESHOLD
        return replace(finding, status=Status.FAIL if worse else Status.PASS, by=by, harmless=not worse)
