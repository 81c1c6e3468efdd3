"""Whether the stable build itself keeps a limit that a file gave: else the canary would pay for another machine."""

from __future__ import annotations

from math import log10

from pytest_canary.gates import sentences as say
from pytest_canary.gates.plain import Plain
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Gate, Kind, Origin
from pytest_canary.stats.latency import boundary_at_least
from pytest_canary.stats.mean import MeanLimitEvidence
from pytest_canary.stats.rate import odds_above

SURE = 0.95
"""How likely it must be that the stable build breaks the limit."""
APART = 100.0
"""A file and the build it was measured on do not differ by so many times, unless it is by their unit."""
LOOSE = 2.0
"""From so many times better than the file on, the gate allows more than was meant, and says so."""
NEAR = 1.1
"""A bucket boundary that is so many times the limit is not the limit any more."""


def unkept(gate: Gate, baseline: Reading) -> str | None:
    """Why ``gate`` cannot be held against its file, seen from what the stable build does now; None when it can."""
    for limits in (gate.limits, *(limits for _, limits in gate.stages)):
        value = Plain(gate).value(baseline).value
        if limits.origin is None or limits.max is None or value is None or not baseline.requests:
            continue
        now = f"the stable build itself is at {_said(gate, value)}"
        if gate.metric.kind is not Kind.RATE and value and abs(log10(limits.origin.normal / value)) > log10(APART):
            return f"{now}, far from {limits.origin.words} ({limits.origin.facts}); see the units in the file"
        if _breaks(gate, baseline, limits.max) > SURE:
            return (
                f"{now}, which does not keep {limits.origin.words} ({limits.origin.facts}); measure it again under "
                "this traffic, or take `baseline.file` out"
            )
    return None


def coarse(gate: Gate, baseline: Reading) -> str:
    """What to say where the buckets cannot tell the limit, and a wider one is judged; empty where they can."""
    limit, quantile = gate.limits.max, gate.metric.kind is Kind.QUANTILE
    bound = boundary_at_least(baseline.bounds, limit) if gate.limits.origin and limit and quantile else None
    if not bound or not limit or bound < NEAR * limit:
        return ""
    return (
        f"{gate.name} is judged at {_said(gate, bound)}, not {_said(gate, limit)}: the next bucket boundary lies there"
    )


def loose(gate: Gate, baseline: Reading) -> str:
    """What to say where the stable build is far better than its file, so that harm would pass; empty otherwise."""
    origin, value = gate.limits.origin, Plain(gate).value(baseline).value
    if origin is not None and gate.metric.kind is Kind.RATE:
        return _loose_rate(gate, baseline, origin)
    if origin is None or not value or origin.normal < LOOSE * value:
        return ""
    return (
        f"{gate.name}: the stable build is at {_said(gate, value)} now, so {origin.words} lets a canary pass that is "
        f"{(gate.limits.max or origin.normal) / value:.1f}x worse than that; measure it again under this traffic"
    )


def broken_already(gate: Gate, baseline: Reading) -> str:
    """What to say where the stable build does not keep a `max` that somebody wrote; empty where it does."""
    limit, value = gate.limits.max, Plain(gate).value(baseline).value
    if gate.limits.origin or gate.metric.missed or limit is None or value is None or not baseline.requests:
        return ""
    if _breaks(gate, baseline, limit) <= SURE:
        return ""
    return (
        f"{gate.name}: the stable build itself is at {_said(gate, value)}, and `max` is {_said(gate, limit)}: a canary "
        "that is as good will not pass"
    )


def _loose_rate(gate: Gate, baseline: Reading, origin: Origin) -> str:
    """The same for a rate, which in a short window may be low, or nought, by chance."""
    half, limit = origin.normal / LOOSE, gate.limits.max
    if not (half and limit and baseline.requests):
        return ""
    if odds_above(baseline.requests, baseline.events, half) > 1 - SURE:
        return ""
    return (
        f"{gate.name}: the stable build is at {_said(gate, baseline.rate or 0.0)} now, so {origin.words} lets a canary "
        f"pass at which {_said(gate, limit)} fail; measure it again under this traffic"
    )


def _breaks(gate: Gate, side: Reading, limit: float) -> float:
    """How likely it is, from ``side`` alone, that it lies above ``limit``."""
    if gate.metric.kind is Kind.RATE:
        return odds_above(side.requests, side.events, limit)
    if gate.metric.kind is Kind.QUANTILE:
        bound = boundary_at_least(side.bounds, limit)
        above = None if bound is None else side.above(bound)
        return 0.0 if above is None else odds_above(side.requests, above, 1 - gate.metric.quantile)
    if not side.bounds:  # only a sum: its spread is not known here
        return 1.0 if (side.mean or 0.0) > limit else 0.0
    evidence = MeanLimitEvidence(limit, phi=gate.design_effect)
    evidence.update(side.moments)
    return float(evidence.odds[0])


def _said(gate: Gate, value: float) -> str:
    return say.percent(value) if gate.metric.unit == "ratio" else say.amount(value, gate.metric.unit)
