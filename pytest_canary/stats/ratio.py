"""Evidence about the ratio of two event rates, exact at every look and for any split of the traffic."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_canary.stats.grid import (
    LOG_RATIOS,
    RATIOS,
    Array,
    around_one,
    logsumexp,
    not_worse_than,
    worse_than,
)

FIRST = 0.8
"""Weight of the evidence that starts with the rollout; the copies that start at later stages share the rest."""


class Counts(NamedTuple):
    """What one poll adds: requests and events of the canary, requests and events of the baseline; one per rollout."""

    requests: ArrayLike
    events: ArrayLike
    base_requests: ArrayLike
    base_events: ArrayLike


def log_likelihood(counts: Counts, ratios: Array = RATIOS) -> Array:
    """Partial log-likelihood of each ratio, relative to ratio 1, shape (batch, ratios).

    Given the events of a poll, each is the canary's with odds ``ratio * canary requests : baseline requests``, so the
    baseline's own rate drops out and may move.  Zero where one side has no requests.
    """
    nc, ec, nb, eb = (np.atleast_1d(np.asarray(values, dtype=np.float64))[:, None] for values in counts)
    both = (nc > 0) & (nb > 0)
    share = np.where(both, nc / np.where(both, nc + nb, 1.0), 0.0)
    mine = np.where(both, ec, 0.0)
    return np.asarray(mine * np.log(ratios) - (mine + np.where(both, eb, 0.0)) * np.log1p(share * (ratios - 1.0)))


def start_weights(stages: int, first: float = FIRST) -> Array:
    """How much each start point counts: the rollout's own ``first``, each later stage the same."""
    if stages <= 1:
        return np.ones(1)
    return np.append(first, np.full(stages - 1, (1 - first) / (stages - 1)))


class _Windowed:
    """Weighted copies of an e-process, begun at different stages, whose gain within a window of time may be capped.

    ``min(e, cap)`` of a window's factor is still an e-value, so a cap costs speed and never the guarantee.
    """

    def __init__(self, prior: Array, r0: float, weights: Array, batch: int, phi: float) -> None:
        self._weights, self._r0, self._phi = np.log(weights)[:, None], np.array([r0]), max(phi, 1.0)
        self._posterior = np.broadcast_to(prior, (weights.size, batch, RATIOS.size)).copy()
        self._banked = np.zeros((weights.size, batch))
        self._window = np.zeros((batch, RATIOS.size))
        self._begun = 0
        self._known: Array | None = None
        self.log_cap: Array = np.full(batch, np.inf)
        """The most that the open window may add to the log evidence, one per rollout; set it before the counts come."""

    def update(self, *strata: Counts) -> None:
        """Add one poll: counts of all requests, or of each stratum apart."""
        self._known = None
        for counts in strata:
            gained = log_likelihood(counts)
            if self._r0[0] != 1.0:  # at ratio 1 the likelihood is 1
                gained = gained - log_likelihood(counts, self._r0)
            self._window += gained / self._phi

    def close_window(self, which: NDArray[np.bool_] | None = None) -> None:
        """Bank what the window has gained, and begin another; in all rollouts, or in those of ``which``."""
        self._known = None
        closed = np.ones(self._window.shape[0], dtype=bool) if which is None else which
        gained, begun = logsumexp(self._posterior + self._window), slice(0, self._begun)
        self._banked[begun] += np.where(closed, np.minimum(gained, self.log_cap), 0.0)[begun]
        self._posterior[begun] += np.where(closed[:, None], self._window - gained[..., None], 0.0)[begun]
        self._window = np.where(closed[:, None], 0.0, self._window)

    @property
    def log_e(self) -> Array:
        """Log evidence, one per rollout; ``log(1/alpha)`` convicts at level alpha."""
        if self._known is None:
            copies = self._banked.copy()
            begun = slice(0, self._begun)
            copies[begun] += np.minimum(logsumexp(self._posterior[begun] + self._window), self.log_cap)
            self._known = logsumexp(self._weights + copies, axis=0)
        return self._known


class RatioEvidence(_Windowed):
    """E-process against "canary rate <= r0 * baseline rate" (side +1) or against ">=" (side -1).

    P(it ever reaches 1/alpha) <= alpha while that holds: each poll's factor has mean at most 1 because
    (1 + p(a-1))^n <= exp(np(a-1)).  Exact for independent requests, any split, a baseline rate that moves.
    ``phi`` divides all log-likelihoods: the design effect of requests that are not independent.
    """

    def __init__(self, r0: float = 1.0, side: int = +1, batch: int = 1, phi: float = 1.0) -> None:
        super().__init__(worse_than(r0) if side > 0 else not_worse_than(r0), r0, np.ones(1), batch, phi)
        self._begun = 1


class Restarting(_Windowed):
    """E-process against "the canary is not worse" that also starts afresh at each stage.

    A weighted mean of e-processes is one, so nothing is split between stages, and harm that begins late is not
    outweighed by a good past.
    """

    def __init__(self, stages: int, batch: int = 1, phi: float = 1.0, first: float = FIRST) -> None:
        super().__init__(worse_than(1.0), 1.0, start_weights(stages, first), batch, phi)

    def start_stage(self) -> None:
        """Begin a copy that has seen nothing; beyond the planned stages the copies there are go on."""
        self.close_window()
        self._known = None
        self._begun = min(self._begun + 1, self._weights.size)


class RatioPosterior:
    """P(ratio > gate | data) under a Laplace prior around "the same build", over the same start points."""

    def __init__(self, stages: int, batch: int = 1, phi: float = 1.0, first: float = FIRST) -> None:
        self._weights = np.log(start_weights(stages, first))
        self._total = np.zeros((batch, RATIOS.size))
        self._starts: list[Array] = []
        self._phi = max(phi, 1.0)
        self._known: dict[tuple[float, float], Array] = {}

    def start_stage(self) -> None:
        """Begin a copy that has seen nothing; beyond the planned stages the copies there are go on."""
        self._known.clear()
        if len(self._starts) < self._weights.size:
            self._starts.append(self._total.copy())

    def update(self, *strata: Counts) -> None:
        """Add one poll to every copy."""
        self._known.clear()
        for counts in strata:
            self._total += log_likelihood(counts) / self._phi

    def _over_starts(self, prior: Array) -> Array:
        """Log of weight * prior * likelihood, shape (start, batch, ratios); a copy not begun has seen nothing."""
        nothing = np.zeros_like(self._total)
        seen = [self._total - start for start in self._starts]
        seen += [nothing] * (self._weights.size - len(seen))
        return np.asarray(self._weights[:, None, None] + prior + np.stack(seen))

    def odds(self, gate: float, scale: float | None = None) -> Array:
        """Probability, one per rollout.

        ``scale`` of the prior on log r; by default .86 log(gate), which puts .15 of it above the gate.
        """
        scale = scale or 0.86 * log(max(gate, 1.02))
        if (gate, scale) not in self._known:
            self._known[gate, scale] = self._odds(gate, scale)
        return self._known[gate, scale]

    def _odds(self, gate: float, scale: float) -> Array:
        joint = self._over_starts(around_one(scale))
        mass = np.exp(joint - joint.max(axis=(0, 2), keepdims=True)).sum(axis=0)
        return np.asarray(np.minimum(mass[:, gate * 1.0001 < RATIOS].sum(axis=1) / mass.sum(axis=1), 1.0))

    def interval(self, alpha: float = 0.05) -> tuple[Array, Array]:
        """Lowest and highest ratio, at the latest start point, that no look has ruled out; valid at every look.

        A ratio goes out when a flat mixture over the grid beats it by 1/alpha; 64 stands for "64 or more".
        """
        likelihood = self._total - (self._starts[-1] if self._starts else 0.0)
        inside = likelihood > (logsumexp(likelihood) - np.log(RATIOS.size) + np.log(alpha))[:, None]
        low = np.where(inside, LOG_RATIOS, np.inf).min(axis=1)
        high = np.where(inside, LOG_RATIOS, -np.inf).max(axis=1)
        return np.exp(low), np.exp(high)
