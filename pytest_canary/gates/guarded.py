"""Evidence of "more often than the baseline" that no single burst can make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pytest_canary.gates.values import Bursts, Levels
from pytest_canary.stats.burst import POLL_WORTH, WORTH, BurstGuard
from pytest_canary.stats.grid import Array
from pytest_canary.stats.ratio import Counts, RatioEvidence, Restarting

_LOOK_EVERY = 6
"""Polls between two looks for bursts."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Care:
    """How the evidence of one gate is gathered: its levels, and what is known about its counts."""

    levels: Levels
    phi: float = 1.0
    """Design effect: log-likelihoods are divided by it."""
    stages: int = 1
    batch: int = 1


class GuardedEvidence:
    """A restarting e-process and the burst guard beside it, fed by the baseline's own events.

    Where events come in bursts, a window of time is worth at most 8; where nobody knows, one poll at most 10.  The
    limit of a window is chosen before it begins, so the evidence stays valid.
    """

    def __init__(self, care: Care) -> None:
        self._care = care
        self._process = Restarting(care.stages, care.batch, care.phi, care.levels.first)
        self._guard = BurstGuard(care.batch)
        self._window_seconds = care.levels.burst_window_seconds
        self._began = np.full(care.batch, -np.inf)
        self._clumped, self._known = np.zeros((2, care.batch), dtype=bool)
        self._polls, self._guarded = 0, True
        self._settle(afresh=True)

    def normal(self, requests: ArrayLike, events: ArrayLike) -> None:
        """Add one poll of the baseline from before the ramp."""
        self._guard.add(requests, events)

    def start_stage(self, hold_seconds: float = np.inf) -> None:
        """Begin the copy that starts at this stage; a burst is taken to last at most a tenth of ``hold_seconds``."""
        self._process.start_stage()
        self._window_seconds = min(self._care.levels.burst_window_seconds, hold_seconds / 10)
        self._began[:] = -np.inf
        self._settle(afresh=True)

    def compare(self, *strata: Counts, at: float = 0.0, guard: bool = True) -> None:
        """Add one poll of both sides, which ended at ``at`` s; no ``guard`` where replicas look out for bursts."""
        self._guarded = guard
        if self._care.levels.bursts is not Bursts.IGNORE:
            due = ~self._known & ~self._clumped | (at - self._began >= self._window_seconds - 1e-6)
            self._process.close_window(due)
            self._began = np.where(due, at, self._began)
            self._polls += 1
            self._settle(afresh=self._polls % _LOOK_EVERY == 0)
        self._process.update(*strata)
        self._guard.add(sum(_array(c.base_requests) for c in strata), sum(_array(c.base_events) for c in strata))

    def _settle(self, *, afresh: bool) -> None:
        """What the next window may be worth, from what the baseline has shown so far; ``afresh`` looks for bursts."""
        if self._care.levels.bursts is Bursts.IGNORE:
            return
        if afresh:
            self._clumped = self._guard.clumped | (self._care.levels.bursts is Bursts.GUARD)
        self._known = self._guard.known
        unknown = np.where(self._known, np.inf, np.log(POLL_WORTH))
        limited = np.where(self._clumped, np.log(WORTH), unknown)
        self._process.log_cap = limited if self._guarded else np.full_like(limited, np.inf)

    @property
    def clumped(self) -> Flags:
        """Whether the baseline's events come in bursts."""
        return self._clumped

    @property
    def log_e(self) -> Array:
        """Log evidence of "more often at all", one per rollout."""
        return self._process.log_e


def _array(values: ArrayLike) -> Array:
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


def proof_of(margin: float, care: Care) -> RatioEvidence:
    """Evidence of "not ``margin`` times as often", which starts with the stage."""
    return RatioEvidence(margin, side=-1, batch=care.batch, phi=care.phi)
