"""What every role has counted at a stage, from cumulative counters that may be missing or begin anew."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

import numpy as np

from pytest_canary.ports import Role, Sample
from pytest_canary.stats.latency import quantiles
from pytest_canary.stats.rows import polls_ahead
from pytest_canary.verdict.frame import Array, Flags, Frame, Index
from pytest_canary.verdict.polls import Polls
from pytest_canary.verdict.values import Totals

_KEPT_POLLS = 5000
"""Polls of one stage that a gate which appears later still gets to see."""


class StageTally:
    """One stage, and what every role counted in it, in every rollout of a batch."""

    def __init__(
        self, index: int, at: Array, share: float, compared: bool, hold_seconds: float, min_requests: int, label: str,
        frames: Mapping[Role, Frame], allowance: float = 1.0,
    ) -> None:  # fmt: skip
        self.index, self.at, self.share, self.compared = index, at, share, compared
        self.hold_seconds, self.min_requests, self.label = hold_seconds, min_requests, label
        self.allowance, self.young_until = allowance, at
        self.polls = Polls(_KEPT_POLLS)
        self.totals: dict[Role, Frame] = {}
        self._last = {role: sound for role, frame in frames.items() if (sound := frame.sound()) is not None}
        self.seen_at = at
        self.spans: dict[Role, Array] = {}
        """Seconds between the last two readings of each role; 0 where the last poll brought nothing new."""

    @property
    def batch(self) -> int:
        """How many rollouts there are."""
        return int(self.at.size)

    def keep(self, rows: Index) -> None:
        """Go on with these rollouts only."""
        self.at, self.young_until, self.seen_at = self.at[rows], self.young_until[rows], self.seen_at[rows]
        self.polls = Polls(_KEPT_POLLS)
        self.totals = {role: frame.keep(rows) for role, frame in self.totals.items()}
        self._last = {role: frame.keep(rows) for role, frame in self._last.items()}

    def followed_by(self, frames: Mapping[Role, Frame]) -> bool:
        """Whether these polls tell what the last one did, so that what each has counted can be seen from its rows."""
        return frames.keys() == self._last.keys() and all(
            frame.layout == last.layout and not (last.replicas or last.strata) and np.isfinite(frame.values).all()
            for role, frame in frames.items()
            for last in [self._last[role]]
        )

    @property
    def normal(self) -> Frame | None:
        """What all that is no canary counted at this stage."""
        control, baseline = self.totals.get(Role.CONTROL), self.totals.get(Role.BASELINE)
        return control + baseline if control is not None and baseline is not None else control or baseline

    def compared_with(self, increments: Mapping[Role, Frame], at: Array) -> Frame | None:
        """What the canary is compared with: the control alone while pods are young, then all of the stable build.

        A choice from the past, so evidence stays valid.
        """
        control, baseline = increments.get(Role.CONTROL), increments.get(Role.BASELINE)
        if control is None or baseline is None:
            return control or baseline
        young = at <= self.young_until
        return control if young.all() else control + baseline.only(~young)

    @property
    def elapsed(self) -> Array:
        """Seconds from the start of the stage to the last poll."""
        return self.seen_at - self.at

    @property
    def requests(self) -> Array:
        """Requests of users that the canary has answered at this stage."""
        total = self.totals.get(Role.CANARY)
        return np.zeros(self.batch) if total is None else np.maximum(total.of_users, 0.0)

    def observe(
        self, frames: Mapping[Role, Frame], at: Array, where: Flags | None = None
    ) -> tuple[Array, Mapping[Role, Frame]]:
        """What each role counted since it was last seen, and since when; a role seen anew only begins here.

        Elsewhere than ``where`` nothing was counted.
        """
        increments: dict[Role, Frame] = {}
        self.spans = {}
        for role, told in frames.items():
            before, frame = self._last.get(role), told.sound()
            if frame is None:
                continue
            self._last[role] = frame
            if before is not None and polls_ahead():
                before = frame.behind(before)
            increment = frame.since(before) if before is not None else None
            if before is not None and increment is not None:
                increment = increment if where is None else increment.only(where)
                self.spans[role] = np.maximum(0.0, frame.at - before.at)
                increments[role] = increment
                total = self.totals.get(role)
                self.totals[role] = increment.onward() if total is None else total + increment.onward()
        since, seen_at = self.seen_at, np.maximum(at, self.seen_at)
        if polls_ahead():
            since = np.append(since[:1], seen_at[:-1])
        self.seen_at = seen_at if where is None else np.where(where, seen_at, since)
        if self.batch == 1 or polls_ahead():  # who asks for more gates while it runs is a live run
            self.polls.add(since, self.seen_at, increments)
        return since, increments


def framed(samples: Mapping[Role, Sample | Frame], like: Mapping[Role, Frame]) -> dict[Role, Frame]:
    """Samples of one rollout as frames of one row; frames as they are."""
    return {
        role: told if isinstance(told, Frame) else Frame.of(told, like.get(role))
        for role, told in samples.items()
        if told is not None
    }


def totals_of(frame: Frame, row: int = 0) -> Totals:
    """What a person wants to see of the counts of one stage."""
    latency, users = frame.histogram("latency"), float(frame.of_users[row])
    errors = float(frame.counter("errors")[row])
    if latency is None or not latency[1][row].any():
        return Totals(max(users, 0.0), errors)
    bounds, counts = np.asarray(latency[0]), latency[1][row : row + 1]
    p50, p99 = (float(quantiles(bounds, counts, q)[0]) for q in (0.5, 0.99))
    return Totals(max(users, 0.0), errors, *(None if isnan(each) else each for each in (p50, p99)))
