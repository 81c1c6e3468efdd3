"""Values that are in another unit than the gate, or than the other side: what is compared then says nothing."""

from __future__ import annotations

from pytest_canary.gates.plain import Plain
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Gate, Kind
from pytest_canary.gates.words import percent

THOUSAND = (500.0, 2000.0)
"""A canary that is about so many times faster than the stable build counts seconds where that counts milliseconds."""
QUEUES = "queue_time"
"""With little traffic there is no queue, however long that of the stable build is."""
WHOLE = 1.0 + 1e-6
_MEND = "let the source count it as 0 to 1 (a profile says `unit`), or gate it as one of your own with another `unit`"


MANY, SOME = 1.1, 10.0
"""Events that are counted at once and requests that are counted at their end may be apart by so much."""


def no_part(gate: Gate, baseline: Reading) -> str | None:
    """Why what the stable build counts is no rate: more events than whatever they are a part of; None when it is."""
    if gate.metric.kind is not Kind.RATE or baseline.events <= MANY * baseline.requests + SOME:
        return None
    return (
        f"the stable build counted {baseline.events:,.0f} events among {baseline.requests:,.0f} `{gate.metric.total}`, "
        "and a rate is a part of them; where one has several, write `metric: {mean: [SUM, COUNT]}`"
    )


def hopeless(gate: Gate, baseline: Reading) -> str:
    """What to say where so much fails already that nothing can be so many times worse; empty otherwise."""
    ratio, rate = gate.limits.ratio, baseline.rate
    if gate.metric.kind is not Kind.RATE or not ratio or not rate or rate * ratio < 1:
        return ""
    return (
        f"{gate.name}: the stable build is at {percent(rate)} now, so no canary can be more than {ratio:g}x worse; "
        "a `max` would say what is too much"
    )


def no_share(gate: Gate, baseline: Reading) -> str | None:
    """Why limits in shares cannot be held against what the stable build counts; None when they can."""
    limits = (gate.limits, *(limits for _, limits in gate.stages))
    absolute = any(limit is not None for one in limits for limit in (one.max, one.min, one.delta))
    value = _share(gate, baseline)
    if value is None or value <= WHOLE or not absolute:
        return None
    return f"the stable build is at {value:,.4g}, and it is a share, 0 to 1; {_MEND}"


def may_be_unlike(gate: Gate) -> bool:
    """Whether :func:`unlike` can have anything to say about such a gate."""
    share = gate.metric.unit == "ratio" and gate.metric.kind in (Kind.MEAN, Kind.GAUGE) and not gate.metric.missed
    return share or (gate.metric.unit == "seconds" and not gate.metric.name.startswith(QUEUES))


def unlike(gate: Gate, canary: Reading, baseline: Reading) -> str:
    """Why both sides cannot be in one unit; empty when they can."""
    mine, theirs = _share(gate, canary), _share(gate, baseline)
    if mine is not None and mine > WHOLE and (theirs is None or theirs <= WHOLE):
        return f"canary is at {mine:,.4g}, and it is a share, 0 to 1; {_MEND}"
    if gate.metric.unit != "seconds" or gate.metric.name.startswith(QUEUES):
        return ""
    fast, slow = Plain(gate).value(canary).value, Plain(gate).value(baseline).value
    if fast and slow and THOUSAND[0] < slow / fast < THOUSAND[1]:
        return (
            f"canary is at {fast:.3g} s and the baseline at {slow:.3g} s, {slow / fast:,.0f} times more; is one of "
            "them counted in ms?"
        )
    return ""


def _share(gate: Gate, side: Reading) -> float | None:
    """The mean or gauge of a metric that is a share; None for anything else, and without values."""
    if gate.metric.unit != "ratio" or gate.metric.kind not in (Kind.MEAN, Kind.GAUGE) or gate.metric.missed:
        return None
    return side.mean
