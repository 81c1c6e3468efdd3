"""The baseline's last window as fixed limits, for a stage at which it no longer serves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import Array
from pytest_canary.stats.limit import LimitEvidence
from pytest_canary.stats.rate import odds_above, upper_bound
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column


class Frozen(Rows):
    """One limit, or several of which any may be broken; one for all rollouts or one for each, none where it is NaN."""

    AXES = axes(there=0)
    PARTS = ("_evidence",)

    def __init__(self, limits: Sequence[ArrayLike], alpha: float, batch: int = 1) -> None:
        self.limits = [column(limit, batch) for limit in limits]
        self.alpha, self._batch = alpha, batch
        self.there: Flags = np.full(batch, bool(self.limits)) & ~np.isnan(sum(self.limits, np.zeros(batch)))
        """Where there is a limit at all."""
        self._evidence = [LimitEvidence(np.nan_to_num(limit, nan=0.5), batch) for limit in self.limits]

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self.limits, self._batch = [limit[rows] for limit in self.limits], rows.size

    def update(self, requests: ArrayLike, events: Sequence[ArrayLike], where: Flags | None = None) -> None:
        """Add one poll of the canary: its events against each limit."""
        for evidence, count in zip(self._evidence, events, strict=True):
            evidence.update(requests, count, where)

    @property
    def worst(self) -> Index:
        """Which limit is most clearly broken, one per rollout; the last one where none is."""
        last = len(self._evidence) - 1
        each = np.stack([evidence.log_e for evidence in self._evidence])
        return np.asarray(last - np.argmax(each[::-1], axis=0))

    @property
    def log_e(self) -> Array:
        """Log evidence against the limit most clearly broken, corrected for there being several."""
        if not self._evidence:
            return np.zeros(self._batch)
        most = np.max([evidence.log_e for evidence in self._evidence], axis=0)
        return np.where(self.there, most - np.log(len(self._evidence)), 0.0)

    def odds(self, requests: Array, events: Sequence[Array], rows: Index | None = None) -> Array:
        """P(above a limit | this stage's counts), of the limit where that is most likely; in ``rows``, 0 elsewhere."""
        found = np.zeros(self._batch)
        for row in np.arange(self._batch) if rows is None else rows:
            if self.there[row] and requests[row] > 0:
                pairs = zip(events, self.limits, strict=True)
                found[row] = max(odds_above(float(requests[row]), float(k[row]), float(at[row])) for k, at in pairs)
        return found

    @property
    def convicts(self) -> Flags:
        """Whether the canary is above what the baseline can have been."""
        if not self._evidence:
            return np.zeros(self._batch, dtype=bool)
        threshold = float(-np.log(self.alpha) + np.log(len(self._evidence)))
        reached = np.any([evidence.reaches(threshold) for evidence in self._evidence], axis=0)
        return np.asarray(reached & self.there)


def highest(requests: Array, events: Array) -> Array:
    """The rate that a frozen baseline is taken to have had at most; NaN where it counted nothing."""
    sides = zip(requests.tolist(), events.tolist(), strict=True)
    return np.array([upper_bound(n, k) if n else np.nan for n, k in sides])
