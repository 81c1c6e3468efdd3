"""What must be right besides every gate: the split as it was set, and a control that works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.values import INFLIGHT, Bursts, Levels
from pytest_canary.ports import PROBES_TOO, Role, Sample
from pytest_canary.stats.latency import quantiles
from pytest_canary.stats.ratio import Counts
from pytest_canary.stats.rows import Rows, axes, column, onward
from pytest_canary.stats.split import SplitEvidence
from pytest_canary.verdict.frame import Array, Flags, Frame, Index
from pytest_canary.verdict.tally import framed

ALPHA = 0.001
"""The chance to call something wrong that is right."""
FORGIVEN_SECONDS = 20.0
"""How long the other side may count nothing before that is held against the split."""
SURPRISE = 8.0
"""From so many requests on that were to be the other side's, nobody there is no chance."""
SLOWER = 2.0
"""Requests that take so many times as long as the slowest before are given their own time to end."""
_LEVELS = replace(Levels(), bursts=Bursts.IGNORE)


class SplitGuard(Rows):
    """Whether requests follow the share that was set, at one stage.

    Requests are counted when they end, so right after a shift all long ones are the baseline's; nothing counts until
    they had time to end.  Where they take twice as long as was known, by the load of others, say, they get that time.
    Sides that are read one after the other, as targets are scraped, are compared by the time that each was read for
    too; of several pods that are read at several times nobody knows one time, so the split is wrong only by both.
    No single poll speaks against it: a pod that is replaced takes its last counts with it.
    """

    AXES = axes(_slowest=0, _shifted_at=0, _quiet_from=0, _others=0, _seconds=0, _mine=0, _read=0)
    PARTS = ("_by_share", "_by_time")

    def __init__(self, share: float, shifted_at: ArrayLike, captured: Frame | Sample) -> None:
        normal = captured if isinstance(captured, Frame) else Frame.of(captured)
        self._slowest, batch = _slowest(normal), normal.batch
        if (latency := normal.histogram("latency")) and latency[0]:
            unknown = (self._slowest == 0) & (latency[1].sum(axis=1) > 0)
            self._slowest = np.where(unknown, latency[0][-1], self._slowest)
        self._share, self._shifted_at = share, column(shifted_at, batch)
        self._by_share, self._by_time = SplitEvidence(batch), SplitEvidence(batch)
        self._quiet_from = np.full(batch, np.nan)
        self._owed: dict[Role, Array] = {}
        """Where the source counts probes too: those that it has not told of yet, taken from what it tells next."""
        self._others, self._seconds = np.zeros((2, batch))
        """What the other side has counted, and in how many seconds, since the canary was last read."""
        self._mine, self._read = np.zeros((2, batch))
        """What the canary has counted, and in how many seconds, since the other side last did."""

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._owed = {role: owed[rows] for role, owed in self._owed.items()}

    def observe(
        self,
        increments: Mapping[Role, Frame | Sample],
        since: ArrayLike,
        spans: Mapping[Role, ArrayLike] | None = None,
        where: Flags | None = None,
    ) -> None:
        """Add what every role counted from ``since`` on; ``spans`` are the seconds between its last two readings."""
        batch, frames = self._slowest.size, framed(increments, {})
        if where is not None:
            frames = {role: frame.only(where) for role, frame in frames.items()}
        began = column(since, batch)
        self._wait_for(frames)
        here = began >= self._shifted_at + INFLIGHT * self._slowest
        here = here if where is None else here & where
        if not here.any():
            return
        nothing = np.zeros(batch)
        counted = {role: self._of_users(role, frame, here) for role, frame in frames.items()}
        seconds = {role: column(span, batch) for role, span in (spans or {}).items()}
        canary, read_for = counted.pop(Role.CANARY, nothing), seconds.get(Role.CANARY, nothing)
        span = np.max([nothing, *(seconds.get(role, nothing) for role in counted)], axis=0)
        others, passed = sum(counted.values(), nothing) + self._others, span + self._seconds
        # The canary was not read since, or nobody was.
        waits = (canary == 0) & (read_for == 0) & ((passed > 0) | (others == 0))
        self._others = np.where(here, np.where(waits, others, 0.0), self._others)
        self._seconds = np.where(here, np.where(waits, passed, 0.0), self._seconds)
        canary, read_for = canary + self._mine, read_for + self._read
        lull = here & ~waits & self._in_a_lull(canary, others)
        self._mine = np.where(here & ~waits, np.where(lull, canary, 0.0), self._mine)
        self._read = np.where(here & ~waits, np.where(lull, read_for, 0.0), self._read)
        self._seconds = np.where(lull, passed, self._seconds)
        told = here & ~waits & ~lull
        told &= ~self._forgiven(others, began, told)
        canary, others = np.where(told, canary, 0.0), np.where(told, others, 0.0)
        self._by_share.update(self._share, canary, others)
        self._by_time.update(self._expected(read_for, passed), canary, others)

    def follows(self, since: float) -> bool:
        """Whether polls that begin at ``since`` may be taken in many at once: nothing is waited for."""
        waits = self._others.any() or self._seconds.any() or self._mine.any() or not np.isnan(self._quiet_from).all()
        return not waits and bool((self._shifted_at + INFLIGHT * self._slowest <= since).all())

    def followed(self, increments: Mapping[Role, Frame], since: Array) -> int:
        """How many successive polls can be taken in all at once: those in which nothing is out of the ordinary."""
        canary, others = increments.get(Role.CANARY), [one for role, one in increments.items() if role != Role.CANARY]
        if canary is None or any(PROBES_TOO in one.layout.places for one in increments.values()):
            return 0
        plain = (canary.of_users > 0) & (since >= self._shifted_at + INFLIGHT * self._slowest)
        if self._share < 1:
            plain &= np.sum([one.of_users for one in others], axis=0) > 0
        slowest = np.max([_slowest(one) for one in increments.values()], axis=0)
        plain &= slowest <= SLOWER * self._slowest
        return int(np.argmin(plain)) if not plain.all() else plain.size

    def _wait_for(self, frames: Mapping[Role, Frame]) -> None:
        """Begin anew where requests take much longer than was known."""
        slowest = np.max([np.zeros(self._slowest.size), *map(_slowest, frames.values())], axis=0)
        slower = slowest > SLOWER * self._slowest
        if slower.any():
            self._slowest = np.where(slower, slowest, self._slowest)
            self._by_share.forget(slower)
            self._by_time.forget(slower)

    def _expected(self, canary_seconds: Array, other_seconds: Array) -> Array:
        """The canary's share of the requests that were read, were they as they were set all the time."""
        both = (canary_seconds > 0) & (other_seconds > 0)
        canary, others = self._share * canary_seconds, (1 - self._share) * other_seconds
        return np.where(both, canary / np.where(both & (canary > 0), canary + others, 1.0), self._share)

    def _of_users(self, role: Role, increment: Frame, here: Flags) -> Array:
        owed = self._owed.get(role)
        if owed is None:
            owed = np.zeros(here.size)
        users = increment.of_users - owed
        self._owed[role] = np.where(here, np.maximum(-users, 0.0), owed)
        return np.maximum(users, 0.0)

    def _in_a_lull(self, canary: Array, others: Array) -> Flags:
        """Whether too few requests were there for the silence of the other side to mean anything.

        They are counted with the next ones: were they left out, thin traffic would seem to avoid the canary.
        """
        due = canary * (1 - self._share) / self._share if self._share else np.zeros(canary.size)
        return np.asarray((self._share < 1) & (others == 0) & (canary > 0) & (due < SURPRISE))

    def _forgiven(self, others: Array, since: Array, told: Flags) -> Flags:
        """Whether the other side may be away for a moment: its only pod is replaced, or new ones are not read yet.

        The first poll after that may hold all that they have counted meanwhile, so it tells as little.
        """
        quiet = np.isnan(self._quiet_from) & (others == 0) & (self._share < 1) & told
        if not quiet.any() and np.isnan(self._quiet_from).all():
            return np.zeros(told.size, dtype=bool)
        self._quiet_from = np.where(quiet, since, self._quiet_from)
        forgiven = ~np.isnan(self._quiet_from) & (since - np.nan_to_num(self._quiet_from) < FORGIVEN_SECONDS)
        self._quiet_from = np.where(told & (others > 0), np.nan, self._quiet_from)
        return np.asarray(forgiven)

    @property
    def broken(self) -> Flags:
        """Whether the split is wrong, in each rollout."""
        threshold = -log(ALPHA)
        found = self._by_share.may_reach(threshold)
        if found.any():
            found = found & self._by_share.wrong_enough & self._by_time.wrong_enough
        if found.any():
            found = found & (self._by_share.log_e_but_one >= threshold) & (self._by_time.log_e_but_one >= threshold)
        return found

    @property
    def wrong(self) -> str:
        """What is wrong, in one line; empty while nothing is."""
        return self.wrong_of(0)

    def wrong_of(self, row: int) -> str:
        """The same of one rollout."""
        if not self.broken[row]:
            return ""
        split = self._by_share
        return (
            f"the split is not the one that was set: {self._share:.1%} was to reach the canary, {split.seen[row]:.1%} "
            f"of {split.requests[row]:,.0f} requests were counted there; see whether answers of one side get lost, or "
            "another rule or sticky session decides"
        )


class ControlGuard(Rows):
    """Whether the control works at all: it runs the stable build, and a broken one would hide any harm."""

    AXES = axes(_requests=0, _errors=0, _compared=0)
    PARTS = ("_evidence",)

    def __init__(self, captured: Frame) -> None:
        batch = captured.batch
        self._evidence = RateEvidence(ALPHA, 1, batch=batch, levels=_LEVELS)
        self._evidence.start_stage()
        requests, errors = captured.counter("requests"), captured.counter("errors")
        if self._evidence.lane:
            self._evidence.lane.expect(np.where(requests > 0, errors / np.where(requests > 0, requests, 1.0), 0.0))
        self._requests, self._errors = np.zeros((2, batch))
        self._compared = np.zeros(batch, dtype=bool)
        """Whether there was anything to compare with at the last poll."""

    def observe(self, increments: Mapping[Role, Frame], where: Flags | None = None) -> None:
        """Add what every role counted."""
        control, baseline = (self._counted(increments.get(role)) for role in (Role.CONTROL, Role.BASELINE))
        self._requests, self._errors = self._requests + onward(control[0]), self._errors + onward(control[1])
        there = baseline[0] > 0
        self._compared = there if where is None else np.where(where, there, self._compared)
        self._evidence.alone(*control, where)
        self._evidence.compare(Counts(*control, *baseline), where=where)

    def _counted(self, frame: Frame | None) -> tuple[Array, Array]:
        nothing = np.zeros(self._requests.size)
        return (nothing, nothing) if frame is None else (frame.counter("requests"), frame.counter("errors"))

    @property
    def broken(self) -> Flags:
        """Whether it is, in each rollout."""
        return self._evidence.broken(self._compared) & (self._requests > 0)

    def wrong_of(self, row: int) -> str:
        """What is wrong in one rollout, in one line; empty while nothing is."""
        if not self.broken[row]:
            return ""
        return (
            f"the control is plainly broken: {self._errors[row]:.0f} of its {self._requests[row]:.0f} requests failed; "
            "it is a copy of the stable build, so see where it runs"
        )


def _slowest(frame: Frame) -> Array:
    """The p99 of the latency; 0 where nothing says."""
    latency = frame.histogram("latency")
    if latency is None or not latency[0]:
        return np.zeros(frame.batch)
    return np.nan_to_num(quantiles(frame.layout.edges("latency"), latency[1], 0.99))
