"""The baseline's last window as fixed limits, for a stage at which it no longer serves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import Array
from pytest_canary.stats.limit import LimitEvidence
from pytest_canary.stats.rate import odds_above_each, upper_bound
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column


class Frozen(Rows):
    """One limit, or several of which any may be broken; one for all rollouts or one for each, none where it is NaN.

    ``phi`` is the design effect: where counts vary so many times more than chance has it, they tell as much as so many
    times fewer would.
    """

    AXES = axes(there=0, _phi=0)
    PARTS = ("_evidence",)

    def __init__(self, limits: Sequence[ArrayLike], alpha: float, batch: int = 1, *, phi: ArrayLike = 1.0) -> None:
        self._phi = np.maximum(column(phi, batch), 1.0)
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
            evidence.update(np.asarray(requests) / self._phi, np.asarray(count) / self._phi, where)

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
        asked = np.arange(self._batch) if rows is None else rows
        asked = asked[self.there[asked] & (requests[asked] > 0)]
        phi = self._phi[asked]
        for k, at in zip(events, self.limits, strict=True) if asked.size else ():
            odds = odds_above_each(requests[asked] / phi, k[asked] / phi, at[asked])
            found[asked] = np.maximum(found[asked], odds)
        return found

    @property
    def convicts(self) -> Flags:
        """Whether the canary is above what the baseline can have been."""
        if not self._evidence:
            return np.zeros(self._batch, dtype=bool)
        threshold = float(-np.log(self.alpha) + np.log(len(self._evidence)))
        reached = np.any([evidence.reaches(threshold) for evidence in self._evidence], axis=0)
        return np.asarray(reached & self.there)


def highest(requests: Array, events: Array, phi: ArrayLike = 1.0) -> Array:
    """The rate that a frozen baseline is taken to have had at most; NaN where it counted nothing."""
    effect = np.maximum(column(phi, requests.size), 1.0)
    sides = zip((requests / effect).tolist(), (events / effect).tolist(), strict=True)
    return np.array([upper_bound(n, k) if n else np.nan for n, k in sides])
