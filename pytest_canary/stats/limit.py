"""Evidence about one rate against a fixed limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import Array, logsumexp
from pytest_canary.stats.ratio import FIRST
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column, onward, polls_ahead

_SPREAD = np.append(np.linspace(1 / 16, 15 / 16, 15), [0.9875, 0.999875])
_TIMES = np.geomspace(1.2, 64.0, 24)
_PENDING = 256
"""Polls that are kept until somebody asks what they say."""
_SURELY = 1e-9
"""What rounding may add to a bound."""


def _alternatives(limit: Array) -> tuple[Array, Array]:
    """Rates above each ``limit`` and their log weights: half on multiples of its odds, half spread up to 1."""
    odds = _TIMES * limit / (1 - limit)
    rates = np.concatenate([odds / (1 + odds), limit + (1 - limit) * _SPREAD], axis=1)
    shares = np.append(1 / _TIMES / (1 / _TIMES).sum(), np.full(_SPREAD.size, 1 / _SPREAD.size)) / 2
    return np.minimum(rates, 1 - 1e-12), np.log(shares)


class LimitEvidence(Rows):
    """E-process against "events happen at a rate of at most ``limit``", from one side's counts alone.

    A mixture over higher rates and over the polls at which the trouble may have begun: .8 on the first, the rest
    thins out over the later ones, so that a long good past does not hide a sudden collapse.  For "at least", hand
    in the complement: requests without the event, and 1 - limit.  ``limit`` is one for all rollouts, or one for each.
    """

    AXES = axes(_limit=0, _rates=0, _begun=0, _polls=0, _ceiling=0, _event=0, _miss=0)

    def __init__(self, limit: ArrayLike, batch: int = 1) -> None:
        self._limit = np.clip(column(limit, batch), 1e-9, 1 - 1e-9)[:, None]
        self._rates, self._shares = _alternatives(self._limit)
        self._event, self._miss = np.log(self._rates / self._limit), np.log((1 - self._rates) / (1 - self._limit))
        self._begun = np.full((batch, self._rates.shape[1]), -np.inf)
        self._polls = np.zeros(batch)
        self._pending: list[tuple[Array, Array, Flags | None]] = []
        self._ceiling = np.zeros(batch)
        """The log evidence is at most so much: what the last exact look found, and all that polls may have added."""

    def keep(self, rows: Index) -> None:
        self._catch_up()
        super().keep(rows)

    def update(self, requests: ArrayLike, events: ArrayLike, where: Flags | None = None) -> None:
        """Add one poll, in all rollouts or ``where``.

        More events than requests (counters read at different moments) count as so many requests.
        """
        k = np.maximum(column(events, self._polls.size), 0.0)
        n = np.maximum(column(requests, self._polls.size), k)
        k, n = (k, n) if where is None else (k * where, n * where)
        if k.any():
            self._ceiling = self._ceiling + onward(_most(n, k, self._limit[:, 0]))
        if polls_ahead():
            self._add_all(n[:, None], k[:, None])
            return
        self._pending.append((n, k, where))
        if len(self._pending) >= _PENDING:
            self._catch_up()

    def _catch_up(self) -> None:
        pending, self._pending = self._pending, []
        for n, k, where in pending:
            self._add(n[:, None], k[:, None], where)

    def _beginning(self, polls: Array) -> Array:
        """Log weight of the trouble that begins with these polls, counted from 1; shape (batch, rates)."""
        later = (1 - FIRST) / np.maximum(polls * (polls - 1), 1.0)
        return np.asarray(np.log(np.where(polls == 1, FIRST, later))[:, None] + self._shares)

    def _add_all(self, n: Array, k: Array) -> None:
        """Add successive polls: a sum of products that all go on, so each is divided by what was before it began."""
        polls = self._polls + onward(np.ones(self._polls.size))
        own = k * self._event + (n - k) * self._miss
        gained = onward(own)
        begins = (self._beginning(polls) - (gained - own)).reshape(-1, polls_ahead(), own.shape[1])
        begun = np.logaddexp.accumulate(begins, axis=1).reshape(own.shape)
        self._begun, self._polls = np.logaddexp(self._begun, begun) + gained, polls

    def _add(self, n: Array, k: Array, where: Flags | None) -> None:
        polls = self._polls + 1
        added = np.logaddexp(self._begun, self._beginning(polls)) + k * self._event + (n - k) * self._miss
        if where is None:
            self._begun, self._polls = added, polls
        else:
            self._begun, self._polls = np.where(where[:, None], added, self._begun), np.where(where, polls, self._polls)

    def reaches(self, log_threshold: float) -> Flags:
        """Where the log evidence is at least so much; looks closely only where it may be."""
        if (self._ceiling < log_threshold - _SURELY).all():
            return np.zeros(self._polls.size, dtype=bool)
        self._ceiling = self.log_e
        return np.asarray(self._ceiling >= log_threshold)

    @property
    def log_e(self) -> Array:
        """Log evidence, one per rollout."""
        self._catch_up()
        unseen = self._polls == 0
        if unseen.all():
            return np.zeros(self._polls.size)
        polls = np.where(unseen, 1.0, self._polls)
        seen = np.where(unseen[:, None], 0.0, self._begun)
        log_e = np.logaddexp(logsumexp(seen), np.log((1 - FIRST) / polls))
        return np.where(unseen, 0.0, log_e)


def _most(n: Array, k: Array, limit: Array) -> Array:
    """The most that a poll can add to the log evidence of any higher rate: its divergence from the limit."""
    above = k > n * limit
    share = np.where(above, k / np.where(n > 0, n, 1.0), limit)
    misses = np.where(share < 1, (n - k) * np.log(np.where(share < 1, 1 - share, 1.0) / (1 - limit)), 0.0)
    return np.where(above, k * np.log(share / limit) + misses, 0.0)
