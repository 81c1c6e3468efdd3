"""Whether a history has enough in it to learn from: hours, replicas, and trouble."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pytest_canary.gates import Gate, Kind
from pytest_canary.play import Cast, History

HOUR = 3600.0
STRETCHES = 4
"""A history should hold so many rollouts one after the other ..."""
LEAST_SECONDS = HOUR
"""... and be so long."""
REPLICAS = 10
"""With fewer, what replicas differ by was drawn too seldom, however many hours there are."""
EVENTS = 30
"""Fewer events say nothing about how they come."""
OFTEN = 10
"""Trouble that came less often is met by too few plays."""
_SURE = 5.0
"""Standard deviations beyond chance that make a burst, and at least so many events."""


def doubts_of(history: History, cast: Cast, gates: Iterable[Gate]) -> tuple[str, ...]:
    """Why what is learnt from ``history`` may be too good, one line each; none where it has all it needs."""
    return (*_length(history, cast), *_replicas(cast), *(one for gate in gates for one in _trouble(history, gate)))


def _length(history: History, cast: Cast) -> Iterator[str]:
    stretches = history.steps // max(cast.steps, 1)
    if stretches < STRETCHES or history.seconds < LEAST_SECONDS:
        yield (
            f"short: {_time(history.seconds)} hold {stretches} rollouts of {_time(cast.steps * history.step_seconds)} "
            f"one after the other, expected at least {STRETCHES} and an hour; the plays are much alike"
        )


def _replicas(cast: Cast) -> Iterator[str]:
    if cast.replicas < REPLICAS:
        yield (
            f"few replicas: {cast.replicas}, expected at least {REPLICAS}; how much replicas differ was seen that "
            "often only, and more hours do not help"
        )


def _trouble(history: History, gate: Gate) -> Iterator[str]:
    metric = gate.metric
    total, events = history.counters.get(metric.total), history.counters.get(metric.events)
    if metric.kind is not Kind.RATE or total is None or events is None:
        return
    bad = total - events if metric.missed else events
    number = int(bad.sum())
    if number < EVENTS:
        yield f"{gate.name}: {number} events in {_time(history.seconds)}, expected at least {EVENTS} to learn from"
        return
    bursts = bursts_in(history, total, bad)
    if not bursts:
        yield (
            f"{gate.name}: no burst in {_time(history.seconds)}; what was measured holds for hours as quiet as these, "
            "so nothing is ever lowered"
        )
    elif bursts < OFTEN:
        yield (
            f"{gate.name}: {bursts} burst{'s' if bursts > 1 else ''} in {_time(history.seconds)}, expected none or at "
            f"least {OFTEN}; how often such a one hits a canary is hardly known"
        )


def bursts_in(history: History, total: np.ndarray, events: np.ndarray) -> int:
    """How many times a replica had far more ``events`` than chance has it, for a while."""
    expected = total * events.sum() / max(total.sum(), 1.0)
    far = events > expected + _SURE * np.sqrt(expected) + _SURE
    begins = far & ~np.vstack([np.zeros((1, history.replicas), dtype=bool), far[:-1]])
    return int(begins.sum())


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 1.5 * HOUR else f"{seconds / HOUR:.1f} h"
