"""What each replica of one build has counted, step by step, over hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pytest_canary.ports import Histogram, Sample

Array = NDArray[np.float64]

GAP = 3.0
"""A step that took so many times as long as usual is a gap: nothing is played across it."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """One histogram of every replica: ``counts`` per step has shape (steps, replicas, bounds + 1), ``totals`` the sums
    of the values, shape (steps, replicas); ``bounds`` are upper edges in the metric's unit, rising.
    """

    bounds: tuple[float, ...]
    counts: Array
    totals: Array


@dataclass(frozen=True, slots=True)
class History:
    """Counts per step and replica, never cumulative; arrays have shape (steps, replicas).

    A replica is a place: one that came when another went has taken its place, so a rolling update makes no new ones.
    """

    step_seconds: float
    counters: Mapping[str, Array]
    histograms: Mapping[str, Buckets] = field(default_factory=dict)
    follows: NDArray[np.bool_] | None = None
    """Per step, whether it follows on the one before without a gap; None where all do."""

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.requests)

    @property
    def replicas(self) -> int:
        """How many places for replicas there are."""
        return self.requests.shape[1] if self.requests.size else 0

    @property
    def requests(self) -> Array:
        """Requests, shape (steps, replicas)."""
        return self.counters.get("requests", np.zeros((0, 0)))

    @property
    def seconds(self) -> float:
        """How long it is, gaps left out."""
        return self.steps * self.step_seconds

    def coarser(self, times: int) -> History:
        """The same in steps that are ``times`` as long; what is left over at a gap or at the end is let go."""
        if times <= 1:
            return self
        blocks = np.array([block for run in self._runs() for block in _blocks(run, times)], dtype=np.intp)
        begins = [_blocks(run, times) for run in self._runs()]
        follows = np.concatenate([np.arange(len(one)) > 0 for one in begins]) if begins else np.zeros(0, bool)
        blocks = blocks.reshape(-1, times)
        return History(
            self.step_seconds * times,
            {name: one[blocks].sum(axis=1) for name, one in self.counters.items()},
            {
                name: Buckets(one.bounds, one.counts[blocks].sum(axis=1), one.totals[blocks].sum(axis=1))
                for name, one in self.histograms.items()
            },
            follows,
        )

    def _runs(self) -> list[tuple[int, int]]:
        """First step and the one after the last of each stretch without a gap."""
        if self.follows is None:
            return [(0, self.steps)]
        begins = [0, *(int(at) for at in np.flatnonzero(~self.follows) if at), self.steps]
        return [(a, b) for a, b in pairwise(begins) if b > a]

    def sample(self, first: int, end: int) -> Sample:
        """What was counted from step ``first`` up to ``end``, as a source would tell it."""
        counters = {name: one[first:end].sum(axis=0) for name, one in self.counters.items()}
        buckets = {
            n: (b.counts[first:end].sum(axis=0), b.totals[first:end].sum(axis=0)) for n, b in self.histograms.items()
        }
        parts = {
            f"{place}": Sample(
                0.0,
                {name: float(one[place]) for name, one in counters.items()},
                {n: _histogram(self.histograms[n].bounds, c[place], t[place]) for n, (c, t) in buckets.items()},
            )
            for place in range(self.replicas)
        }
        return Sample(
            0.0,
            {name: float(one.sum()) for name, one in counters.items()},
            {n: _histogram(self.histograms[n].bounds, c.sum(axis=0), t.sum()) for n, (c, t) in buckets.items()},
            parts,
        )

    def starts(self, steps: int) -> NDArray[np.intp]:
        """Every step at which a stretch of so many ``steps`` without a gap begins."""
        found = [np.arange(a, b - steps + 1) for a, b in self._runs() if b - a >= steps]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.intp)


def _histogram(bounds: tuple[float, ...], counts: Array, total: float) -> Histogram:
    return Histogram(bounds, tuple(counts.tolist()), float(total))


def _blocks(run: tuple[int, int], times: int) -> list[range]:
    first, end = run
    return [range(at, at + times) for at in range(first, end - times + 1, times)]


def together(histories: Sequence[History]) -> History:
    """Several histories one after the other, with a gap between; what one has not counted is zero there."""
    if len(histories) == 1:
        return histories[0]
    step = float(np.median([one.step_seconds for one in histories]))
    width = max(one.replicas for one in histories)
    names = {name for one in histories for name in one.counters}
    layouts = {name: b.bounds for one in histories for name, b in one.histograms.items()}
    follows = [np.arange(one.steps) > 0 if one.follows is None else one.follows.copy() for one in histories]
    for one in follows:
        one[:1] = False

    def joined(parts: Sequence[Array]) -> Array:
        padded = [np.pad(p, [(0, 0), (0, width - p.shape[1])] + [(0, 0)] * (p.ndim - 2)) for p in parts]
        return np.concatenate(padded)

    def zeros(one: History, *more: int) -> Array:
        return np.zeros((one.steps, one.replicas, *more))

    histograms = {}
    for name, bounds in layouts.items():
        same = [one.histograms.get(name) for one in histories]
        fit = [one if one is not None and one.bounds == bounds else None for one in same]
        counts = [b.counts if b else zeros(h, len(bounds) + 1) for b, h in zip(fit, histories, strict=True)]
        totals = [b.totals if b else zeros(h) for b, h in zip(fit, histories, strict=True)]
        histograms[name] = Buckets(bounds, joined(counts), joined(totals))
    counters = {name: joined([one.counters.get(name, zeros(one)) for one in histories]) for name in names}
    return History(step, counters, histograms, np.concatenate(follows))


def of_samples(samples: Iterable[Sample]) -> History:
    """What the replicas of cumulative ``samples`` have counted from one to the next.

    A replica whose counters began anew, or that has just come, is left out for that step.  Samples of the same time, or
    an earlier one, are passed over.
    """
    before: Sample | None = None
    parts: list[Mapping[str, Sample | None]] = []
    lengths: list[float] = []
    for sample in samples:
        if before is not None and sample.at <= before.at:
            continue
        if before is not None:
            parts.append(_counted(sample, before))
            lengths.append(sample.at - before.at)
        before = sample
    if not parts:
        return History(1.0, {})
    usual = float(np.median(lengths))
    near = np.array(lengths) <= GAP * usual
    kept = [at for at, one in enumerate(near) if one]
    follows = np.array([at > 0 and bool(near[at - 1]) for at in kept], dtype=bool)
    return _filled(usual, [parts[at] for at in kept], follows)


def _counted(now: Sample, before: Sample) -> Mapping[str, Sample | None]:
    """What each replica that is there counted; None where nobody can say."""
    then = before.replicas
    return {name: one.since(then[name]) if name in then else None for name, one in now.replicas.items()}


def _filled(step: float, parts: Sequence[Mapping[str, Sample | None]], follows: NDArray[np.bool_]) -> History:
    places = _places(parts)
    width = max((place for each in places for place in each.values()), default=-1) + 1
    shape = (len(parts), width)
    counters: dict[str, Array] = {}
    histograms: dict[str, Buckets] = {}
    for at, (each, placed) in enumerate(zip(parts, places, strict=True)):
        for name, sample in each.items():
            if sample is None:
                continue
            for counter, value in sample.counters.items():
                counters.setdefault(counter, np.zeros(shape))[at, placed[name]] += value
            for key, histogram in sample.histograms.items():
                _add(histograms, key, histogram, shape, (at, placed[name]))
    return History(step, counters, histograms, follows)


def _add(
    found: dict[str, Buckets], name: str, histogram: Histogram, shape: tuple[int, int], where: tuple[int, int]
) -> None:
    if not histogram.counts:
        return
    width = len(histogram.counts)
    buckets = found.setdefault(name, Buckets(histogram.bounds, np.zeros((*shape, width)), np.zeros(shape)))
    if buckets.bounds == histogram.bounds:
        buckets.counts[where] += histogram.counts
        buckets.totals[where] += histogram.total


def _places(parts: Sequence[Mapping[str, Sample | None]]) -> list[dict[str, int]]:
    """Replica -> place, step by step; a new replica takes the lowest place that nobody has."""
    held: dict[str, int] = {}
    found = []
    for each in parts:
        held = {name: place for name, place in held.items() if name in each}
        free = iter(sorted(set(range(len(each) + len(held))) - set(held.values())))
        for name in sorted(each.keys() - held.keys()):
            held[name] = next(free)
        found.append(dict(held))
    return found
