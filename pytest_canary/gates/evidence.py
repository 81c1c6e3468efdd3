"""The statistical rules themselves, for a whole batch of rollouts at once; a live run is a batch of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_canary.gates.reading import Reading
from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.limit import LimitEvidence
from pytest_canary.stats.rate import odds_above, upper_bound
from pytest_canary.stats.ratio import Counts, RatioEvidence, RatioPosterior, Restarting

RATE_ODDS = 0.75
"""How likely "worse than the gate" must be before a rate fails."""
TAIL_ODDS = 0.85
"""The same for latency, where any of several quantiles may speak."""
TAIL_SCALE = 0.35
"""Spread of the prior for latency: how far a share of slow requests moves between builds, on the log scale."""
BROKEN = 0.2
"""A canary that fails more often than this is plainly broken."""

Flags = NDArray[np.bool_]


class Lane:
    """The catastrophe lane: stops a plainly broken canary within a handful of requests.

    Fires at ten times the evidence that alpha asks for, and only while the canary is not better than the baseline,
    so that an outage both sides share convicts nobody.
    """

    def __init__(self, alpha: float, batch: int = 1) -> None:
        self._alpha, self._batch = alpha, batch
        self.limit = BROKEN
        self._evidence = LimitEvidence(self.limit, batch)

    def expect(self, rate: float) -> None:
        """Take it that the baseline fails at ``rate``: where that is much, only twice as much is plainly broken."""
        self.limit = min(max(BROKEN, 2 * rate), 0.9)
        self._evidence = LimitEvidence(self.limit, self._batch)

    def update(self, requests: ArrayLike, events: ArrayLike) -> None:
        """Add one poll of the canary."""
        self._evidence.update(requests, events)

    @property
    def log_e(self) -> Array:
        """Log evidence of "fails more often than the limit"."""
        return self._evidence.log_e

    def fires(self, log_worse: Array | None) -> Flags:
        """Whether it stops the canary; ``log_worse`` is the evidence of "worse at all", None without a baseline."""
        broken = self.log_e >= np.log(10 / self._alpha)
        return np.asarray(broken if log_worse is None else broken & (log_worse >= -1e-9))


class RateEvidence:
    """A rate against the baseline's: fails on evidence of "worse at all" and odds on "worse than the gate"."""

    def __init__(self, alpha: float, stages: int, lane: bool = True, batch: int = 1) -> None:
        self.alpha = 0.9 * alpha if lane else alpha
        self.worse = Restarting(stages, batch)
        self.posterior = RatioPosterior(stages, batch)
        self.lane = Lane(alpha, batch) if lane else None

    def start_stage(self) -> None:
        """Begin the copies that start at this stage."""
        self.worse.start_stage()
        self.posterior.start_stage()

    def alone(self, requests: ArrayLike, events: ArrayLike) -> None:
        """Add one poll of the canary."""
        if self.lane:
            self.lane.update(requests, events)

    def compare(self, counts: Counts) -> None:
        """Add one poll of both sides."""
        self.worse.update(counts)
        self.posterior.update(counts)

    def convicts(self, odds: ArrayLike) -> Flags:
        """Whether evidence and ``odds`` of "worse than the gate" fail the canary."""
        return np.asarray((self.worse.log_e >= -np.log(self.alpha)) & (np.asarray(odds) >= RATE_ODDS))

    def broken(self, compared: bool = True) -> Flags:
        """Whether the catastrophe lane stops the canary."""
        worse = self.worse.log_e
        return self.lane.fires(worse if compared else None) if self.lane else np.zeros(worse.shape, dtype=bool)


class TailEvidence:
    """Latency from bucket counts: evidence averaged over quantiles, odds per quantile of the tail."""

    def __init__(self, alpha: float, stages: int, weights: Sequence[float], tails: int, batch: int = 1) -> None:
        self.alpha = alpha
        self._weights = np.log(np.asarray(weights) / sum(weights))[:, None]
        self._worse = [Restarting(stages, batch) for _ in weights]
        self._tails = [RatioPosterior(stages, batch) for _ in range(tails)]
        self._proofs: list[RatioEvidence] = []
        self._batch = batch

    def forget_tails(self, stages: int) -> None:
        """Begin the odds anew: the limit is at another boundary now, and counts at the old one say nothing about it."""
        self._tails = [RatioPosterior(stages, self._batch) for _ in self._tails]

    def start_stage(self) -> None:
        """Begin the copies that start at this stage, and the proof afresh."""
        for process in (*self._worse, *self._tails):
            process.start_stage()
        self._proofs = [RatioEvidence(1.0, side=-1, batch=self._batch) for _ in self._tails]

    def compare(self, levels: Sequence[Counts], tails: Sequence[Counts]) -> None:
        """Add one poll.

        ``levels`` count both sides over one boundary; ``tails`` the canary over the limit, the baseline over its own.
        """
        for process, counts in zip(self._worse, levels, strict=True):
            process.update(counts)
        for posterior, proof, counts in zip(self._tails, self._proofs, tails, strict=True):
            posterior.update(counts)
            proof.update(counts)

    @property
    def log_e(self) -> Array:
        """Log evidence of "slower at all"; a mean of e-processes is one, whatever they share."""
        return logsumexp(self._weights + np.stack([process.log_e for process in self._worse]), axis=0)

    @property
    def odds(self) -> Array:
        """P(slower than the gate | data), per tail quantile and rollout."""
        return np.stack([posterior.odds(1.0, TAIL_SCALE) for posterior in self._tails])

    @property
    def log_proofs(self) -> Array:
        """Log evidence of "not slower than the gate" at this stage, per tail quantile and rollout."""
        return np.stack([proof.log_e for proof in self._proofs])

    def convicts(self) -> Flags:
        """Whether evidence and the odds of any tail quantile fail the canary."""
        return np.asarray((self.log_e >= -np.log(self.alpha)) & (self.odds.max(axis=0) >= TAIL_ODDS))


class Frozen:
    """The baseline's last window as fixed limits, for a stage at which it no longer serves."""

    def __init__(self, limits: Sequence[float], alpha: float) -> None:
        self.limits = tuple(limits)
        self.alpha = alpha
        self._evidence = [LimitEvidence(limit) for limit in self.limits]

    def update(self, requests: float, events: Sequence[float]) -> None:
        """Add one poll of the canary: its events against each limit."""
        for evidence, count in zip(self._evidence, events, strict=True):
            evidence.update(requests, count)

    @property
    def log_e(self) -> float:
        """Log evidence against the limit most clearly broken, corrected for there being several."""
        if not self._evidence:
            return 0.0
        return max(float(evidence.log_e[0]) for evidence in self._evidence) - float(np.log(len(self._evidence)))

    def odds(self, requests: float, events: Sequence[float]) -> float:
        """P(above a limit | this stage's counts), of the limit where that is most likely."""
        return max((odds_above(requests, k, at) for k, at in zip(events, self.limits, strict=True)), default=0.0)

    @property
    def convicts(self) -> bool:
        """Whether the canary is above what the baseline can have been."""
        return bool(self.limits) and self.log_e >= -float(np.log(self.alpha))


def highest(reading: Reading, events: float | None) -> float | None:
    """The rate that a frozen baseline is taken to have had at most; None when it counted nothing."""
    return None if events is None or not reading.requests else upper_bound(reading.requests, events)
