"""A distribution that may differ from the baseline's only by so much, whichever way."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np

from pytest_canary.gates import sentences as say
from pytest_canary.gates.finding import Finding, evidence_of
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import By, Gate, Limits, Status
from pytest_canary.gates.window import Window
from pytest_canary.stats.grid import Array
from pytest_canary.stats.ratio import Counts
from pytest_canary.stats.shift import ShiftEvidence, cells, population_stability_index


class Shape:
    """The limit ``shift`` of a gate: fails on two-sided evidence *and* a size that matters.

    Significance alone is no harm: with enough requests any two builds differ.  Below the size it says so and passes.
    """

    def __init__(self, gate: Gate, alpha: float) -> None:
        self._gate, self._alpha = gate, alpha
        self._cells: list[slice] = []
        self._evidence: ShiftEvidence | None = None
        self._sides: tuple[Array, Array] = (np.zeros(0), np.zeros(0))
        self._limit, self._compared = 0.0, True

    def capture(self, baseline: Reading) -> str | None:
        """Choose the cells; a histogram in one bucket has no shape."""
        counts = np.asarray(baseline.counts, dtype=np.float64)
        self._cells = cells(counts) if counts.size else []
        if len(self._cells) < 2:
            name = self._gate.metric.histogram
            if not self._cells:
                return f"the source counts no histogram `{name}`, so a shift cannot be seen; write `ratio`"
            return f"the baseline's histogram `{name}` lies in one bucket, so a shift cannot be seen; add boundaries"
        self._evidence = ShiftEvidence(len(self._cells), phi=self._gate.design_effect)
        self._sides = (np.zeros(len(self._cells)), np.zeros(len(self._cells)))
        return None

    def normal(self, baseline: Reading) -> None:
        """Nothing: cells come from the whole window."""

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limit that holds there; evidence goes on over the whole rollout."""
        self._limit, self._compared = limits.shift or self._limit, window.compared

    def alone(self, canary: Reading) -> None:
        """Nothing: a shape is only ever compared."""

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
        """Add what both sides counted since the last comparison."""
        del at
        if self._evidence is None or canary.bounds != baseline.bounds:
            return
        mine, theirs = self._in_cells(canary), self._in_cells(baseline)
        self._sides = (self._sides[0] + mine, self._sides[1] + theirs)
        pairs = zip(mine, theirs, strict=True)
        self._evidence.update([Counts(canary.requests, a, baseline.requests, b) for a, b in pairs])

    def _in_cells(self, side: Reading) -> Array:
        counts = np.asarray(side.counts, dtype=np.float64)
        return np.asarray([counts[cell].sum() for cell in self._cells])

    def finding(self, canary: Reading, baseline: Reading, served: bool) -> Finding:
        """What the two shapes so far say."""
        words = f"shift <= {self._limit:g}"
        mine, theirs = canary.as_mean(), baseline.as_mean()
        seen = self._evidence is not None and bool(self._sides[0].sum() and self._sides[1].sum())
        if not seen or self._evidence is None:
            return Finding(Status.NO_DATA, words, "one side has counted nothing to compare", None, mine, theirs)
        size, log_e = population_stability_index(*self._sides), float(self._evidence.log_e[0])
        sure = log_e >= -log(self._alpha)
        says = (
            f"PSI {size:.3g} over {say.number(self._sides[0].sum())} canary and {say.number(self._sides[1].sum())} "
            f"baseline values, limit {self._limit:g}; evidence {evidence_of(log_e):.3g} (of a change at "
            f"{1 / self._alpha:.3g})"
        )
        matters = size > self._limit
        finding = Finding(
            Status.UNDECIDED, words, says, None, mine, theirs, None, None, evidence_of(log_e), float(matters),
            harmless=not (sure and matters),
        )  # fmt: skip
        if sure and matters:
            return replace(finding, status=Status.FAIL, by=By.EVIDENCE)
        if served:
            noted = "; the shape has changed, but by less than matters" if sure else ""
            ground = By.SOAK if self._compared else By.NOT_COMPARED
            return replace(finding, status=Status.PASS, by=ground, says=says + noted)
        return finding
