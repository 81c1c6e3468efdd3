"""What every role has counted at a stage, from cumulative counters that may be missing or begin anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

from pytest_canary.ports import NOTHING, Histogram, Role, Sample

_KEPT_POLLS = 5000
"""Polls of one stage that a gate which appears later still gets to see."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What one role has counted at this stage; quantiles in seconds, None where unknown."""

    requests: float = 0.0
    errors: float = 0.0
    p50: float | None = None
    p99: float | None = None

    def __str__(self) -> str:
        latency = [
            f"{name} {value * 1000:.0f} ms" if value < 10 else f"{name} {value:.1f} s"
            for name, value in (("p50", self.p50), ("p99", self.p99))
            if value is not None
        ]
        errors = f"{self.errors:.0f} error" + ("" if self.errors == 1 else "s")
        return ", ".join([f"{self.requests:.0f} requests", errors, *latency])


class StageTally:
    """One stage, and what every role counted in it."""

    def __init__(
        self, index: int, at: float, share: float, compared: bool, hold_seconds: float, min_requests: int, label: str,
        samples: Mapping[Role, Sample], allowance: float = 1.0,
    ) -> None:  # fmt: skip
        self.index, self.at, self.share, self.compared = index, at, share, compared
        self.hold_seconds, self.min_requests, self.label = hold_seconds, min_requests, label
        self.allowance, self.young_until = allowance, at
        self.polls: deque[tuple[float, float, Mapping[Role, Sample]]] = deque(maxlen=_KEPT_POLLS)
        self.totals: dict[Role, Sample] = {}
        told = {role: sound(sample) for role, sample in samples.items() if sample is not None}
        self._last = {role: sample for role, sample in told.items() if sample is not None}
        self.seen_at = at
        self.spans: dict[Role, float] = {}
        """Seconds between the last two readings of each role; 0 where the last poll brought nothing new."""

    @property
    def normal(self) -> Sample:
        """What all that is no canary counted at this stage."""
        return _together(self.totals.get(Role.CONTROL), self.total(Role.BASELINE))

    def compared_with(self, increments: Mapping[Role, Sample], at: float) -> Sample | None:
        """What the canary is compared with: the control alone while pods are young, then all of the stable build.

        A choice from the past, so evidence stays valid.
        """
        control, baseline = increments.get(Role.CONTROL), increments.get(Role.BASELINE)
        if control is None or baseline is None:
            return control or baseline
        return control if at <= self.young_until else _together(control, baseline)

    @property
    def elapsed(self) -> float:
        """Seconds from the start of the stage to the last poll."""
        return self.seen_at - self.at

    def total(self, role: Role) -> Sample:
        """What ``role`` counted at this stage."""
        return self.totals.get(role, Sample(self.at))

    def observe(self, samples: Mapping[Role, Sample], at: float) -> tuple[float, Mapping[Role, Sample]]:
        """What each role counted since it was last seen, and since when; a role seen anew only begins here."""
        increments: dict[Role, Sample] = {}
        self.spans = {}
        for role, told in samples.items():
            before = self._last.get(role)
            sample = sound(told) if told is not None else None
            if sample is None:
                continue
            self._last[role] = sample
            increment = sample.since(before) if before is not None else None
            if before is not None and increment is not None:
                self.spans[role] = max(0.0, sample.at - before.at)
                increments[role] = increment
                self.totals[role] = _together(self.totals.get(role), increment)
        since, self.seen_at = self.seen_at, max(at, self.seen_at)
        self.polls.append((since, self.seen_at, increments))
        return since, increments


def sound(sample: Sample) -> Sample | None:
    """``sample`` without the parts that hold no numbers; a source that divides by zero must not poison the evidence."""
    counts = (c for h in sample.histograms.values() for c in (*h.counts, h.total))
    numbers = [*sample.counters.values(), *sample.gauges.values(), *counts]
    if not all(isfinite(number) for number in numbers):
        return None
    strata = {label: _sound_parts(values) for label, values in sample.strata.items()}
    return replace(sample, replicas=_sound_parts(sample.replicas), strata=strata)


def _sound_parts(parts: Mapping[str, Sample]) -> dict[str, Sample]:
    return {name: part for name, part in parts.items() if sound(part) is not None}


def _together(total: Sample | None, increment: Sample) -> Sample:
    if total is None:
        return increment
    names = total.counters.keys() | increment.counters.keys()
    counters = {name: total.counters.get(name, 0.0) + increment.counters.get(name, 0.0) for name in names}
    histograms = {name: _merged(total.histograms.get(name), new) for name, new in increment.histograms.items()}
    strata = {
        label: _parts_together(total.strata.get(label, NOTHING), increment.strata.get(label, NOTHING))
        for label in total.strata.keys() | increment.strata.keys()
    }
    return Sample(
        increment.at,
        counters,
        {**total.histograms, **histograms},
        _parts_together(total.replicas, increment.replicas),
        {**total.gauges, **increment.gauges},
        strata,
    )


def _parts_together(one: Mapping[str, Sample], other: Mapping[str, Sample]) -> dict[str, Sample]:
    return {
        name: _together(one.get(name), other[name]) if name in other else one[name]
        for name in one.keys() | other.keys()
    }


def _merged(total: Histogram | None, new: Histogram) -> Histogram:
    if total is None or total.bounds != new.bounds:
        return new
    counts = tuple(a + b for a, b in zip(total.counts, new.counts, strict=True))
    return Histogram(new.bounds, counts, total.total + new.total)


def totals_of(sample: Sample) -> Totals:
    """What a person wants to see of the counts of one stage."""
    latency = sample.histograms.get("latency")
    return Totals(
        max(sample.of_users, 0.0),
        sample.counters.get("errors", 0.0),
        latency.quantile(0.5) if latency else None,
        latency.quantile(0.99) if latency else None,
    )
