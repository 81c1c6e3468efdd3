"""Evidence about the ratio of two event rates, exact at every look and for any split of the traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from pytest_canary.stats.rows import Index, Rows, axes, column, onward, polls_ahead, successive

FIRST = 0.8
"""Weight of the evidence that starts with the rollout; the copies that start at later stages share the rest."""
_PENDING = 256
"""Polls that are kept until somebody asks what they say."""
_AT_ONCE = 400_000
"""Numbers that are worked on at once."""
_SURELY = 1e-9
"""What rounding may add to a bound."""


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
    return _likelihood(counts, LOG_RATIOS if ratios is RATIOS else np.log(ratios), ratios - 1.0)


def _likelihood(counts: Counts, logs: Array, excess: Array) -> Array:
    """The same of ratios whose logarithm, and whose excess over 1, are known."""
    nc, ec, nb, eb = (np.asarray(values, dtype=np.float64).reshape(-1, 1) for values in counts)
    both = (nc > 0) & (nb > 0)
    if not both.all():
        ec, eb, nc, nb = (
            np.where(both, ec, 0.0),
            np.where(both, eb, 0.0),
            np.where(both, nc, 0.0),
            np.where(both, nb, 1.0),
        )
    found = nc / (nc + nb) * excess
    np.log1p(found, out=found)  # in place: these are the largest arrays there are
    found *= -(ec + eb)
    found += ec * logs
    return np.asarray(found)


def start_weights(stages: int, first: float = FIRST) -> Array:
    """How much each start point counts: the rollout's own ``first``, each later stage the same."""
    if stages <= 1:
        return np.ones(1)
    return np.append(first, np.full(stages - 1, (1 - first) / (stages - 1)))


class _Pending:
    """Polls that are added up only when somebody asks: most are never asked about one by one."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._polls: list[Counts] = []
        """Some hold several polls, one after the other."""
        self._ahead: list[Counts] = []
        self._steps = 0

    def add(self, strata: Sequence[Counts]) -> bool:
        """Keep one poll; whether there are so many now that they should be added up."""
        self._polls += strata
        return len(self._polls) >= _PENDING

    def leaves(self, rows: Index) -> bool:
        """Whether ``rows`` are one of each rollout's successive polls: what is kept can be kept then."""
        return bool(self._ahead) and rows.size * self._steps == self._batch and not self._polls

    def follow(self, strata: Sequence[Counts]) -> None:
        """Keep successive polls: each row has had those up to its own."""
        self._ahead, self._steps = (
            [Counts(*(column(one, self._batch) for one in poll)) for poll in strata],
            polls_ahead(),
        )

    @property
    def follows(self) -> bool:
        """Whether there are successive polls."""
        return bool(self._ahead)

    def rows_of(self, likelihood: Callable[[Counts], Array]) -> Array:
        """What successive polls add to each row."""
        ahead, self._ahead = self._ahead, []
        with successive(self._steps):
            return sum((onward(likelihood(counts)) for counts in ahead), np.zeros(1))

    def blocks(self) -> Iterator[Counts]:
        """All of them, several at once where they are small; each block has polls * batch rows."""
        polls, self._polls = self._polls, []
        if not polls:
            return
        step = max(1, _AT_ONCE // (self._batch * RATIOS.size))
        for first in range(0, len(polls), step):
            yield Counts(*(self._joined(part) for part in zip(*polls[first : first + step], strict=True)))

    def _joined(self, columns: Sequence[ArrayLike]) -> Array:
        return np.concatenate([one if np.size(one) > self._batch else column(one, self._batch) for one in columns])

    def keep(self, rows: Index) -> None:
        """Go on with these rollouts only."""
        if self._ahead:  # one row of each rollout's: the polls up to it are what it has had
            last = int(rows[0]) % self._steps + 1
            self._polls += [
                Counts(*(np.asarray(one).reshape(-1, self._steps)[:, :last].T.ravel() for one in poll))
                for poll in self._ahead
            ]
            self._ahead, self._batch = [], rows.size
            return
        self._polls = [Counts(*(column(one, self._batch)[rows] for one in poll)) for poll in self._polls]
        self._batch = rows.size


def _summed(likelihood: Array, batch: int) -> Array:
    """Blocks of polls added up, shape (batch, ratios)."""
    return np.asarray(likelihood.reshape(-1, batch, likelihood.shape[1]).sum(axis=0))


class _Windowed(Rows):
    """Weighted copies of an e-process, begun at different stages, whose gain within a window of time may be capped.

    ``min(e, cap)`` of a window's factor is still an e-value, so a cap costs speed and never the guarantee.  Only the
    ratios that are alternatives are kept.
    """

    AXES = axes(_posterior=1, _banked=1, _window=0, _known=0, log_cap=0, _phi=0)
    PARTS = ("_pending",)

    def __init__(self, prior: Array, r0: float, weights: Array, batch: int, phi: ArrayLike) -> None:
        chosen = np.flatnonzero(np.isfinite(prior))
        self._at = slice(int(chosen[0]), int(chosen[-1]) + 1)
        self._ratios, self._batch = RATIOS[self._at], batch
        self._logs, self._excess = LOG_RATIOS[self._at], RATIOS[self._at] - 1.0
        self._weights, self._r0 = np.log(weights)[:, None], np.array([r0])
        self._phi = np.maximum(column(phi, batch), 1.0)[:, None]
        self._prior = prior[self._at]
        self._posterior, self._banked = np.zeros((0, batch, self._ratios.size)), np.zeros((0, batch))
        """Of the copies that have begun."""
        self._window = np.zeros((batch, self._ratios.size))
        self._pending = _Pending(batch)
        self._known: Array | None = None
        self.log_cap: Array = np.full(batch, np.inf)
        """The most that the open window may add to the log evidence, one per rollout; set it before the counts come."""

    def keep(self, rows: Index) -> None:
        if not self._pending.leaves(rows):
            self._catch_up()
        super().keep(rows)
        self._batch = rows.size

    def update(self, *strata: Counts) -> None:
        """Add one poll: counts of all requests, or of each stratum apart."""
        self._known = None
        if polls_ahead():
            self._pending.follow(strata)
        elif self._pending.add(strata):
            self._catch_up()

    def begin(self) -> None:
        """Begin a copy that has seen nothing; beyond those that have a weight the copies there are go on."""
        if len(self._banked) < self._weights.size:
            fresh = np.broadcast_to(self._prior, (1, self._batch, self._ratios.size))
            self._posterior = np.concatenate([self._posterior, fresh])
            self._banked = np.concatenate([self._banked, np.zeros((1, self._batch))])

    def _gain(self, counts: Counts) -> Array:
        gained = _likelihood(counts, self._logs, self._excess)
        if self._r0[0] != 1.0:  # at ratio 1 the likelihood is 1
            gained = gained - log_likelihood(counts, self._r0)
        return gained

    def _catch_up(self) -> None:
        for counts in self._pending.blocks():
            self._window += _summed(self._gain(counts), self._batch) / self._phi
        if self._pending.follows:
            self._window = self._window + self._pending.rows_of(self._gain) / self._phi

    def close_window(self, which: NDArray[np.bool_] | None = None) -> None:
        """Bank what the window has gained, and begin another; in all rollouts, or in those of ``which``."""
        self._catch_up()
        rows = np.arange(self._batch) if which is None else np.flatnonzero(which)
        if not rows.size:
            return
        self._known = None
        if rows.size == self._batch:
            gained = logsumexp(self._posterior + self._window)
            self._banked += np.minimum(gained, self.log_cap)
            self._posterior += self._window - gained[..., None]
            self._window = np.zeros_like(self._window)
            return
        window = self._window[rows]
        gained = logsumexp(self._posterior[:, rows] + window)
        self._banked[:, rows] += np.minimum(gained, self.log_cap[rows])
        self._posterior[:, rows] += window - gained[..., None]
        self._window[rows] = 0.0

    @property
    def log_e(self) -> Array:
        """Log evidence, one per rollout; ``log(1/alpha)`` convicts at level alpha."""
        if self._known is None:
            self._catch_up()
            self._known = self._log_e(slice(None))
        return self._known

    def log_e_at(self, rows: Index) -> Array:
        """The same in these rollouts."""
        if self._known is not None:
            return self._known[rows]
        self._catch_up()
        return self._log_e(rows)

    def _log_e(self, rows: Index | slice) -> Array:
        """A copy that has not begun counts as much as it weighs."""
        copies = np.zeros((self._weights.size, self._batch))[:, rows]
        gained = logsumexp(self._posterior[:, rows] + self._window[rows])
        copies[: len(gained)] = self._banked[:, rows] + np.minimum(gained, self.log_cap[rows])
        return logsumexp(self._weights + copies, axis=0)


class RatioEvidence(_Windowed):
    """E-process against "canary rate <= r0 * baseline rate" (side +1) or against ">=" (side -1).

    P(it ever reaches 1/alpha) <= alpha while that holds: each poll's factor has mean at most 1 because
    (1 + p(a-1))^n <= exp(np(a-1)).  Exact for independent requests, any split, a baseline rate that moves.
    ``phi`` divides all log-likelihoods: the design effect of requests that are not independent.
    """

    def __init__(self, r0: float = 1.0, side: int = +1, batch: int = 1, phi: ArrayLike = 1.0) -> None:
        super().__init__(worse_than(r0) if side > 0 else not_worse_than(r0), r0, np.ones(1), batch, phi)
        self.begin()


class Restarting(_Windowed):
    """E-process against "the canary is not worse" that also starts afresh at each stage.

    A weighted mean of e-processes is one, so nothing is split between stages, and harm that begins late is not
    outweighed by a good past.
    """

    AXES = axes(**_Windowed.AXES, _ceiling=0)

    def __init__(self, stages: int, batch: int = 1, phi: ArrayLike = 1.0, first: float = FIRST) -> None:
        super().__init__(worse_than(1.0), 1.0, start_weights(stages, first), batch, phi)
        self._ceiling = np.zeros(batch)
        """The log evidence is at most so much: what the last exact look found, and all that polls may have added."""

    def start_stage(self) -> None:
        """Begin a copy that has seen nothing; beyond the planned stages the copies there are go on."""
        self.close_window()
        self._known = None
        self.begin()

    def update(self, *strata: Counts) -> None:
        self._known = None
        for counts in strata:
            gained = self._gain(counts) / self._phi
            self._window += gained
            self._ceiling += np.maximum(gained.max(axis=1), 0.0)

    def update_all(self, strata: Sequence[Counts], closed: NDArray[np.bool_], caps: Array) -> None:
        """Add successive polls; before those that are ``closed`` a window is, which ``caps`` of its own row limited.

        ``caps`` are those before each poll, shape (batch,).
        """
        self._known = None
        gains = [self._gain(counts) / self._phi for counts in strata]
        self._ceiling += sum(onward(np.maximum(gained.max(axis=1), 0.0)) for gained in gains)
        gained, polls = np.asarray(sum(gains)), polls_ahead()
        self._window = self._window + onward(gained)
        for first in range(0, self._batch, polls):
            rows = slice(first, first + polls)
            before = self._window[rows] - gained[rows]  # a poll is not in the window that is closed before it
            self._close_all(rows, np.flatnonzero(closed[rows]), before, caps[rows])

    def _close_all(self, rows: slice, closed: Index, before: Array, caps: Array) -> None:
        """Close windows before these of a rollout's successive polls; ``before`` is what was open before each.

        A posterior adds up to 1 whenever a window opens, so what all windows up to one have won tells what it has.
        """
        past = np.concatenate([np.zeros((1, before.shape[1])), before[closed]])
        posterior = self._posterior[:, rows.start, None] + past
        won = logsumexp(posterior)
        won[:, 0] = 0.0
        banked = np.cumsum(np.minimum(np.diff(won, axis=1, prepend=0.0), np.append(0.0, caps[closed])), axis=1)
        opened = np.repeat(np.arange(len(past)), np.diff(closed, prepend=0, append=len(before)))
        self._posterior[:, rows] = (posterior - won[..., None])[:, opened]
        self._banked[:, rows] += banked[:, opened]
        self._window[rows] -= past[opened]

    def reaches(self, log_threshold: float) -> NDArray[np.bool_]:
        """Where the log evidence is at least so much; looks closely only at rollouts where it may be.

        While the open window is limited, what was found is not remembered: the limit may be lifted.
        """
        if self._known is not None:
            return np.asarray(self._known >= log_threshold)
        may = np.asarray(self._ceiling >= log_threshold - _SURELY)
        for known in (self._at_most, self._log_e):
            rows = np.flatnonzero(may)
            if not rows.size:
                break
            found, free = known(rows), np.isinf(self.log_cap[rows])
            self._ceiling[rows[free]] = found[free]
            may[rows] = found >= log_threshold
        return may

    def _at_most(self, rows: Index) -> Array:
        """What the log evidence cannot exceed: each copy's window wins at most what its best ratio does."""
        best = self._banked[:, rows].max(axis=0) + np.minimum(self._window[rows].max(axis=1), self.log_cap[rows])
        return np.asarray(np.maximum(best, 0.0) + _SURELY)


class RatioPosterior(Rows):
    """P(ratio > gate | data) under a Laplace prior around "the same build", over the same start points."""

    AXES = axes(_counted=0, _phi=0)
    PARTS = ("_pending",)

    def __init__(self, stages: int, batch: int = 1, phi: ArrayLike = 1.0, first: float = FIRST) -> None:
        self._weights, self._batch = np.log(start_weights(stages, first)), batch
        self._counted = np.zeros((batch, RATIOS.size))
        self._starts: list[Array] = []
        self._phi = np.maximum(column(phi, batch), 1.0)[:, None]
        self._pending = _Pending(batch)
        self._known: dict[tuple[float, float], Array] = {}

    def keep(self, rows: Index) -> None:
        if not self._pending.leaves(rows):
            self._total  # noqa: B018 - adds up what is pending
        super().keep(rows)
        self._starts = [start[rows] for start in self._starts]
        self._batch = rows.size
        self._known.clear()

    @property
    def _total(self) -> Array:
        for counts in self._pending.blocks():
            self._counted += _summed(log_likelihood(counts), self._batch) / self._phi
        if self._pending.follows:
            self._counted = self._counted + self._pending.rows_of(log_likelihood) / self._phi
        return self._counted

    def start_stage(self) -> None:
        """Begin a copy that has seen nothing; beyond the planned stages the copies there are go on."""
        self._known.clear()
        if len(self._starts) < self._weights.size:
            self._starts.append(self._total.copy())

    def update(self, *strata: Counts) -> None:
        """Add one poll to every copy."""
        self._known.clear()
        if polls_ahead():
            self._pending.follow(strata)
        elif self._pending.add(strata):
            self._total  # noqa: B018 - adds them up

    def _over_starts(self, prior: Array, rows: Index | slice) -> Array:
        """Log of weight * prior * likelihood, shape (start, batch, ratios); a copy not begun has seen nothing."""
        total = self._total[rows]
        nothing = np.zeros_like(total)
        seen = [total - start[rows] for start in self._starts]
        seen += [nothing] * (self._weights.size - len(seen))
        return np.asarray(self._weights[:, None, None] + prior + np.stack(seen))

    def odds(self, gate: float, scale: float | None = None) -> Array:
        """Probability, one per rollout.

        ``scale`` of the prior on log r; by default .86 log(gate), which puts .15 of it above the gate.
        """
        scale = scale or _scale(gate)
        if (gate, scale) not in self._known:
            self._known[gate, scale] = self._odds(gate, scale, slice(None))
        return self._known[gate, scale]

    def odds_at(self, rows: Index, gate: float, scale: float | None = None) -> Array:
        """The same in these rollouts."""
        scale = scale or _scale(gate)
        if (gate, scale) in self._known or rows.size == self._batch:
            return self.odds(gate, scale)[rows]
        return self._odds(gate, scale, rows)

    def _odds(self, gate: float, scale: float, rows: Index | slice) -> Array:
        joint = self._over_starts(around_one(scale), rows)
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


def _scale(gate: float) -> float:
    return 0.86 * log(max(gate, 1.02))
