"""Whether a gate lies above what the stable build does by itself: its replicas, or polls, among themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from pytest_canary.gates.edges import Edge, edge
from pytest_canary.gates.itself import every, next_ratio
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.sentences import amount
from pytest_canary.gates.values import Decide, Gate, Kind, Limits
from pytest_canary.stats.floor import FEWEST, beyond_chance, largest_by_itself, relative, spread

_ROUND_UP = 1.05
POLLS = 8
"""With fewer polls in the window, halves of them say nothing."""


def below_floor(baseline: Reading, ratio: float | None, gate: Gate, edge: Edge | None = None) -> str | None:
    """What is wrong with a gate of ``ratio``, and the smallest that works; None where nothing is, or nobody knows.

    ``edge`` says where a latency gate counts.  What was calibrated has been played with replicas that differ as these.
    """
    canaries = gate.canaries
    if ratio is None or not baseline.replicas or gate.calibrated:
        return None
    sides = [(one.requests, _events(one, edge)) for one in baseline.replicas.values() if one.requests]
    tau = spread([n for n, _ in sides], [x for _, x in sides])
    if edge is not None:
        tau /= _steepness(baseline, edge)
    floor = largest_by_itself(tau, canaries, len(sides))
    if floor < ratio:
        return None
    works = round(floor * _ROUND_UP + 0.05, 1)
    return (
        f"the {len(sides)} replicas of the stable build differ so much among themselves that {canaries} of them "
        f"reach {floor:.2g}x by chance, and the gate is {ratio:g}x; write `ratio: {works:g}`, or give the canary more "
        "replicas"
    )


def _events(side: Reading, edge: Edge | None) -> float:
    return side.events if edge is None else side.above(edge.low) or 0.0


def _steepness(baseline: Reading, edge: Edge) -> float:
    """By how many per cent the slow requests grow when everything is one per cent slower, at least 1."""
    low, high = baseline.above(edge.low) or 0.0, baseline.above(edge.high) or 0.0
    if not low or high >= low:
        return 1.0
    return max(log(low / max(high, 0.5)) / log(edge.high / edge.low), 1.0)


@dataclass(frozen=True, slots=True)
class Floor:
    """How many times worse than itself the stable build looks, one comparison in twenty, and what was compared."""

    ratio: float
    what: str


def measured(gate: Gate, baseline: Reading, polls: Sequence[Reading]) -> Floor | None:
    """The same build against itself (A/A): replicas where they are counted apart, else halves of its polls.

    None where there are too few of both.  A rule that weighs evidence leaves to chance what chance explains, a plain
    one does not.
    """
    replicas = [one for one in baseline.replicas.values() if one.requests]
    counted = [one for one in polls if one.requests]
    if len(replicas) >= FEWEST:
        tau = _tau(gate, baseline, replicas)
        return Floor(largest_by_itself(tau, gate.canaries, len(replicas)), f"its {len(replicas)} replicas")
    if len(counted) < POLLS:
        return None
    half = len(counted) // 2
    return Floor(largest_by_itself(_tau(gate, baseline, counted), half, half), f"halves of its {len(counted)} polls")


def inside_noise(gate: Gate, baseline: Reading, polls: Sequence[Reading]) -> str | None:
    """What is wrong with a ``ratio`` or ``delta`` inside the noise, and what works; None when nothing is wrong."""
    if not gate.noise or not any(limits.ratio or limits.delta for limits in every(gate)):
        return None
    if gate.noise == "measure":
        floor = measured(gate, baseline, polls)
        if floor is None:
            return (
                f"its noise cannot be measured: {len(polls)} polls in the window before the ramp, expected at least "
                f"{POLLS}; write a longer `baseline: {{window: ...}}`, or state it, such as `noise: 15%`"
            )
        told = f"the stable build differs from itself by up to {floor.ratio:.3g}x ({floor.what} before the ramp)"
    else:
        floor = Floor(1 + gate.noise, "")
        told = f"a build differs from itself by {100 * gate.noise:g}%"
    found = (_inside(gate, limits, floor.ratio, value_of(gate, baseline)) for limits in every(gate))
    wrong = next((one for one in found if one), None)
    return f"{told}, {wrong}" if wrong else None


def _inside(gate: Gate, limits: Limits, floor: float, value: float | None) -> str:
    if limits.ratio is not None and limits.ratio <= floor:
        return f"and the gate is {limits.ratio:g}x; the smallest that works is `ratio: {next_ratio(floor):g}`"
    if limits.delta is not None and value and limits.delta <= (floor - 1) * value:
        unit = gate.metric.unit
        most, works = amount((floor - 1) * value, unit), 1.05 * (floor - 1) * value
        written = amount(works, unit).replace(" ", "") if unit == "seconds" else f"{works:.3g}"
        return f"which is {most}, and the gate is +{amount(limits.delta, unit)}; write `delta: {written}`"
    return ""


def value_of(gate: Gate, side: Reading) -> float | None:
    """The metric itself."""
    kind = gate.metric.kind
    if kind is Kind.RATE:
        return side.rate
    return side.quantile(gate.metric.quantile) if kind is Kind.QUANTILE else side.mean


def _tau(gate: Gate, whole: Reading, parts: Sequence[Reading]) -> float:
    """By how much single parts differ, as a share of the metric."""
    numbers = [one.requests for one in parts]
    if gate.decide in (Decide.THRESHOLD, Decide.WINDOW) or gate.metric.kind is Kind.GAUGE:
        return relative([value for one in parts if (value := value_of(gate, one)) is not None])
    if gate.metric.kind is Kind.RATE:
        return spread(numbers, [one.events for one in parts])
    if gate.metric.kind is Kind.QUANTILE:
        limits = next(one for one in every(gate) if one.ratio or one.delta)
        near = edge(whole, gate.metric.quantile, limits, "ratio" if limits.ratio else "delta", gate.metric)
        if isinstance(near, str):  # the rule has said so
            return 0.0
        return spread(numbers, [_events(one, near) for one in parts]) / _steepness(whole, near)
    means = [one.mean or 0.0 for one in parts]
    if not whole.bounds or not whole.requests or gate.metric.clustered:
        return relative(means)
    variance = max(whole.squares / whole.requests - (whole.mean or 0.0) ** 2, 0.0)
    return beyond_chance(means, [variance / number for number in numbers])
