"""What must be right besides every gate: the split as it was set, and a control that works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import log

from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.values import INFLIGHT, Bursts, Levels
from pytest_canary.ports import Role, Sample
from pytest_canary.stats.ratio import Counts
from pytest_canary.stats.split import SplitEvidence

ALPHA = 0.001
"""The chance to call something wrong that is right."""
FORGIVEN_SECONDS = 20.0
"""How long the other side may count nothing before that is held against the split."""
SLOWER = 2.0
"""Requests that take so many times as long as the slowest before are given their own time to end."""
_LEVELS = replace(Levels(), bursts=Bursts.IGNORE)


class SplitGuard:
    """Whether requests follow the share that was set, at one stage.

    Requests are counted when they end, so right after a shift all long ones are the baseline's; nothing counts until
    they had time to end.  Where they take twice as long as was known, by the load of others, say, they get that time.
    Sides that are read one after the other, as targets are scraped, are compared by the time that each was read for
    too; of several pods that are read at several times nobody knows one time, so the split is wrong only by both.
    """

    def __init__(self, share: float, shifted_at: float, captured: Sample) -> None:
        latency = captured.histograms.get("latency")
        self._slowest = _slowest(captured) or (latency.bounds[-1] if latency and latency.number else 0.0)
        self._share, self._shifted_at = share, shifted_at
        self._by_share, self._by_time = SplitEvidence(), SplitEvidence()
        self._quiet_from: float | None = None
        self._owed: dict[Role, float] = {}
        """Where the source counts probes too: those that it has not told of yet, taken from what it tells next."""
        self._waiting = (0.0, 0.0)
        """What the other side has counted, and in how many seconds, since the canary was last read."""

    def observe(
        self, increments: Mapping[Role, Sample], since: float, spans: Mapping[Role, float] | None = None
    ) -> None:
        """Add what every role counted from ``since`` on; ``spans`` are the seconds between its last two readings."""
        slowest = max((_slowest(one) for one in increments.values()), default=0.0)
        if slowest > SLOWER * self._slowest:
            self._slowest, self._by_share, self._by_time = slowest, SplitEvidence(), SplitEvidence()
        if since < self._shifted_at + INFLIGHT * self._slowest:
            return
        spans = spans or {}
        counted = {role: self._of_users(role, one) for role, one in increments.items()}
        canary, read_for = counted.pop(Role.CANARY, 0.0), spans.get(Role.CANARY, 0.0)
        span = max((spans.get(role, 0.0) for role in counted), default=0.0)
        others, seconds = sum(counted.values()) + self._waiting[0], span + self._waiting[1]
        if not canary and not read_for and (seconds or not others):
            self._waiting = (others, seconds)  # the canary was not read since, or nobody was
            return
        self._waiting = (0.0, 0.0)
        if not self._forgiven(others, since):
            self._by_share.update(self._share, canary, others)
            self._by_time.update(self._expected(read_for, seconds), canary, others)

    def _expected(self, canary_seconds: float, other_seconds: float) -> float:
        """The canary's share of the requests that were read, were they as they were set all the time."""
        if not canary_seconds or not other_seconds:
            return self._share
        canary, others = self._share * canary_seconds, (1 - self._share) * other_seconds
        return canary / (canary + others) if canary else 0.0

    def _of_users(self, role: Role, increment: Sample) -> float:
        users = increment.of_users - self._owed.get(role, 0.0)
        self._owed[role] = max(-users, 0.0)
        return max(users, 0.0)

    def _forgiven(self, others: float, since: float) -> bool:
        """Whether the other side may be away for a moment: its only pod is replaced, or new ones are not read yet.

        The first poll after that may hold all that they have counted meanwhile, so it tells as little.
        """
        if self._quiet_from is None and not others and self._share < 1:
            self._quiet_from = since
        forgiven = self._quiet_from is not None and since - self._quiet_from < FORGIVEN_SECONDS
        if others:
            self._quiet_from = None
        return forgiven

    @property
    def wrong(self) -> str:
        """What is wrong, in one line; empty while nothing is."""
        split = self._by_share
        if any(not each.wrong_enough[0] or each.log_e[0] < -log(ALPHA) for each in (split, self._by_time)):
            return ""
        return (
            f"the split is not the one that was set: {self._share:.1%} was to reach the canary, {split.seen[0]:.1%} of "
            f"{split.requests[0]:,.0f} requests were counted there; see whether answers of one side get lost, or "
            "another rule or sticky session decides"
        )


class ControlGuard:
    """Whether the control works at all: it runs the stable build, and a broken one would hide any harm."""

    def __init__(self, captured: Sample) -> None:
        self._evidence = RateEvidence(ALPHA, 1, levels=_LEVELS)
        self._evidence.start_stage()
        requests = captured.counters.get("requests", 0.0)
        if self._evidence.lane and requests:
            self._evidence.lane.expect(captured.counters.get("errors", 0.0) / requests)
        self._seen = (0.0, 0.0)
        self._compared = False

    def observe(self, increments: Mapping[Role, Sample]) -> None:
        """Add what every role counted."""
        control, baseline = (_counted(increments.get(role)) for role in (Role.CONTROL, Role.BASELINE))
        self._seen = (self._seen[0] + control[0], self._seen[1] + control[1])
        self._compared = baseline[0] > 0
        self._evidence.alone(*control)
        self._evidence.compare(Counts(*control, *baseline))

    @property
    def wrong(self) -> str:
        """What is wrong, in one line; empty while nothing is."""
        requests, errors = self._seen
        if not requests or not self._evidence.broken(self._compared)[0]:
            return ""
        return (
            f"the control is plainly broken: {errors:.0f} of its {requests:.0f} requests failed; it is a copy of the "
            "stable build, so see where it runs"
        )


def _slowest(sample: Sample) -> float:
    """The p99 of the latency; 0 where nothing says."""
    latency = sample.histograms.get("latency")
    return (latency.quantile(0.99) or 0.0) if latency and latency.number else 0.0


def _counted(sample: Sample | None) -> tuple[float, float]:
    if sample is None:
        return 0.0, 0.0
    return sample.counters.get("requests", 0.0), sample.counters.get("errors", 0.0)
