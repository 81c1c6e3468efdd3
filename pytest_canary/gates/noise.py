"""Whether a gate lies above what replicas of the stable build already do among themselves."""

from __future__ import annotations

from math import log

from pytest_canary.gates.edges import Edge
from pytest_canary.gates.reading import Reading
from pytest_canary.stats.floor import largest_by_itself, spread

_ROUND_UP = 1.05


def below_floor(baseline: Reading, ratio: float | None, canaries: int, edge: Edge | None = None) -> str | None:
    """What is wrong with a gate of ``ratio``, and the smallest that works; None where nothing is, or nobody knows.

    ``canaries`` is how many replicas the canary will have; ``edge`` says where a latency gate counts.
    """
    if ratio is None or not baseline.replicas:
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
