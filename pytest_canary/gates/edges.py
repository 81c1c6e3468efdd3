"""Which bucket boundaries a latency gate looks at, and what to say when a histogram has none that will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_canary.gates import sentences as say
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.side import Places, Side, places
from pytest_canary.gates.values import Gate, Limits, Metric
from pytest_canary.stats.grid import Array
from pytest_canary.stats.latency import boundary_at_least, boundary_nearest
from pytest_canary.stats.ratio import Counts
from pytest_canary.stats.rows import Index, Rows, axes, repeated

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


class Edges(Rows):
    """Edges of every rollout, one per quantile: boundaries in shape (quantiles, batch)."""

    AXES = axes(_low=1, _high=1)

    def __init__(self, quantiles: Sequence[float], low: Array, high: Array) -> None:
        self._quantiles, self._low, self._high = tuple(quantiles), low, high
        self._bounds: dict[str, tuple[tuple[float, ...], Places | None]] = {}

    @classmethod
    def of(cls, rows: Sequence[Sequence[Edge]]) -> Edges:
        """Those of each rollout."""
        low, high = (np.array([[getattr(each, name) for each in row] for row in rows]).T for name in ("low", "high"))
        return cls([each.quantile for each in rows[0]], low, high)

    @classmethod
    def at(cls, rows: Sequence[Sequence[float]]) -> Edges:
        """Boundaries at which both sides are counted alike."""
        low = np.array(rows, dtype=np.float64).reshape(len(rows), -1).T
        return cls([0.0] * len(low), low, low)

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._bounds = {}

    @property
    def number(self) -> int:
        """How many quantiles there are."""
        return len(self._quantiles)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edges):
            return NotImplemented
        return other is self or (np.array_equal(self._low, other._low) and np.array_equal(self._high, other._high))

    __hash__ = None  # type: ignore[assignment]

    def row(self, index: int) -> tuple[Edge, ...]:
        """Those of one rollout."""
        lows, highs = self._low[:, index].tolist(), self._high[:, index].tolist()
        return tuple(Edge(*each) for each in zip(self._quantiles, lows, highs, strict=True))

    def above(self, side: Side, which: str) -> Array | None:
        """How many of ``side`` lie above the ``low`` or the ``high`` boundary of each; None if buckets cannot say.

        Shape (quantiles, batch).
        """
        known = self._bounds.get(which)
        if known is None or known[0] != side.bounds:
            wanted = self._low if which == "low" else self._high
            known = self._bounds[which] = side.bounds, places(side.bounds, wanted)
        return None if known[1] is None else side.above(known[1])


def beyond(pairs: Sequence[tuple[Side, Side]], edges: Edges) -> list[Counts] | None:
    """Canary requests over the high and baseline requests over the low boundary of each; None if buckets cannot say.

    One for each of ``pairs``; the boundaries stand one after the other.
    """
    found = list[Counts]()
    for canary, baseline in pairs:
        mine, theirs = edges.above(canary, "high"), edges.above(baseline, "low")
        if mine is None or theirs is None:
            return None
        n, m = (repeated(side.requests, edges.number) for side in (canary, baseline))
        found.append(Counts(n, mine.ravel(), m, theirs.ravel()))
    return found
