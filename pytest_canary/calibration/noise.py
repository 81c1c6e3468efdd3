"""How much worse than itself the stable build looks, and which gates lie above that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log, sqrt

import numpy as np

from pytest_canary.gates import Gate, Kind
from pytest_canary.gates.itself import next_ratio
from pytest_canary.gates.noise import measured
from pytest_canary.play import Cast, History
from pytest_canary.verdict.frame import Frame
from pytest_canary.verdict.readings import side_or_nothing

WINDOWS = 40
"""So many stretches of a rollout's length are looked at, all over the history."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The ratio to itself that one comparison in twenty exceeds, and the smallest ``ratio`` that lies above it."""

    floor: float
    smallest: float


def noise_of(gate: Gate, history: History, cast: Cast) -> Noise | None:
    """The noise floor of ``gate``: how replicas differ over a rollout's length; None where nothing tells.

    A rule that weighs evidence leaves to chance what chance explains, a plain one does not.
    """
    if gate.metric.kind is Kind.GAUGE or not any((gate.limits.ratio, gate.limits.delta)):
        return None
    length = min(sum(part.steps for part in cast.parts), history.steps)
    starts = history.starts(length)
    chosen = starts[np.linspace(0, len(starts) - 1, min(WINDOWS, len(starts))).astype(int)] if len(starts) else ()
    found = [one for at in chosen if (one := _floor(gate, history, int(at), int(at) + length, cast)) is not None]
    if not found:
        return None
    floor = exp(sqrt(sum(log(one) ** 2 for one in found) / len(found)))
    return Noise(floor, next_ratio(floor))


def _floor(gate: Gate, history: History, first: int, end: int, cast: Cast) -> float | None:
    sample = history.sample(first, end)
    reading = side_or_nothing(gate, Frame.of(sample)).row(0)
    if not reading.replicas:
        return None
    canaries = cast.parts[0].canaries if cast.parts else 1
    floor = measured(replace(gate, canaries=canaries), reading, [])
    return floor.ratio if floor is not None else None
