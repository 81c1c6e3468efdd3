"""Cumulative samples -> a history: what each replica counted from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_canary.gates import Metric
from pytest_canary.play.history import Array, Buckets, History
from pytest_canary.ports import Sample

GAP = 3.0
"""A step that took so many times as long as usual is a gap: nothing is played across it."""
_EARLY = 0.5
"""A sample that comes after less of a step than that is passed over."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What one replica counted in one step; nothing where its counters began anew."""

    counters: Mapping[str, float]
    histograms: Mapping[str, tuple[tuple[float, ...], NDArray[np.float32], float]]


_NOTHING = _Row({}, {})


class _Wanted:
    """Which counters and histograms some metrics take; all of them where none are named."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        metrics = tuple(metrics)
        self._all = not metrics
        self._names = {"requests", "latency", *(name for one in metrics for name in (*one.counted, one.histogram))}

    def row(self, sample: Sample | None) -> _Row:
        if sample is None:
            return _NOTHING
        return _Row(
            {name: value for name, value in sample.counters.items() if self._all or name in self._names},
            {
                name: (one.bounds, np.asarray(one.counts, dtype=np.float32), one.total)
                for name, one in sample.histograms.items()
                if one.counts and (self._all or name in self._names)
            },
        )


def of_samples(samples: Iterable[Sample], metrics: Iterable[Metric] = (), step_seconds: float = 0.0) -> History:
    """What the replicas of cumulative ``samples`` have counted from one to the next, of all that ``metrics`` take.

    A replica whose counters began anew, or that has just come, is left out for that step.  Samples of the same time, or
    an earlier one, are passed over, and those that come sooner than ``step_seconds`` after the one before.
    """
    wanted, before = _Wanted(metrics), None
    rows: list[dict[str, _Row]] = []
    lengths: list[float] = []
    for sample in samples:
        if before is not None:
            length = sample.at - before.at
            if length <= 0 or length < step_seconds * (1 - _EARLY):
                continue
            then = before.replicas
            rows.append(
                {
                    name: wanted.row(one.since(then[name]) if name in then else None)
                    for name, one in sample.replicas.items()
                }
            )
            lengths.append(length)
        before = sample
    if not rows:
        return History(step_seconds or 1.0, {})
    usual = float(np.median(lengths))
    near = np.array(lengths) <= GAP * usual
    kept = [at for at, one in enumerate(near) if one]
    follows = np.array([at > 0 and bool(near[at - 1]) for at in kept], dtype=bool)
    return _filled(usual, [rows[at] for at in kept], follows)


def _filled(step: float, rows: Sequence[Mapping[str, _Row]], follows: NDArray[np.bool_]) -> History:
    places = _places(rows)
    width = max((place for each in places for place in each.values()), default=-1) + 1
    shape = (len(rows), width)
    counters: dict[str, Array] = {}
    histograms: dict[str, Buckets] = {}
    for at, (each, placed) in enumerate(zip(rows, places, strict=True)):
        for name, row in each.items():
            where = at, placed[name]
            for counter, value in row.counters.items():
                counters.setdefault(counter, np.zeros(shape))[where] = value
            for key, (bounds, counts, total) in row.histograms.items():
                if key not in histograms:
                    empty = np.zeros((*shape, len(counts)), dtype=np.float32)
                    histograms[key] = Buckets(bounds, empty, np.zeros(shape))
                if histograms[key].bounds == bounds:
                    histograms[key].counts[where], histograms[key].totals[where] = counts, total
    return History(step, counters, histograms, follows)


def _places(rows: Sequence[Mapping[str, _Row]]) -> list[dict[str, int]]:
    """Replica -> place, step by step; a new replica takes the lowest place that nobody has."""
    held: dict[str, int] = {}
    found = []
    for each in rows:
        held = {name: place for name, place in held.items() if name in each}
        free = iter(sorted(set(range(len(each) + len(held))) - set(held.values())))
        for name in sorted(each.keys() - held.keys()):
            held[name] = next(free)
        found.append(dict(held))
    return found
