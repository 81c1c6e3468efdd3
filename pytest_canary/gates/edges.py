"""Which bucket boundaries a latency gate looks at, and what to say when a histogram has none that will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_canary.gates import sentences as say
from pytest_canary.gates.evidence import Strata
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Counted, Gate, Limits, Metric
from pytest_canary.stats.latency import boundary_at_least, boundary_nearest
from pytest_canary.stats.ratio import Counts

LEVELS = ((0.5, 0.2), (0.9, 0.2), (0.95, 0.2), (0.99, 0.4))
"""Quantiles whose exceedances are evidence of "slower at all", and how much each counts."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A quantile of the baseline and its limit, as bucket boundaries in seconds."""

    quantile: float
    low: float
    """The boundary nearest the baseline's quantile."""
    high: float
    """The smallest boundary that is not below the limit."""

    @property
    def name(self) -> str:
        """``p99``."""
        return f"p{self.quantile * 100:g}"


def tail_of(gate: Gate) -> tuple[float, ...]:
    """The quantiles any of which may fail this gate: its own and those from p90 up to it, unless it names them."""
    own = gate.metric.quantile
    return gate.quantiles or (*(q for q, _ in LEVELS if 0.9 <= q < own), own)


def levels(baseline: Reading) -> tuple[tuple[float, float], ...]:
    """Boundary nearest each quantile that the histogram can express, with its weight."""
    values = ((baseline.quantile(q), weight) for q, weight in LEVELS)
    return tuple((boundary_nearest(baseline.bounds, value), weight) for value, weight in values if value is not None)


def edge(baseline: Reading, quantile: float, limits: Limits, kind: str, metric: Metric) -> Edge | str:
    """The boundaries for one quantile and one relative limit, or what is wrong with the histogram."""
    name = f"p{quantile * 100:g}"
    if not baseline.counts or not baseline.requests:
        asked = "streamed requests" if metric.histogram == "ttft" else "requests"
        return f"the baseline's histogram `{metric.histogram}` is empty; {say.empty(metric, asked)}"
    value = baseline.quantile(quantile)
    if value is None:
        last = say.amount(baseline.bounds[-1], metric.unit)
        return (
            f"the baseline's {name} lies above {last}, the last bucket boundary of `{metric.histogram}`; "
            f"add boundaries above {last}, each about 1.1 times the one before"
        )
    low = boundary_nearest(baseline.bounds, value)
    wanted = low * (limits.ratio or 1.0) if kind == "ratio" else low + (limits.delta or 0.0)
    high = boundary_at_least(baseline.bounds, wanted)
    if high is None or high <= low:
        return missing(baseline, wanted, metric, f"the baseline's {name} is {say.amount(low, metric.unit)}")
    return Edge(quantile, low, high)


def below_all(baseline: Reading, chosen: Edge, metric: Metric) -> str:
    """What is hidden where the baseline's quantile lies in the first bucket; empty where it does not."""
    value, first = baseline.quantile(chosen.quantile), baseline.bounds[0]
    if value is None or value > first or chosen.low != first:
        return ""
    low, high = (say.amount(bound, metric.unit) for bound in (chosen.low, chosen.high))
    return (
        f"is judged by what lies above {high}: the baseline's {chosen.name} is somewhere below {low}, the first bucket "
        f"boundary of `{metric.histogram}`"
    )


def missing(baseline: Reading, wanted: float, metric: Metric, why: str) -> str:
    """What to say when no boundary is at or above ``wanted``."""
    last = say.amount(baseline.bounds[-1], metric.unit) if baseline.bounds else "none"
    return (
        f"{why} and the last bucket boundary of `{metric.histogram}` is {last}; "
        f"add a boundary at {say.amount(wanted, metric.unit)}"
    )


def beyond(pairs: Sequence[tuple[Reading, Reading]], high: float, low: float) -> Strata | None:
    """Canary requests over ``high`` and baseline requests over ``low``; None where a bucket cannot say."""
    counts = []
    for canary, baseline in pairs:
        mine, theirs = canary.above(high), baseline.above(low)
        if mine is None or theirs is None:
            return None
        counts.append(Counts(canary.requests, mine, baseline.requests, theirs))
    return counts


def has_more(mine: Counted, theirs: Counted) -> bool:
    """Whether the canary has the larger share beyond its boundary: then its quantile lies over the limit."""
    return bool(theirs.requests and mine.requests) and mine.events * theirs.requests > theirs.events * mine.requests
