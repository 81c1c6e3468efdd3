"""Whether a distribution has changed its shape, and by how much."""

from __future__ import annotations

import numpy as np

from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.ratio import Counts, RatioEvidence
from pytest_canary.stats.rows import Rows

CELLS = 10
"""Cells of about equal baseline counts in which two distributions are compared."""


def cells(counts: Array) -> list[slice]:
    """Neighbouring buckets put together until each cell holds about a tenth of the baseline's ``counts``."""
    total, found, first = counts.sum(), list[slice](), 0
    for last in range(counts.size):
        if counts[first : last + 1].sum() * CELLS >= total * (1 - 1e-9) and total > 0:
            found.append(slice(first, last + 1))
            first = last + 1
    if first < counts.size and counts[first:].sum() * CELLS * 2 < total and found:
        found[-1] = slice(found[-1].start, counts.size)
    elif first < counts.size:
        found.append(slice(first, counts.size))
    return found


def population_stability_index(canary: Array, baseline: Array) -> float:
    """PSI of two sets of counts over the same cells: sum of (p - q) ln(p / q), half a count added to each cell."""
    p = (canary + 0.5) / (canary + 0.5).sum()
    q = (baseline + 0.5) / (baseline + 0.5).sum()
    return float(((p - q) * np.log(p / q)).sum())


class ShiftEvidence(Rows):
    """E-process against "both sides have the same distribution": per cell, is the canary there more or less often.

    A mean over cells and directions of exact e-processes is one, whatever the cells share.
    """

    PARTS = ("_sides",)

    def __init__(self, cells: int, batch: int = 1, phi: float = 1.0) -> None:
        self._sides = [RatioEvidence(1.0, side, batch, phi) for _ in range(cells) for side in (+1, -1)]

    def update(self, per_cell: list[Counts]) -> None:
        """Add one poll: all requests of both sides, and those in each cell."""
        for index, counts in enumerate(per_cell):
            for evidence in self._sides[2 * index : 2 * index + 2]:
                evidence.update(counts)

    @property
    def log_e(self) -> Array:
        """Log evidence, one per rollout."""
        return logsumexp(np.stack([side.log_e for side in self._sides]) - np.log(len(self._sides)), axis=0)
