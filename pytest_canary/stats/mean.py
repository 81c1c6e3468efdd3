"""Evidence about means (tokens, scores, and rates too frequent for the ratio of counts), from sums and squares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.normal import below, log_below
from pytest_canary.stats.ratio import FIRST, start_weights
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column, onward

BURN_IN = 50
"""Requests that each side must have before the normal approximation speaks."""
_TINY = 1e-100


class Moments(NamedTuple):
    """One side at one poll: number of values, their sum, and the sum of their squares; one per rollout."""

    number: ArrayLike
    total: ArrayLike
    squares: ArrayLike


class _Difference(Rows):
    """Sum over polls and strata of ``w * (canary mean - margin * baseline mean)``, w = nc nb / (nc + nb).

    Comparing within a poll lets what moves both sides cancel.  Keeps the pieces of its variance.
    """

    AXES = axes(sum=0, base=0, weight=0, _mine=0, _theirs=0)

    def __init__(self, margin: float, batch: int) -> None:
        self.margin = margin
        self.sum, self.base, self.weight, self._mine, self._theirs = np.zeros((5, batch))

    def add(self, canary: Array, baseline: Array) -> None:
        """Rows are number, sum and squares."""
        self.add_pieces(*_pieces(canary, baseline))

    def add_pieces(self, w: Array, mine: Array, theirs: Array, own: Array, other: Array) -> None:
        """The same, where the pieces are known: the weight, both means times it, and its square over both numbers."""
        self.sum += onward(mine - self.margin * theirs)
        self.base += onward(theirs)
        self.weight += onward(w)
        self._mine += onward(own)
        self._theirs += onward(other)

    def variance(self, mine: Array, theirs: Array) -> Array:
        return np.asarray(mine * self._mine + self.margin**2 * theirs * self._theirs)


def _pieces(canary: Array, baseline: Array) -> tuple[Array, Array, Array, Array, Array]:
    """What one poll adds to every :class:`_Difference`; rows are number, sum and squares."""
    both = (canary[0] > 0) & (baseline[0] > 0)
    nc, nb = np.where(both, canary[0], 1.0), np.where(both, baseline[0], 1.0)
    w = np.where(both, nc * nb / (nc + nb), 0.0)
    return w, w * (canary[1] / nc), w * (baseline[1] / nb), w * w / nc, w * w / nb


def _rows(side: Moments) -> Array:
    return np.stack([np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in side])


def _variance(rows: Array) -> Array:
    n = np.maximum(rows[0], 2.0)
    return np.asarray(np.maximum(rows[2] / n - (rows[1] / n) ** 2, _TINY) * n / (n - 1))


def one_sided_mixture(total: Array, variance: Array, scale: Array) -> Array:
    """Log of the one-sided normal mixture e-value of a sum with this variance (Howard et al. 2021, sec. 3.1)."""
    spread = variance + scale
    return np.asarray(
        np.log(2) + 0.5 * np.log(scale / spread) + total**2 / (2 * spread) + log_below(total / np.sqrt(spread))
    )


def mixture_at_most(total: Array, variance: Array, scale: Array) -> Array:
    """What :func:`one_sided_mixture` is at most, without the normal distribution: half of it for a sum below 0."""
    spread = variance + scale
    gained = np.where(total > 0, np.log(2) + total**2 / (2 * spread), 0.0)
    return np.asarray(0.5 * np.log(scale / spread) + gained)


class MeanEvidence(Rows):
    """Is the canary's mean higher than the baseline's, at any look; where higher is better, hand in the sides swapped.

    ``gate`` is a ratio of means above 1, or with ``additive`` a difference.  Copies start at each stage as for rates.
    Asymptotic, and so silent until each side has 50 values.  ``phi`` multiplies the variance (design effect).
    """

    AXES = axes(_phi=0, _sides=2)
    PARTS = ("_copies", "_proof")

    def __init__(
        self,
        gate: float,
        stages: int,
        batch: int = 1,
        *,
        additive: bool = False,
        phi: ArrayLike = 1.0,
        first: float = FIRST,
    ) -> None:
        self._gate, self._additive, self._batch = gate, additive, batch
        self._phi = np.maximum(column(phi, batch), 1.0)
        self._weights = np.log(start_weights(stages, first))[:, None]
        self._sides = np.zeros((2, 3, batch))
        self._copies: list[_Difference] = []
        self._proof = self._fresh_proof()

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._batch = rows.size

    def _fresh_proof(self) -> _Difference:
        return _Difference(1.0 if self._additive else self._gate, self._batch)

    def start_stage(self) -> None:
        """Begin the copy that starts at this stage, and the proof afresh."""
        if len(self._copies) < self._weights.size:
            self._copies.append(_Difference(1.0, self._batch))
        self._proof = self._fresh_proof()

    def update(self, *strata: tuple[Moments, Moments]) -> None:
        """Add one poll: canary and baseline, of all requests or of each stratum apart."""
        for mine, theirs in strata:
            sides = np.stack([_rows(mine), _rows(theirs)])
            pieces = _pieces(sides[0], sides[1])
            for difference in (*self._copies, self._proof):
                difference.add_pieces(*pieces)
            self._sides = self._sides + onward(sides, axis=2)

    @property
    def log_e(self) -> Array:
        """Log evidence of "higher at all", one per rollout."""
        return logsumexp(self._weights + self._log_copies(), axis=0)

    def reaches(self, log_threshold: float) -> Flags:
        """Where it is at least so much; looks closely only where it may be."""
        most = np.zeros((self._weights.size, self._batch))
        for index, copy in enumerate(self._copies):
            variance = copy.variance(*self._variances)
            seen = (variance > 0) & (self._sides[:, 0].min(axis=0) >= BURN_IN)
            bound = mixture_at_most(copy.sum, np.where(seen, variance, 1.0), np.where(seen, self._scale, 1.0))
            most[index] = np.where(seen, bound, 0.0)
        may = np.asarray(logsumexp(self._weights + most, axis=0) >= log_threshold - 1e-9)
        return np.asarray(may & (self.log_e >= log_threshold)) if may.any() else may

    @property
    def log_proof(self) -> Array:
        """Log evidence of "not higher than the gate allows" at this stage, one per rollout."""
        reached = self._gate * self._proof.weight if self._additive else 0.0
        return self._mixed(self._proof, reached - self._proof.sum)

    @property
    def odds(self) -> Array:
        """P(worse than the gate | data) under a normal prior around "the same", over the start points."""
        log_e, odds = self._log_copies(), np.broadcast_to(self._prior_odds, (self._weights.size, self._batch)).copy()
        for index, copy in enumerate(self._copies):
            centre, variance, seen = self._estimate(copy)
            odds[index] = np.where(seen, self._odds_of(centre, variance), odds[index])
        joint = self._weights + log_e
        return np.asarray(np.minimum((np.exp(joint - logsumexp(joint, axis=0)) * odds).sum(axis=0), 1.0))

    def interval(self, alpha: float = 0.05) -> tuple[Array, Array]:
        """Lowest and highest ratio (or difference) at the latest start that no look has ruled out."""
        copy = self._copies[-1] if self._copies else self._proof
        centre, variance, seen = self._estimate(copy)
        mine, theirs = self._variances
        spread, scale = copy.variance(mine, theirs), self._scale
        total = spread + scale
        reach = np.sqrt(np.maximum(total * (np.log(total / scale) - 2 * np.log(alpha)), 0.0))
        width = np.where(seen, reach * np.sqrt(variance / np.maximum(spread, _TINY)), np.inf)
        return centre - width, centre + width

    @property
    def _variances(self) -> tuple[Array, Array]:
        return self._phi * _variance(self._sides[0]), self._phi * _variance(self._sides[1])

    @property
    def _scale(self) -> Array:
        """Scale of the mixture that is best for a shift as large as the gate allows."""
        mine, theirs = self._variances
        mean = np.abs(self._sides[1, 1]) / np.maximum(self._sides[1, 0], 1.0)
        shift = np.full_like(mean, self._gate) if self._additive else (self._gate - 1) * mean
        return np.asarray(((mine + theirs) / 2 / np.maximum(shift, 1e-12)) ** 2)

    def _mixed(self, difference: _Difference, total: Array) -> Array:
        variance = difference.variance(*self._variances)
        seen = (variance > 0) & (self._sides[:, 0].min(axis=0) >= BURN_IN)
        log_e = one_sided_mixture(total, np.where(seen, variance, 1.0), np.where(seen, self._scale, 1.0))
        return np.where(seen, log_e, 0.0)

    def _log_copies(self) -> Array:
        silent = np.zeros((self._weights.size, self._batch))
        for index, copy in enumerate(self._copies):
            silent[index] = self._mixed(copy, copy.sum)
        return silent

    def _estimate(self, copy: _Difference) -> tuple[Array, Array, Array]:
        """Ratio (or difference), its variance, and whether there is any."""
        unit = copy.weight if self._additive else copy.base
        seen = (np.abs(unit) > 0) & (self._sides[:, 0].min(axis=0) >= BURN_IN)
        unit = np.where(seen, unit, 1.0)
        centre = copy.sum / unit + (0.0 if self._additive else 1.0)
        return centre, np.maximum(copy.variance(*self._variances) / unit**2, _TINY), seen

    @property
    def _spread(self) -> float:
        return self._gate if self._additive else self._gate - 1

    @property
    def _prior_odds(self) -> float:
        return float(below(-1.0))  # the gate lies one prior deviation above "the same"

    def _odds_of(self, centre: Array, variance: Array) -> Array:
        same, spread = 0.0 if self._additive else 1.0, self._spread**2
        narrowed = 1 / (1 / variance + 1 / spread)
        return below(((centre / variance + same / spread) * narrowed - self._gate) / np.sqrt(narrowed))


class MeanLimitEvidence(Rows):
    """Is the canary's mean above a fixed limit, at any look; hand in negated sums for "below".

    The one-sample form of :class:`MeanEvidence`; silent until there are 50 values.
    """

    AXES = axes(_limit=0, _phi=0, _rows=1)

    def __init__(self, limit: ArrayLike, batch: int = 1, *, phi: ArrayLike = 1.0) -> None:
        self._limit, self._phi = column(limit, batch), np.maximum(column(phi, batch), 1.0)
        self._rows = np.zeros((3, batch))

    def update(self, side: Moments) -> None:
        """Add one poll of the canary."""
        self._rows = self._rows + onward(_rows(side), axis=1)

    def _log(self, sign: int) -> Array:
        number, total, _ = self._rows
        variance = self._phi * _variance(self._rows)
        seen = number >= BURN_IN
        shift = np.maximum(np.abs(self._limit) * 0.2, 1e-12)
        spread = np.where(seen, variance * number, 1.0)
        log_e = one_sided_mixture(sign * (total - self._limit * number), spread, (variance / shift) ** 2 + _TINY)
        return np.where(seen, log_e, 0.0)

    @property
    def log_e(self) -> Array:
        """Log evidence of "above the limit"."""
        return self._log(+1)

    @property
    def log_proof(self) -> Array:
        """Log evidence of "below the limit"."""
        return self._log(-1)

    @property
    def odds(self) -> Array:
        """P(above the limit | data), flat prior."""
        number, total, _ = self._rows
        deviation = np.sqrt(self._phi * _variance(self._rows) / np.maximum(number, 1.0))
        centre = total / np.maximum(number, 1.0)
        return np.where(number >= BURN_IN, below((centre - self._limit) / np.maximum(deviation, _TINY)), 0.5)
