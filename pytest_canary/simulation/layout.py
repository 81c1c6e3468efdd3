"""How one draw is laid out: every kind of count is a partition of the requests, one row of chances each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_canary.gates import Gate, Kind
from pytest_canary.ports import NOTHING
from pytest_canary.simulation import spread
from pytest_canary.simulation.traffic import Traffic

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
OUTCOMES = "outcomes"
"""The family that every role and pod has."""
FAILED = "errors"
USUAL_RATIO = 1.2
"""What a gate on a quantile may allow that says so in another way."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram of a batch: ``counts`` [..., bounds + 1] and the sum of all values, ``total`` [...]."""

    bounds: tuple[float, ...]
    counts: Floats
    total: Floats


@dataclass(frozen=True, slots=True)
class Counts:
    """What one role (or one pod of it) has counted in a batch of rollouts; every array leads with the batch axis.

    The names are those of a :class:`~pytest_canary.ports.Sample`; ``counters`` always has ``requests``.
    """

    counters: Mapping[str, Floats]
    histograms: Mapping[str, Buckets] = field(default_factory=lambda: NOTHING)
    gauges: Mapping[str, Floats] = field(default_factory=lambda: NOTHING)
    pods: tuple[Counts, ...] = ()
    """The same per replica, where they are counted apart: those that do not run have no requests."""

    @property
    def table(self) -> Floats:
        """All numbers, [batch, numbers]: counters, then the counts and the sum of each histogram, then gauges."""
        buckets = [part for one in self.histograms.values() for part in (one.counts, one.total)]
        columns = [*self.counters.values(), *buckets, *self.gauges.values()]
        apart = [one if one.ndim > 1 else one[:, None] for one in columns]
        return np.concatenate(apart, axis=1, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Family:
    """One partition of the requests: a histogram's buckets, or kinds of answers; the last column is "none of these"."""

    name: str
    apart: bool
    """Whether each pod has a row of its own."""
    counters: Mapping[str, tuple[tuple[int, ...], float]] = field(default_factory=lambda: NOTHING)
    """Counter -> the columns it counts, and how much it goes up by each."""
    bounds: tuple[float, ...] = ()
    """Of a histogram, whose buckets are the first columns."""
    each: float = 1.0


class Layout:
    """The rows of one role: first the families that are counted pod by pod, then the others, last those ``besides``.

    ``rows`` are per role, of which gates ask for the first ``asked``; ``width`` is the number of columns, as many as
    the widest family has.
    """

    def __init__(self, traffic: Traffic, gates: Sequence[Gate] = (), besides: frozenset[str] = frozenset()) -> None:
        self.pods = traffic.pods
        many = traffic.pods > 1
        asked = {gate.metric.histogram for gate in gates if gate.metric.kind is Kind.QUANTILE}
        families = [_outcomes(traffic, many), *_parts(traffic)]
        families += [_histogram(name, traffic, gates, apart=many and name in asked) for name in traffic.values]
        self.families = tuple(sorted(families, key=lambda one: (one.name in besides, not one.apart)))
        self.traffic = traffic
        self.starts, row = dict[str, int](), 0
        pod_of = list[int]()
        self.asked = 0
        for one in self.families:
            self.starts[one.name] = row
            own = list(range(self.pods)) if one.apart else [self.pods if many else 0]
            pod_of += own
            row += len(own)
            self.asked = row if one.name not in besides else self.asked
        self.rows = row
        self.pod_of = np.array(pod_of)
        """Of each row the pod whose requests it parts; the number of pods stands for all together."""
        self.width = max(len(self._chances(one, traffic)) for one in self.families)
        self.failed = next(iter(self._family(OUTCOMES).counters[FAILED][0]), 0)

    def _family(self, name: str) -> Family:
        return next(one for one in self.families if one.name == name)

    def chances(self, traffic: Traffic) -> Floats:
        """``[rows, width]``: the chance of each column, of a build that is like ``traffic``."""
        table = np.zeros((self.rows, self.width))
        row = 0
        for one in self.families:
            chances = self._chances(one, traffic)
            for _ in range(self.pods if one.apart else 1):
                table[row, : len(chances) - 1] = chances[:-1]
                table[row, -1] = chances[-1]
                row += 1
        return table

    def worth(self, traffic: Traffic) -> Floats:
        """``[rows, width]``: what one count of each column adds to the sum of the values of a histogram; else 0."""
        table = np.zeros((self.rows, self.width))
        for one in self.families:
            if one.bounds:
                start = self.starts[one.name]
                middles = spread.middles(traffic.values[one.name].spread, one.bounds) * one.each
                table[start : start + (self.pods if one.apart else 1), : len(middles)] = middles
        return table

    def _chances(self, family: Family, traffic: Traffic) -> Floats:
        if family.bounds:
            values = traffic.values[family.name]
            shares = spread.shares(values.spread, family.bounds) * values.among
            return np.append(shares, max(1.0 - values.among, 0.0))
        if family.name == OUTCOMES:
            return _disjoint(traffic.outcomes)
        return _nested(family.name, traffic)

    def read(self, drawn: Whole, sums: Floats, gauges: Floats) -> Counts:
        """What ``drawn`` [N, rows, width], ``sums`` of values [N, rows] and ``gauges`` [N, G] of one role say."""
        counters: dict[str, Floats] = {}
        histograms: dict[str, Buckets] = {}
        for one in self.families:
            start = self.starts[one.name]
            if one.apart:
                rows = slice(start, start + self.pods)
                _take(one, drawn[:, rows].sum(axis=1), sums[:, rows].sum(axis=1), counters, histograms)
            else:
                _take(one, drawn[:, start], sums[:, start], counters, histograms)
        for name, (histogram, whole) in self.traffic.sums.items():
            told = histograms.get(histogram)
            if told is not None:
                counters[name] = told.total if whole else told.counts.sum(axis=-1)
        shown = {name: gauges[:, index] for index, name in enumerate(self.traffic.gauges)}
        return Counts(counters, histograms, shown, self._pods(drawn, sums))

    def _pods(self, drawn: Whole, sums: Floats) -> tuple[Counts, ...]:
        found = []
        for pod in range(self.pods if self.pods > 1 else 0):
            counters: dict[str, Floats] = {}
            histograms: dict[str, Buckets] = {}
            for one in self.families:
                if one.apart:
                    row = self.starts[one.name] + pod
                    _take(one, drawn[:, row], sums[:, row], counters, histograms)
            found.append(Counts(counters, histograms))
        return tuple(found)


def _take(
    one: Family, block: Whole, total: Floats, counters: dict[str, Floats], histograms: dict[str, Buckets]
) -> None:
    if one.bounds:
        histograms[one.name] = Buckets(one.bounds, block[:, : len(one.bounds) + 1].astype(np.float64) * one.each, total)
    if one.name == OUTCOMES:
        counters["requests"] = block.sum(axis=-1).astype(np.float64)
    for name, (columns, each) in one.counters.items():
        counters[name] = block[:, list(columns)].sum(axis=-1) * each


def _outcomes(traffic: Traffic, many: bool) -> Family:
    columns = {name: ((index,), 1.0) for index, name in enumerate(traffic.outcomes)}
    return Family(OUTCOMES, many, columns)


def _disjoint(outcomes: Mapping[str, float]) -> Floats:
    """Errors first: what ends in one is nothing else besides."""
    failed = min(outcomes.get(FAILED, 0.0), 1.0)
    others = {name: share * (1.0 - failed) for name, share in outcomes.items() if name != FAILED}
    excess = max(sum(others.values()) / max(1.0 - failed, 1e-12), 1.0)
    shares = [failed if name == FAILED else others[name] / excess for name in outcomes]
    return np.array([*shares, max(1.0 - sum(shares), 0.0)])


def _parts(traffic: Traffic) -> list[Family]:
    """One family for each counter that is a part of the requests, with the parts of it."""
    roots = [name for name, part in traffic.parts.items() if part.of not in traffic.parts]
    return [_nest(root, traffic) for root in roots]


def _members(root: str, traffic: Traffic) -> list[str]:
    found = [root]
    for name in found:
        found += [other for other, part in traffic.parts.items() if part.of == name]
    return found


def _nest(root: str, traffic: Traffic) -> Family:
    """A column for each member: those that are counted by it and by none of its own parts."""
    members = _members(root, traffic)
    columns = {
        name: (tuple(members.index(one) for one in _members(name, traffic)), traffic.parts[name].each)
        for name in members
    }
    return Family(root, False, columns)


def _nested(root: str, traffic: Traffic) -> Floats:
    members = _members(root, traffic)
    whole = {root: min(traffic.parts[root].share, 1.0)}
    for name in members[1:]:
        whole[name] = whole[traffic.parts[name].of] * min(traffic.parts[name].share, 1.0)
    own = [
        max(whole[name] - sum(whole[other] for other in members if traffic.parts[other].of == name), 0.0)
        for name in members
    ]
    return np.array([*own, max(1.0 - sum(own), 0.0)])


def _histogram(name: str, traffic: Traffic, gates: Sequence[Gate], *, apart: bool) -> Family:
    values = traffic.values[name]
    mine = [gate for gate in gates if gate.metric.histogram == name]
    limits = [limit for gate in mine for limit in _limits(gate)]
    fine = [_ratio(gate) for gate in mine if gate.metric.kind is Kind.QUANTILE or gate.limits.shift is not None]
    bounds = values.bounds or spread.bounds_of(values.spread, ratio=min(fine, default=None), limits=limits)
    return Family(name, apart, bounds=bounds, each=values.each)


def _ratio(gate: Gate) -> float:
    ratio = gate.first("ratio")
    return ratio if ratio > 1 else USUAL_RATIO


def _limits(gate: Gate) -> list[float]:
    """Where a boundary has to be for a limit in numbers to be judged."""
    if gate.metric.kind is not Kind.QUANTILE:
        return []
    said = [gate.limits, *(limits for _, limits in gate.stages)]
    return [limit for limits in said for limit in (limits.max, limits.min) if limit is not None]
