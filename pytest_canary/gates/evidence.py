"""The statistical rules themselves, for a whole batch of rollouts at once; a live run is a batch of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.gates.guarded import Care, Flags, GuardedEvidence, proof_of
from pytest_canary.gates.lane import Lane
from pytest_canary.gates.values import Levels
from pytest_canary.stats.burst import WORTH
from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.ratio import Counts, RatioEvidence, RatioPosterior

TAIL_SCALE = 0.35
"""Spread of the prior for latency: how far a share of slow requests moves between builds, on the log scale."""

DEFAULT = Levels()

Strata = Counts | Sequence[Counts]
"""Counts of all requests, or of each stratum apart."""


def _each(strata: Strata) -> Iterable[Counts]:
    return (strata,) if isinstance(strata, Counts) else strata


class RateEvidence:
    """A rate against the baseline's: fails on evidence of "worse at all" and odds on "worse than the gate"."""

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
        self.worse = GuardedEvidence(self._care)
        self.posterior = RatioPosterior(stages, batch, phi, levels.first)
        self.proof: RatioEvidence = proof_of(1.0, self._care)
        self.lane = Lane(alpha, batch) if lane else None

    def normal(self, requests: ArrayLike, events: ArrayLike) -> None:
        """Add one poll of the baseline from before the ramp."""
        self.worse.normal(requests, events)

    def start_stage(self, margin: float = 1.0, hold_seconds: float = np.inf) -> None:
        """Begin the copies that start at this stage, and the proof of "not ``margin`` times worse" afresh."""
        self.worse.start_stage(hold_seconds)
        self.posterior.start_stage()
        self.proof = proof_of(margin, self._care)

    def alone(self, requests: ArrayLike, events: ArrayLike) -> None:
        """Add one poll of the canary."""
        if self.lane:
            self.lane.update(requests, events)

    def compare(self, strata: Strata, at: float = 0.0, guard: bool = True) -> None:
        """Add one poll of both sides, which ended at ``at`` s; no ``guard`` where replicas look out for bursts."""
        counts = tuple(_each(strata))
        self.worse.compare(*counts, at=at, guard=guard)
        self.posterior.update(*counts)
        self.proof.update(*counts)

    def harmful(self) -> Flags:
        """Whether there is evidence of "worse at all" at level alpha."""
        return np.asarray(self.worse.log_e >= -np.log(self.alpha))

    def convicts(self, odds: ArrayLike) -> Flags:
        """Whether evidence and ``odds`` of "worse than the gate" fail the canary."""
        return np.asarray(self.harmful() & (np.asarray(odds) >= self._levels.odds))

    def broken(self, compared: bool = True, agreed: ArrayLike = True) -> Flags:
        """Whether the catastrophe lane stops the canary.

        Where the baseline's own errors come in bursts, one burst must not do it: then it takes two windows of
        evidence, and what the replicas say (``agreed``).
        """
        worse = self.worse.log_e
        if self.lane is None:
            return np.zeros(worse.shape, dtype=bool)
        lasting = np.asarray(agreed) & (worse >= 2 * np.log(WORTH))
        spared = self.worse.clumped & ~lasting & compared
        return np.asarray(self.lane.fires(worse if compared else None) & ~spared)


class TailEvidence:
    """Latency from bucket counts: evidence averaged over quantiles, odds per quantile of the tail."""

    def __init__(
        self,
        alpha: float,
        stages: int,
        weights: Sequence[float],
        tails: int,
        batch: int = 1,
        *,
        levels: Levels = DEFAULT,
        phi: float = 1.0,
    ) -> None:
        self.alpha, self.levels = alpha, levels
        self._care = Care(levels, phi, stages, batch)
        self._weights = np.log(np.asarray(weights) / sum(weights))[:, None]
        self._worse = [GuardedEvidence(self._care) for _ in weights]
        self._tails = [self._posterior(stages) for _ in range(tails)]
        self._proofs: list[RatioEvidence] = []

    def _posterior(self, stages: int) -> RatioPosterior:
        return RatioPosterior(stages, self._care.batch, self._care.phi, self.levels.first)

    def normal(self, requests: ArrayLike, slow: Sequence[ArrayLike]) -> None:
        """Add one poll of the baseline from before the ramp: its requests over each level's boundary."""
        for process, events in zip(self._worse, slow, strict=True):
            process.normal(requests, events)

    def forget_tails(self, stages: int) -> None:
        """Begin the odds anew: the limit is at another boundary now, and counts at the old one say nothing about it."""
        self._tails = [self._posterior(stages) for _ in self._tails]

    def start_stage(self, hold_seconds: float = np.inf) -> None:
        """Begin the copies that start at this stage, and the proof afresh."""
        for process in self._worse:
            process.start_stage(hold_seconds)
        for posterior in self._tails:
            posterior.start_stage()
        self._proofs = [proof_of(1.0, self._care) for _ in self._tails]

    def compare(
        self,
        levels: Sequence[Strata],
        tails: Sequence[Strata],
        at: float = 0.0,
        proofs: Sequence[Strata] | None = None,
        guard: bool = True,
    ) -> None:
        """Add one poll, which ended at ``at`` seconds.

        ``levels`` count both sides over one boundary; ``tails`` the canary over the limit, the baseline over its own;
        ``proofs`` the same at the limit that this stage must prove, where that is another.
        """
        for process, strata in zip(self._worse, levels, strict=True):
            process.compare(*_each(strata), at=at, guard=guard)
        for posterior, strata in zip(self._tails, tails, strict=True):
            posterior.update(*_each(strata))
        for proof, strata in zip(self._proofs, tails if proofs is None else proofs, strict=True):
            proof.update(*_each(strata))

    @property
    def log_e(self) -> Array:
        """Log evidence of "slower at all"; a mean of e-processes is one, whatever they share."""
        return logsumexp(self._weights + np.stack([process.log_e for process in self._worse]), axis=0)

    @property
    def odds(self) -> Array:
        """P(slower than the gate | data), per tail quantile and rollout."""
        return np.stack([posterior.odds(1.0, TAIL_SCALE) for posterior in self._tails])

    def interval(self, tail: int) -> tuple[Array, Array]:
        """How many times as many requests lie beyond the limit of one tail quantile: lowest and highest."""
        return self._tails[tail].interval()

    @property
    def log_proofs(self) -> Array:
        """Log evidence of "not slower than the gate" at this stage, per tail quantile and rollout."""
        return np.stack([proof.log_e for proof in self._proofs])

    def harmful(self) -> Flags:
        """Whether there is evidence of "slower at all" at level alpha."""
        return np.asarray(self.log_e >= -np.log(self.alpha))

    def convicts(self) -> Flags:
        """Whether evidence and the odds of any tail quantile fail the canary."""
        return np.asarray(self.harmful() & (self.odds.max(axis=0) >= self.levels.tail_odds))
