"""The statistical rules themselves, for a whole batch of rollouts at once; a live run is a batch of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.gates.guarded import Care, GuardedEvidence, proof_of
from pytest_canary.gates.lane import Lane
from pytest_canary.gates.values import Levels
from pytest_canary.stats.burst import WORTH
from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.ratio import Counts, RatioEvidence, RatioPosterior
from pytest_canary.stats.rows import Flags, Index, Rows, column, repeated, stacked, wide

TAIL_SCALE = 0.35
"""Spread of the prior for latency: how far a share of slow requests moves between builds, on the log scale."""

DEFAULT = Levels()

Strata = Counts | Sequence[Counts]
"""Counts of all requests, or of each stratum apart."""

OddsAt = Callable[[Index], Array]
"""P(worse than the gate | data) in some of the rollouts."""


def _each(strata: Strata) -> Sequence[Counts]:
    return (strata,) if isinstance(strata, Counts) else strata


class RateEvidence(Rows):
    """A rate against the baseline's: fails on evidence of "worse at all" and odds on "worse than the gate"."""

    PARTS = ("worse", "posterior", "proof", "lane")

    def __init__(
        self,
        alpha: float,
        stages: int,
        lane: bool = True,
        batch: int = 1,
        *,
        levels: Levels = DEFAULT,
        phi: float = 1.0,
    ) -> None:
        self.alpha = 0.9 * alpha if lane else alpha
        self._levels, self._care = levels, Care(levels, phi, stages, batch)
        self._log_alpha = float(np.log(self.alpha))
        self.worse = GuardedEvidence(self._care)
        self.posterior = RatioPosterior(stages, batch, phi, levels.first)
        self.proof: RatioEvidence = proof_of(1.0, self._care)
        self.lane = Lane(alpha, batch) if lane else None

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._care = self._care.of(rows.size)

    def normal(self, requests: ArrayLike, events: ArrayLike, where: Flags | None = None) -> None:
        """Add one poll of the baseline from before the ramp."""
        self.worse.normal(requests, events, where)

    def start_stage(self, margin: float = 1.0, hold_seconds: float = np.inf) -> None:
        """Begin the copies that start at this stage, and the proof of "not ``margin`` times worse" afresh."""
        self.worse.start_stage(hold_seconds)
        self.posterior.start_stage()
        self.proof = proof_of(margin, self._care)

    def alone(self, requests: ArrayLike, events: ArrayLike, where: Flags | None = None) -> None:
        """Add one poll of the canary."""
        if self.lane:
            self.lane.update(requests, events, where)

    def compare(self, strata: Strata, at: ArrayLike = 0.0, guard: ArrayLike = True, where: Flags | None = None) -> None:
        """Add one poll of both sides, which ended at ``at`` s; no ``guard`` where replicas look out for bursts.

        Elsewhere than ``where`` nothing is to have been counted.
        """
        counts = _each(strata)
        self.worse.compare(*counts, at=at, guard=guard, where=where)
        self.posterior.update(*counts)
        self.proof.update(*counts)

    def harmful(self) -> Flags:
        """Whether there is evidence of "worse at all" at level alpha."""
        return self.worse.reaches(-self._log_alpha)

    def convicts(self, odds: ArrayLike) -> Flags:
        """Whether evidence and ``odds`` of "worse than the gate" fail the canary."""
        return np.asarray(self.harmful() & (np.asarray(odds) >= self._levels.odds))

    def convicts_at(self, odds: OddsAt) -> Flags:
        """The same; odds are asked for only where there is evidence."""
        return convicted(self.harmful(), odds, self._levels.odds)

    def broken(self, compared: ArrayLike = True, agreed: ArrayLike = True) -> Flags:
        """Whether the catastrophe lane stops the canary, ``compared`` with a baseline or by its own counts alone.

        Where the baseline's own errors come in bursts, one burst must not do it: then it takes two windows of
        evidence, and what the replicas say (``agreed``).
        """
        broken = self.lane.broken if self.lane else np.zeros(self.worse.clumped.shape, dtype=bool)
        if not broken.any():
            return broken
        assert self.lane is not None
        worse = self.worse.log_e
        lasting = np.asarray(agreed) & (worse >= 2 * np.log(WORTH))
        spared = self.worse.clumped & ~lasting & np.asarray(compared)
        return np.asarray(self.lane.fires(np.where(compared, worse, 0.0)) & ~spared)


def convicted(harmful: Flags, odds: OddsAt, level: float) -> Flags:
    """Where there is evidence of harm, and odds of at least ``level`` that it is more than is allowed."""
    if not harmful.any():
        return harmful
    found, rows = harmful.copy(), np.flatnonzero(harmful)
    found[rows] = odds(rows) >= level
    return found


class TailEvidence(Rows):
    """Latency from bucket counts: evidence averaged over quantiles, odds per quantile of the tail.

    The processes of all quantiles are kept as one whose batch is so many times as wide.
    """

    def __init__(
        self,
        alpha: float,
        stages: int,
        weights: Sequence[float],
        tails: int,
        batch: int = 1,
        *,
        levels: Levels = DEFAULT,
        phi: ArrayLike = 1.0,
    ) -> None:
        self.alpha, self.levels = alpha, levels
        self._log_alpha = float(np.log(alpha))
        self._care = Care(levels, phi, stages, batch)
        self._weights = np.log(np.asarray(weights) / sum(weights))[:, None]
        self._worse = GuardedEvidence(self._care.times(len(weights)))
        self._number = tails
        self._tails = self._posterior(stages)
        self._proofs: RatioEvidence | None = None

    def _posterior(self, stages: int) -> RatioPosterior:
        care = self._care.times(self._number)
        return RatioPosterior(stages, care.batch, care.phi, self.levels.first)

    def keep(self, rows: Index) -> None:
        self._worse.keep(wide(rows, self._care.batch, len(self._weights)))
        self._tails.keep(wide(rows, self._care.batch, self._number))
        if self._proofs is not None:
            self._proofs.keep(wide(rows, self._care.batch, self._number))
        phi = self._care.phi
        self._care = self._care.of(rows.size, phi if np.ndim(phi) == 0 else np.asarray(phi)[rows])

    def normal(self, requests: ArrayLike, slow: Sequence[ArrayLike], where: Flags | None = None) -> None:
        """Add one poll of the baseline from before the ramp: its requests over each level's boundary."""
        width, batch = len(self._weights), self._care.batch
        both = stacked([requests] * width, batch), stacked(slow, batch)
        self._worse.normal(*both, self._wide(where))

    def _wide(self, where: Flags | None) -> Flags | None:
        return None if where is None else np.tile(where, len(self._weights))

    def forget_tails(self, stages: int) -> None:
        """Begin the odds anew: the limit is at another boundary now, and counts at the old one say nothing about it."""
        self._tails = self._posterior(stages)

    def start_stage(self, hold_seconds: float = np.inf) -> None:
        """Begin the copies that start at this stage, and the proof afresh."""
        self._worse.start_stage(hold_seconds)
        self._tails.start_stage()
        self._proofs = proof_of(1.0, self._care.times(self._number))

    def compare(
        self,
        levels: Sequence[Strata],
        tails: Sequence[Strata],
        at: ArrayLike = 0.0,
        proofs: Sequence[Strata] | None = None,
        guard: ArrayLike = True,
        where: Flags | None = None,
    ) -> None:
        """Add one poll, which ended at ``at`` seconds.

        ``levels`` count both sides over one boundary; ``tails`` the canary over the limit, the baseline over its own;
        ``proofs`` the same at the limit that this stage must prove, where that is another.  Elsewhere than ``where``
        nothing is to have been counted.
        """
        wide_tails = self._as_one(tails)
        self.compare_wide(
            self._as_one(levels), wide_tails, wide_tails if proofs is None else self._as_one(proofs), at, guard, where
        )

    def _as_one(self, each: Sequence[Strata]) -> list[Counts]:
        """Counts at several boundaries as those of one process that is so many times as wide; one per stratum."""
        batch, strata = self._care.batch, zip(*(_each(one) for one in each), strict=True)
        return [Counts(*(stacked(parts, batch) for parts in zip(*one, strict=True))) for one in strata]

    def compare_wide(
        self,
        levels: Sequence[Counts],
        tails: Sequence[Counts],
        proofs: Sequence[Counts],
        at: ArrayLike,
        guard: ArrayLike,
        where: Flags | None,
    ) -> None:
        """The same, with the counts of all boundaries one after the other."""
        width, batch = len(self._weights), self._care.batch
        ended, guarded = (repeated(column(each, batch), width) for each in (at, guard))
        self._worse.compare(*levels, at=ended, guard=guarded > 0, where=self._wide(where))
        self._tails.update(*tails)
        if self._proofs is not None:
            self._proofs.update(*proofs)

    @property
    def log_e(self) -> Array:
        """Log evidence of "slower at all"; a mean of e-processes is one, whatever they share."""
        return self._mean(self._worse.log_e)

    def log_e_at(self, rows: Index) -> Array:
        """The same in these rollouts."""
        return self._mean(self._worse.log_e_at(wide(rows, self._care.batch, len(self._weights))))

    def _mean(self, each: Array) -> Array:
        return logsumexp(self._weights + each.reshape(len(self._weights), -1), axis=0)

    @property
    def odds(self) -> Array:
        """P(slower than the gate | data), per tail quantile and rollout."""
        return self._tails.odds(1.0, TAIL_SCALE).reshape(self._number, -1)

    def odds_at(self, rows: Index) -> Array:
        """The same in these rollouts."""
        found = self._tails.odds_at(wide(rows, self._care.batch, self._number), 1.0, TAIL_SCALE)
        return found.reshape(self._number, -1)

    def interval(self, tail: int) -> tuple[Array, Array]:
        """How many times as many requests lie beyond the limit of one tail quantile: lowest and highest."""
        low, high = self._tails.interval()
        return low.reshape(self._number, -1)[tail], high.reshape(self._number, -1)[tail]

    @property
    def log_proofs(self) -> Array:
        """Log evidence of "not slower than the gate" at this stage, per tail quantile and rollout."""
        return self.log_proofs_at(np.arange(self._care.batch))

    def log_proofs_at(self, rows: Index) -> Array:
        """The same in these rollouts."""
        if self._proofs is None:
            return np.zeros((self._number, rows.size))
        return self._proofs.log_e_at(wide(rows, self._care.batch, self._number)).reshape(self._number, -1)

    def harmful(self) -> Flags:
        """Whether there is evidence of "slower at all" at level alpha: then some quantile has as much by itself."""
        reached = self._worse.reaches(-self._log_alpha).reshape(len(self._weights), -1)
        any_has: Flags = np.logical_or.reduce(reached, axis=0)
        if any_has.any():
            rows = np.flatnonzero(any_has)
            any_has[rows] = self.log_e_at(rows) >= -self._log_alpha
        return any_has

    def convicts(self) -> Flags:
        """Whether evidence and the odds of any tail quantile fail the canary."""
        return convicted(self.harmful(), lambda rows: self.odds_at(rows).max(axis=0), self.levels.tail_odds)
