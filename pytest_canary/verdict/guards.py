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
_LEVELS = replace(Levels(), bursts=Bursts.IGNORE)


class SplitGuard:
    """Whether requests follow the share that was set, at one stage.

    Requests are counted when they end, so right after a shift all long ones are the baseline's; nothing counts until
    they had time to end.
    """

    def __init__(self, share: float, shifted_at: float, captured: Sample) -> None:
        latency = captured.histograms.get("latency")
        slowest = (latency.quantile(0.99) or latency.bounds[-1]) if latency and latency.number else 0.0
        self._share, self._from = share, shifted_at + INFLIGHT * slowest
        self._evidence = SplitEvidence()

    def observe(self, increments: Mapping[Role, Sample], since: float) -> None:
        """Add what every role counted from ``since`` on."""
        if since < self._from:
            return
        counted = {role: one.counters.get("requests", 0.0) for role, one in increments.items()}
        canary = counted.pop(Role.CANARY, 0.0)
        self._evidence.update(self._share, canary, sum(counted.values()))

    @property
    def wrong(self) -> str:
        """What is wrong, in one line; empty while nothing is."""
        split = self._evidence
        if not split.wrong_enough[0] or split.log_e[0] < -log(ALPHA):
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


def _counted(sample: Sample | None) -> tuple[float, float]:
    if sample is None:
        return 0.0, 0.0
    return sample.counters.get("requests", 0.0), sample.counters.get("errors", 0.0)
