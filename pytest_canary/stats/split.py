"""Whether the traffic is split as it was set."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import LOG_RATIOS, RATIOS, Array, logsumexp, weights
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column, onward, polls_ahead

_OTHER = weights(np.abs(LOG_RATIOS) > 1e-9, -np.abs(LOG_RATIOS) / 0.35)
_TINY = 1e-12
_PENDING = 64
"""Polls that are kept until somebody asks what they say."""
MATTERS = 1.1
"""The odds of a request to reach the canary must be off by so much before a split counts as wrong."""


class SplitEvidence(Rows):
    """E-process against "each request goes to the canary with the share that was set", two-sided.

    A mixture over other odds.  A split that varies less than a coin (round robin) never gathers any, so it needs no
    special case.

    One poll may lie: a pod that is replaced takes with it what it has counted since it was last read, and its side
    then looks as if nobody had been sent there.  So the loudest poll is known apart from the rest.
    """

    AXES = axes(_factor=0, _seen=1, _wanted=0, _loudest=1)

    def __init__(self, batch: int = 1) -> None:
        self._factor = np.zeros((batch, RATIOS.size))
        self._seen = np.zeros((2, batch))
        self._wanted = np.zeros(batch)
        self._loudest = np.zeros((4, batch))
        """Of one poll: how far it is off, the share it was to have, requests of the canary, and of others."""
        self._pending: list[tuple[Array, Array, Array]] = []

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._pending = [(wanted[rows], n[rows], m[rows]) for wanted, n, m in self._pending]

    def forget(self, rows: Flags) -> None:
        """Begin anew in these rollouts."""
        self._catch_up()
        self._factor[rows], self._wanted[rows], self._seen[:, rows], self._loudest[:, rows] = 0.0, 0.0, 0.0, 0.0

    def update(self, share: ArrayLike, canary: ArrayLike, others: ArrayLike) -> None:
        """Add one poll: requests of the canary, which was to have ``share``, and of all others."""
        batch = self._wanted.size
        wanted, n, m = (column(values, batch) for values in (share, canary, others))
        inside = (wanted > 0) & (wanted < 1)
        if not inside.all():
            wanted, n, m = np.where(inside, wanted, 0.5), np.where(inside, n, 0.0), np.where(inside, m, 0.0)
        self._listen(wanted, n, m)
        if polls_ahead() and not (wanted == wanted[0]).all():
            self._factor = self._factor + onward(_factor(wanted, n, m))
        else:
            self._pending.append((wanted, onward(n), onward(m)))
        self._seen[0] += onward(n)
        self._seen[1] += onward(m)
        self._wanted = self._wanted + onward(wanted * (n + m))
        if len(self._pending) >= _PENDING:
            self._catch_up()

    def _listen(self, wanted: Array, n: Array, m: Array) -> None:
        """Remember this poll where none was louder; of successive ones the loudest up to each."""
        off = _divergence(n, n + m, wanted)
        polls = np.stack([off, wanted, n, m])
        if polls_ahead():
            louder = np.maximum.accumulate(off)
            first = np.concatenate([[True], off[1:] > louder[:-1]])
            polls = polls[:, np.maximum.accumulate(np.where(first, np.arange(off.size), 0))]
        self._loudest = np.where(polls[0] > self._loudest[0], polls, self._loudest)

    def _catch_up(self) -> None:
        """Polls of one share are one: only their sums count."""
        pending, self._pending = self._pending, []
        while pending:
            share, n, m = pending.pop()
            same = [at for at, (other, _, _) in enumerate(pending) if other is share or (other == share).all()]
            for at in reversed(same):
                _, more, others = pending.pop(at)
                n, m = n + more, m + others
            self._factor += _factor(share, n, m)

    @property
    def log_e(self) -> Array:
        """Log evidence, one per rollout."""
        self._catch_up()
        return logsumexp(_OTHER + self._factor)

    @property
    def log_e_but_one(self) -> Array:
        """Log evidence of all polls, or of all but the loudest where that is less: an e-value whichever that was."""
        return np.minimum(self.log_e, logsumexp(_OTHER + self._factor - _factor(*self._loudest[1:])))

    def may_reach(self, log_threshold: float) -> Flags:
        """Where :attr:`log_e_but_one` can be so much: it is at most the divergence of what was seen from the share set.

        Exact where one share was wanted all the time.
        """
        seen, total, wanted = self._rest
        most = _divergence(seen, total, wanted)
        return np.asarray((total > 0) & (most >= log_threshold - 1e-6))

    @property
    def _rest(self) -> tuple[Array, Array, Array]:
        """All polls but the loudest: requests of the canary, requests of all, and the share that was wanted of them."""
        _, share, n, m = self._loudest
        total = self._seen.sum(axis=0) - n - m
        total = np.where(total > 0.5, total, 0.0)  # of floats a little is left when all is taken away
        wanted = (self._wanted - share * (n + m)) / np.where(total > 0, total, 1.0)
        return self._seen[0] - n, total, wanted

    @property
    def seen(self) -> Array:
        """The canary's share that was seen."""
        return np.asarray(self._seen[0] / np.maximum(self._seen.sum(axis=0), 1e-12))

    @property
    def requests(self) -> Array:
        """Requests that were seen on either side."""
        return np.asarray(self._seen.sum(axis=0))

    @property
    def wrong_enough(self) -> Flags:
        """Whether the split is off by so much that it matters; with a million requests anything is significant.

        By all polls but the loudest too: what is off by little is not made to matter by it.
        """
        seen, total, wanted = self._rest
        by_all = _off(self.seen, self._wanted / np.maximum(self.requests, 1e-12))
        by_rest = _off(seen / np.where(total > 0, total, 1.0), wanted)
        return np.asarray((total > 0) & (by_all >= MATTERS) & (by_rest >= MATTERS))


def _off(seen: Array, wanted: Array) -> Array:
    """How many times the odds of a request to reach the canary are too high or too low."""
    seen, wanted = (np.clip(part, 1e-9, 1 - 1e-9) for part in (seen, wanted))
    odds = (seen / (1 - seen)) / (wanted / (1 - wanted))
    return np.asarray(np.maximum(odds, 1 / odds))


def _divergence(seen: Array, total: Array, wanted: Array) -> Array:
    """Log-likelihood ratio of the share that was seen to the one that was ``wanted``; 0 where nobody came."""
    some = total > 0
    p, q = (
        np.clip(part, _TINY, 1 - _TINY) for part in (seen / np.where(some, total, 1.0), np.where(some, wanted, 0.5))
    )
    return np.asarray(np.where(some, total * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))), 0.0))


def _factor(share: Array, canary: Array, others: Array) -> Array:
    """Log-likelihood of other odds, shape (batch, ratios)."""
    total = (canary + others)[:, None]
    return np.asarray(canary[:, None] * LOG_RATIOS - total * np.log1p(share[:, None] * (RATIOS - 1.0)))
