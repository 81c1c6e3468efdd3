"""Evidence about means of which only sums and numbers are known: each batch of values is one observation.

No spread of single values is needed, so bursts within a batch are part of what a batch is seen to vary by.
The self-normalised process ``exp(k S - k^2 V / 2)``, V the sum of squares, is a supermartingale when each batch's
deviation is symmetric around its mean (de la Pena 1999; Howard et al. 2021, table 3); mixed over k as for other means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.mean import Moments, one_sided_mixture
from pytest_canary.stats.normal import below
from pytest_canary.stats.ratio import FIRST, start_weights
from pytest_canary.stats.rows import Index, Rows, axes, column, onward, polls_ahead

VALUES = 20
"""A batch is closed at the first poll at which each side has so many values: sums of fewer are not symmetric enough."""
BATCHES = 8
"""Batches before a word is said."""
_SCALE = 1.5
"""Of the mixture, in variances of one batch, besides the square of what the gate allows: best when about twenty batches
decide, whether chance or the shift itself is what batches vary by."""
_SHIFT = 0.2
"""Relative distance from a fixed limit for which the mixture is best."""
_TINY = 1e-100

Where = NDArray[np.bool_]


class _Contrast(Rows):
    """Per batch the weighted difference ``y`` of the sides and ``u``, what one unit of the gate's measure is worth."""

    AXES = axes(_phi=0, number=0, y=0, u=0, yy=0, yu=0, uu=0, scale=0)

    def __init__(self, batch: int, phi: ArrayLike = 1.0) -> None:
        self._phi = np.maximum(column(phi, batch), 1.0)
        self.number, self.y, self.u, self.yy, self.yu, self.uu, self.scale = np.zeros((7, batch))

    def tune(self, closed: Where, scale: Array) -> None:
        """Mix with this scale from the first batch on, where that is closed now."""
        first = closed & (self.number == 0)
        if polls_ahead() and first.any():
            at = int(np.argmax(first))
            first, scale = np.arange(first.size) >= at, np.full_like(scale, scale[at])
        self.scale = np.where(first, scale, self.scale)

    def add(self, y: Array, u: Array, closed: Where) -> None:
        """Take in one batch where it is closed."""
        y, u = np.where(closed, y, 0.0), np.where(closed, u, 0.0)
        self.number, self.y, self.u = self.number + onward(closed), self.y + onward(y), self.u + onward(u)
        self.yy, self.yu, self.uu = self.yy + onward(y * y), self.yu + onward(y * u), self.uu + onward(u * u)

    def log_e(self, sign: int) -> Array:
        """Log evidence of "the sum of ``sign * y`` is above 0"."""
        seen = (self.number >= BATCHES) & (self.yy > 0)
        scale = np.where(seen, np.maximum(self.scale, _TINY), 1.0)
        return np.where(seen, one_sided_mixture(sign * self.y, self._phi * np.where(seen, self.yy, 1.0), scale), 0.0)

    def estimate(self) -> tuple[Array, Array, Where]:
        """How much of ``u`` is in ``y``, the variance of that, and whether there is any."""
        seen = (self.number >= BATCHES) & (np.abs(self.u) > 0)
        u = np.where(seen, self.u, 1.0)
        share = np.where(seen, self.y / u, 0.0)
        residual = self._phi * (self.yy - 2 * share * self.yu + share**2 * self.uu)
        few = self.number / np.maximum(self.number - 3, 1.0)  # a variance of few batches is itself uncertain (Student)
        return share, np.asarray(np.maximum(few * residual / u**2, _TINY)), np.asarray(seen)


class _Collector(Rows):
    """Adds polls up until both sides have enough values for a batch."""

    AXES = axes(difference=0, base=0, weight=0, _canary=0, _baseline=0)

    def __init__(self, batch: int) -> None:
        self._begin(batch)

    def _begin(self, batch: int) -> None:
        self.difference, self.base, self.weight, self._canary, self._baseline = np.zeros((5, batch))

    def reset(self) -> None:
        self._begin(self.weight.size)

    def add(self, strata: Sequence[tuple[Moments, Moments]]) -> None:
        """Sum over strata of ``w (canary mean - baseline mean)``, of ``w baseline mean`` and of w = nc nb / (nc+nb)."""
        for mine, theirs in strata:
            (nc, sc), (nb, sb) = _side(mine), _side(theirs)
            both = (nc > 0) & (nb > 0)
            nc, nb = np.where(both, nc, 1.0), np.where(both, nb, 1.0)
            w = np.where(both, nc * nb / (nc + nb), 0.0)
            self._take(w * (sc / nc - sb / nb), w * sb / nb, w, both * nc, both * nb)
        if polls_ahead():
            self._apart()

    def _take(self, *amounts: Array) -> None:
        for name, amount in zip(self.AXES, amounts, strict=True):
            setattr(self, name, getattr(self, name) + onward(amount))

    def _apart(self) -> None:
        """Of successive polls, let each know what has come in since the last batch was closed."""
        each = _since_closed([getattr(self, name) for name in self.AXES], (self._canary, self._baseline))
        for name, values in zip(self.AXES, each, strict=True):
            setattr(self, name, values)

    @property
    def full(self) -> Where:
        """Where a batch is complete."""
        return np.asarray((self._canary >= VALUES) & (self._baseline >= VALUES))

    def close(self, closed: Where) -> None:
        """Begin the next batch where this one is complete."""
        for name in ("difference", "base", "weight", "_canary", "_baseline"):
            setattr(self, name, np.where(closed, 0.0, getattr(self, name)))


def _since_closed(columns: Sequence[Array], numbers: Sequence[Array]) -> list[Array]:
    """What successive polls have added up since the batch before was closed, once each of ``numbers`` was enough."""
    begun, closed = [0.0] * len(numbers), list[int]()
    for at, counted in enumerate(zip(*(each.tolist() for each in numbers), strict=True)):
        if all(one - before >= VALUES for one, before in zip(counted, begun, strict=True)):
            begun = list(counted)
            closed.append(at)
    before = np.searchsorted(closed, np.arange(numbers[0].size)) - 1  # a batch holds the poll that closes it
    last = np.array([*closed, 0])[before]
    return [values - np.where(before >= 0, values[last], 0.0) for values in columns]


def _side(side: Moments) -> tuple[Array, Array]:
    number, total = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in side[:2])
    return number, total


class BatchEvidence(Rows):
    """:class:`~pytest_canary.stats.mean.MeanEvidence` from sums and numbers alone; the squares handed in are not used.

    ``spread`` is the variance of a single value as the baseline's batches show it, only to choose how the evidence is
    mixed, which no promise depends on.  ``phi`` multiplies what batches vary by (design effect).
    """

    AXES = axes(_phi=0, _spread_of_one=0)
    PARTS = ("_copies", "_proof", "_open")

    def __init__(
        self, gate: float, stages: int, batch: int = 1, *, additive: bool = False, phi: ArrayLike = 1.0,
        first: float = FIRST, spread: ArrayLike = 0.0,
    ) -> None:  # fmt: skip
        self._gate, self._additive, self._phi, self._batch = gate, additive, column(phi, batch), batch
        self._spread_of_one = column(spread, batch)
        self._weights = np.log(start_weights(stages, first))[:, None]
        self._copies: list[_Contrast] = []
        self._proof, self._open = _Contrast(batch, phi), _Collector(batch)

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._batch = rows.size

    def start_stage(self) -> None:
        """Begin the copy that starts at this stage, and the proof afresh; half a batch of another split is let go."""
        if len(self._copies) < self._weights.size:
            self._copies.append(_Contrast(self._batch, self._phi))
        self._proof = _Contrast(self._batch, self._phi)
        self._open.reset()

    def update(self, *strata: tuple[Moments, Moments]) -> None:
        """Add one poll: canary and baseline, of all requests or of each stratum apart."""
        self._open.add(strata)
        closed = self._open.full
        if not closed.any():
            return
        one = self._open
        unit = one.weight if self._additive else one.base
        for copy in self._copies:
            self._tune(copy, closed)
            copy.add(one.difference, unit, closed)
        self._tune(self._proof, closed)
        gap = self._gate * one.weight if self._additive else (self._gate - 1) * one.base
        self._proof.add(one.difference - gap, unit, closed)
        self._open.close(closed)

    def _tune(self, contrast: _Contrast, closed: Where) -> None:
        """Choose the mixture's scale at the first batch, from how many values are in it and not from what they are."""
        weight = self._open.weight
        mean = np.abs(self._open.base) / np.maximum(weight, _TINY)
        variance = np.where(self._spread_of_one > 0, self._spread_of_one, mean**2)
        shift = np.full_like(mean, self._gate) if self._additive else (self._gate - 1) * mean
        scale = _SCALE * weight * variance + (weight * shift) ** 2
        contrast.tune(closed, np.maximum(scale, _TINY))

    @property
    def log_e(self) -> Array:
        """Log evidence of "higher at all", one per rollout."""
        return logsumexp(self._weights + self._log_copies(), axis=0)

    def reaches(self, log_threshold: float) -> Where:
        """Where it is at least so much."""
        if not self.speaks.any():
            return np.zeros(self._batch, dtype=bool)
        return np.asarray(self.log_e >= log_threshold)

    @property
    def speaks(self) -> Where:
        """Whether there are batches enough for any word."""
        numbers = [copy.number for copy in self._copies] or [np.zeros(self._batch)]
        return np.asarray(np.max(numbers, axis=0) >= BATCHES)

    @property
    def log_proof(self) -> Array:
        """Log evidence of "not higher than the gate allows" at this stage, one per rollout."""
        return self._proof.log_e(-1)

    @property
    def odds(self) -> Array:
        """P(worse than the gate | data) under a normal prior around "the same", over the start points."""
        reach = self._gate if self._additive else self._gate - 1
        odds = np.broadcast_to(below(-1.0), (self._weights.size, self._batch)).copy()
        for index, copy in enumerate(self._copies):
            share, variance, seen = copy.estimate()
            narrowed = 1 / (1 / variance + 1 / reach**2)
            odds[index] = np.where(seen, below((share / variance * narrowed - reach) / np.sqrt(narrowed)), odds[index])
        joint = self._weights + self._log_copies()
        return np.asarray(np.minimum((np.exp(joint - logsumexp(joint, axis=0)) * odds).sum(axis=0), 1.0))

    def interval(self, alpha: float = 0.05) -> tuple[Array, Array]:
        """Lowest and highest ratio (or difference) at the latest start that no look has ruled out, about."""
        share, variance, seen = (self._copies[-1] if self._copies else self._proof).estimate()
        looks = 1 + (self._copies[-1].number if self._copies else self._proof.number) / _SCALE
        width = np.where(seen, np.sqrt(variance * (np.log(looks) - 2 * np.log(alpha))), np.inf)
        centre = share + (0.0 if self._additive else 1.0)
        return centre - width, centre + width

    def _log_copies(self) -> Array:
        silent = np.zeros((self._weights.size, self._batch))
        for index, copy in enumerate(self._copies):
            silent[index] = copy.log_e(+1)
        return silent


class BatchLimitEvidence(Rows):
    """:class:`~pytest_canary.stats.mean.MeanLimitEvidence` from sums and numbers alone; "below": negated sums."""

    AXES = axes(_limit=0, _spread=0, _number=0, _total=0)
    PARTS = ("_contrast",)

    def __init__(self, limit: ArrayLike, batch: int = 1, *, phi: ArrayLike = 1.0, spread: ArrayLike = 0.0) -> None:
        self._limit, self._spread = column(limit, batch), column(spread, batch)
        self._contrast, self._number, self._total = _Contrast(batch, phi), np.zeros(batch), np.zeros(batch)

    def update(self, side: Moments) -> None:
        """Add one poll of the canary."""
        number, total = _side(side)
        self._number, self._total = self._number + onward(number), self._total + onward(total)
        if polls_ahead():
            self._number, self._total = _since_closed([self._number, self._total], [self._number])
        closed = self._number >= VALUES
        if not closed.any():
            return
        variance = np.where(self._spread > 0, self._spread, self._limit**2)
        scale = _SCALE * self._number * variance + (self._number * self._limit * _SHIFT) ** 2 + _TINY
        self._contrast.tune(closed, scale)
        excess = self._total - self._limit * self._number
        self._contrast.add(excess, self._number, closed)
        self._number, self._total = np.where(closed, 0.0, self._number), np.where(closed, 0.0, self._total)

    @property
    def log_e(self) -> Array:
        """Log evidence of "above the limit"."""
        return self._contrast.log_e(+1)

    @property
    def log_proof(self) -> Array:
        """Log evidence of "below the limit"."""
        return self._contrast.log_e(-1)

    @property
    def odds(self) -> Array:
        """P(above the limit | data), flat prior."""
        excess, variance, seen = self._contrast.estimate()
        return np.where(seen, below(excess / np.sqrt(variance)), 0.5)


class Spread(Rows):
    """Variance of a single value, from how the means of a series of polls differ (pooled, K-1 degrees of freedom)."""

    AXES = axes(_polls=0, _number=0, _total=0, _squares=0)

    def __init__(self, batch: int = 1) -> None:
        self._polls, self._number, self._total, self._squares = np.zeros((4, batch))

    def add(self, number: ArrayLike, total: ArrayLike) -> None:
        """Take in one poll."""
        n, t = column(number, self._polls.size), column(total, self._polls.size)
        some = n > 0
        n, t = np.where(some, n, 0.0), np.where(some, t, 0.0)
        self._polls, self._number = self._polls + onward(some), self._number + onward(n)
        self._total, self._squares = self._total + onward(t), self._squares + onward(t**2 / np.where(some, n, 1.0))

    @property
    def variance(self) -> Array:
        """One per rollout; 0 while there are fewer than three polls."""
        enough = self._polls >= 3
        number = np.where(self._number > 0, self._number, 1.0)
        found = np.maximum(self._squares - self._total**2 / number, 0.0) / np.maximum(self._polls - 1, 1.0)
        return np.where(enough, found, 0.0)
