"""Evidence of "more often than the baseline" that no single burst can make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_canary.gates.values import Bursts, Levels
from pytest_canary.stats.burst import POLL_WORTH, WORTH, BurstGuard
from pytest_canary.stats.grid import Array
from pytest_canary.stats.ratio import Counts, RatioEvidence, Restarting
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column, onward, polls_ahead

T = TypeVar("T", bound=Any)
_LOOK_EVERY = 6
"""Polls between two looks for bursts."""

_WORTH, _POLL_WORTH = np.log(WORTH), np.log(POLL_WORTH)


@dataclass(frozen=True, slots=True)
class Care:
    """How the evidence of one gate is gathered: its levels, and what is known about its counts."""

    levels: Levels
    phi: ArrayLike = 1.0
    """Design effect: log-likelihoods are divided by it; one for all rollouts, or one for each."""
    stages: int = 1
    batch: int = 1

    def __deepcopy__(self, memo: object) -> Care:
        """Itself: nothing in it ever changes."""
        return self

    def of(self, batch: int, phi: ArrayLike | None = None) -> Care:
        """The same for so many rollouts."""
        return replace(self, batch=batch, phi=self.phi if phi is None else phi)

    def times(self, width: int) -> Care:
        """The same for ``width`` processes of each rollout."""
        phi = self.phi if np.ndim(self.phi) == 0 else np.tile(np.asarray(self.phi), width)
        return replace(self, batch=self.batch * width, phi=phi)


class GuardedEvidence(Rows):
    """A restarting e-process and the burst guard beside it, fed by the baseline's own events.

    Where events come in bursts, a window of time is worth at most 8; where nobody knows, one poll at most 10.  The
    limit of a window is chosen before it begins, so the evidence stays valid.
    """

    AXES = axes(_began=0, _clumped=0, _known=0, _polls=0, _guarded=0)
    PARTS = ("_process", "_guard")

    def __init__(self, care: Care) -> None:
        self._care = care
        self._process = Restarting(care.stages, care.batch, care.phi, care.levels.first)
        self._guard = BurstGuard(care.batch)
        self._window_seconds = care.levels.burst_window_seconds
        self._began = np.full(care.batch, -np.inf)
        self._clumped, self._known = np.zeros((2, care.batch), dtype=bool)
        self._polls, self._guarded = np.zeros(care.batch), np.ones(care.batch, dtype=bool)
        self._settle(np.arange(care.batch))

    def normal(self, requests: ArrayLike, events: ArrayLike, where: Flags | None = None) -> None:
        """Add one poll of the baseline from before the ramp."""
        self._guard.add(requests, events, where)

    def start_stage(self, hold_seconds: float = np.inf) -> None:
        """Begin the copy that starts at this stage; a burst is taken to last at most a tenth of ``hold_seconds``."""
        self._process.start_stage()
        self._window_seconds = min(self._care.levels.burst_window_seconds, hold_seconds / 10)
        self._began[:] = -np.inf
        self._settle(np.arange(self._polls.size))

    def compare(
        self, *strata: Counts, at: ArrayLike = 0.0, guard: ArrayLike = True, where: Flags | None = None
    ) -> None:
        """Add one poll of both sides, which ended at ``at`` s, in all rollouts or ``where``.

        No ``guard`` where replicas look out for bursts.
        """
        batch = self._polls.size
        if polls_ahead():
            self._compare_all(strata, column(at, batch), np.broadcast_to(np.asarray(guard, dtype=bool), (batch,)))
            return
        if self._care.levels.bursts is not Bursts.IGNORE:
            ended = column(at, batch)
            due = (ended - self._began >= self._window_seconds - 1e-6) | ~(self._known | self._clumped)
            guarded = np.broadcast_to(np.asarray(guard, dtype=bool), (batch,))
            if where is None:
                self._guarded, self._polls = guarded, self._polls + 1
            else:
                due = due & where
                self._guarded, self._polls = np.where(where, guarded, self._guarded), self._polls + where
            if due.any():
                self._process.close_window(due)
                self._began = np.where(due, ended, self._began)
            afresh = self._polls % _LOOK_EVERY == 0
            self._settle(np.flatnonzero(afresh if where is None else afresh & where), where)
        self._process.update(*strata)
        self._guard.add(*_of_baseline(strata, batch), where)

    def _compare_all(self, strata: Sequence[Counts], ended: Array, guarded: Flags) -> None:
        """Add successive polls: as one after the other, in which a window's limit is known before its counts are."""
        batch, caps = self._polls.size, self._process.log_cap
        self._guard.add(*_of_baseline(strata, batch))
        closed = np.zeros(batch, dtype=bool)
        if self._care.levels.bursts is not Bursts.IGNORE:
            clumped, known = self._clumped, self._known
            self._guarded, self._polls = guarded, self._polls + onward(np.ones(batch))
            self._settle_all()
            closed, self._began = self._closings(ended, _before(self._clumped, clumped) | _before(self._known, known))
            caps = _before(self._process.log_cap, caps)
        self._process.update_all(strata, closed, caps)

    def _settle_all(self) -> None:
        """What each of the polls may be worth, from what the baseline had shown before it."""
        earlier, batch = self._guard.before_each(), self._polls.size
        afresh = np.flatnonzero(self._polls % _LOOK_EVERY == 0)
        if afresh.size:
            found = self._clumped.copy()
            found[afresh] = earlier.clumped_at(afresh) | (self._care.levels.bursts is Bursts.GUARD)
            seen = np.zeros(batch, dtype=np.intp)
            seen[afresh] = afresh + 1
            last = np.maximum.accumulate(seen.reshape(-1, polls_ahead()), axis=1).ravel()
            self._clumped = np.where(last > 0, found[last - 1], self._clumped)
        self._known = earlier.known
        self._limit()

    def _closings(self, ended: Array, known: Flags) -> tuple[Flags, Array]:
        """Before which polls a window closes, and when the one began that is open after each; ``known``: by time."""
        polls = polls_ahead()
        closed, began = np.zeros(ended.size, dtype=bool), self._began.copy()
        for first in range(0, ended.size, polls):
            open_from = float(began[first])
            times, by_time = ended[first : first + polls].tolist(), known[first : first + polls].tolist()
            for at, (end, wait) in enumerate(zip(times, by_time, strict=True), start=first):
                if not wait or end - open_from >= self._window_seconds - 1e-6:
                    closed[at], open_from = True, end
                began[at] = open_from
        return closed, began

    def _settle(self, afresh: Index, where: Flags | None = None) -> None:
        """What the next window may be worth, from what the baseline has shown so far; ``afresh`` looks for bursts.

        Nothing changes elsewhere than ``where``: those rollouts have not been looked at.
        """
        if self._care.levels.bursts is Bursts.IGNORE:
            return
        if afresh.size:
            self._clumped = self._clumped.copy()
            self._clumped[afresh] = self._guard.clumped_at(afresh) | (self._care.levels.bursts is Bursts.GUARD)
        known = self._guard.known
        self._known = known if where is None else np.where(where, known, self._known)
        self._limit()

    def _limit(self) -> None:
        limited = np.where(self._clumped, _WORTH, np.where(self._known, np.inf, _POLL_WORTH))
        self._process.log_cap = limited if self._guarded.all() else np.where(self._guarded, limited, np.inf)

    @property
    def clumped(self) -> Flags:
        """Whether the baseline's events come in bursts."""
        return self._clumped

    @property
    def log_e(self) -> Array:
        """Log evidence of "more often at all", one per rollout."""
        return self._process.log_e

    def log_e_at(self, rows: Index) -> Array:
        """The same in these rollouts."""
        return self._process.log_e_at(rows)

    def reaches(self, log_threshold: float) -> Flags:
        """Where it is at least so much; looks closely only where it may be."""
        return self._process.reaches(log_threshold)


def _array(values: ArrayLike) -> Array:
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


def _of_baseline(strata: Sequence[Counts], batch: int) -> tuple[ArrayLike, ArrayLike]:
    """Requests and events of the baseline in all strata."""
    if len(strata) == 1:
        return strata[0].base_requests, strata[0].base_events
    requests, events = (sum((_array(one[part]) for one in strata), np.zeros(batch)) for part in (2, 3))
    return requests, events


def _before(each: NDArray[T], first: NDArray[T]) -> NDArray[T]:
    """What was so before each of successive polls: of the one before it, and ``first`` before them all."""
    polls = polls_ahead()
    earlier = np.roll(each, 1)
    earlier[::polls] = first[::polls]
    return earlier


def proof_of(margin: float, care: Care) -> RatioEvidence:
    """Evidence of "not ``margin`` times as often", which starts with the stage."""
    return RatioEvidence(margin, side=-1, batch=care.batch, phi=care.phi)
