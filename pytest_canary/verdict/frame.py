"""What one role of many rollouts has counted: samples with a leading batch axis; a live run is one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pytest_canary.ports import NOTHING, PROBES_TOO, Foreseen, Histogram, Sample
from pytest_canary.stats.rows import onward, polls_ahead

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Index = NDArray[np.intp]


@dataclass(slots=True, eq=False)
class Layout:
    """Which column is which number: counters, then the buckets and the sum of each histogram, then gauges."""

    counters: tuple[str, ...]
    histograms: tuple[tuple[str, tuple[float, ...], int], ...]
    """Name, boundaries and number of counts of each."""
    gauges: tuple[str, ...]
    places: dict[str, int] = field(default_factory=dict)
    """Counter -> its column."""
    buckets: dict[str, tuple[slice, int, tuple[float, ...]]] = field(default_factory=dict)
    """Histogram -> the columns of its buckets, that of its sum, its boundaries."""
    levels: dict[str, int] = field(default_factory=dict)
    """Gauge -> its column."""
    width: int = 0
    rising: Flags = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Columns that never go back: neither sums of values nor gauges."""
    _edges: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = {name: at for at, name in enumerate(self.counters)}
        at = len(self.counters)
        for name, bounds, size in self.histograms:
            self.buckets[name] = (slice(at, at + size), at + size, bounds)
            at += size + 1
        self.levels = {name: at + index for index, name in enumerate(self.gauges)}
        self.width = at + len(self.gauges)
        self.rising = np.ones(self.width, dtype=bool)
        self.rising[[sums for _, sums, _ in self.buckets.values()] + [*self.levels.values()]] = False

    def edges(self, name: str) -> Array:
        """Boundaries of a histogram, as an array."""
        if name not in self._edges:
            self._edges[name] = np.asarray(self.buckets[name][2])
        return self._edges[name]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layout):
            return NotImplemented
        return self is other or (
            self.counters == other.counters and self.gauges == other.gauges and self.histograms == other.histograms
        )

    __hash__ = None  # type: ignore[assignment]

    def fits(self, sample: Sample) -> bool:
        """Whether ``sample`` has just these numbers, in this order."""
        known = zip(self.histograms, sample.histograms.items(), strict=False)
        return (
            len(self.histograms) == len(sample.histograms)
            and tuple(sample.counters) == self.counters
            and tuple(sample.gauges) == self.gauges
            and all(
                name == own and size == len(one.counts) and bounds == one.bounds
                for (name, bounds, size), (own, one) in known
            )
        )


def layout_of(sample: Sample) -> Layout:
    """That of one sample."""
    return Layout(
        tuple(sample.counters), tuple((name, one.bounds, len(one.counts)) for name, one in sample.histograms.items()),
        tuple(sample.gauges),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """One row per rollout; ``at`` and every column of ``values`` have shape (batch,)."""

    at: Array
    layout: Layout
    values: Array
    replicas: Mapping[str, Frame] = field(default_factory=lambda: NOTHING)
    strata: Mapping[str, Mapping[str, Frame]] = field(default_factory=lambda: NOTHING)
    there: Flags | None = None
    """Of a replica: in which rollouts it has been seen; None means in all."""

    @classmethod
    def of(cls, sample: Sample, like: Frame | None = None) -> Frame:
        """A single row; the layout is that of ``like`` where it fits."""
        layout = like.layout if like is not None and like.layout.fits(sample) else layout_of(sample)
        values = np.empty((1, layout.width))
        row = values[0]
        row[: len(layout.counters)] = tuple(sample.counters.values())
        for (buckets, total, _), histogram in zip(layout.buckets.values(), sample.histograms.values(), strict=True):
            row[buckets] = histogram.counts
            row[total] = histogram.total
        row[layout.width - len(layout.gauges) :] = tuple(sample.gauges.values())
        before = like.replicas if like is not None else NOTHING
        known = like.strata if like is not None else NOTHING
        return cls(
            np.array([sample.at]), layout, values,
            {name: cls.of(part, before.get(name)) for name, part in sample.replicas.items()} or NOTHING,
            {label: _of_parts(parts, known.get(label, NOTHING)) for label, parts in sample.strata.items()} or NOTHING,
        )  # fmt: skip

    def __deepcopy__(self, memo: object) -> Frame:
        """Itself: nothing in it ever changes."""
        return self

    @classmethod
    def foreseen(cls, told: Foreseen, like: Frame | None = None) -> Frame:
        """A row for each of successive polls; the layout is that of ``like`` where it fits."""
        layout = like.layout if like is not None and like.layout.fits(told.like) else layout_of(told.like)
        counters = np.array(list(told.counters.values()), dtype=np.float64).T
        return cls(np.array(told.times, dtype=np.float64), layout, np.concatenate([counters, told.others], axis=1))

    @property
    def batch(self) -> int:
        """How many rollouts there are."""
        return len(self.values)

    def row(self, index: int = 0) -> Sample:
        """What one of them counted."""
        own = self.values[index].tolist()
        histograms = {
            name: Histogram(bounds, tuple(own[buckets]), own[total])
            for name, (buckets, total, bounds) in self.layout.buckets.items()
        }
        return Sample(
            float(self.at[index]), {name: own[at] for name, at in self.layout.places.items()}, histograms,
            {name: part.row(index) for name, part in self.replicas.items()},
            {name: own[at] for name, at in self.layout.levels.items()},
            {label: {n: part.row(index) for n, part in parts.items()} for label, parts in self.strata.items()},
        )  # fmt: skip

    def counter(self, name: str) -> Array:
        """One column; nought where nobody counts it."""
        at = self.layout.places.get(name)
        return np.zeros(self.batch) if at is None else self.values[:, at]

    def histogram(self, name: str) -> tuple[tuple[float, ...], Array, Array] | None:
        """Boundaries, counts in shape (batch, buckets) and sums; None where nobody counts it."""
        known = self.layout.buckets.get(name)
        return None if known is None else (known[2], self.values[:, known[0]], self.values[:, known[1]])

    @property
    def of_users(self) -> Array:
        """Requests that users sent."""
        requests = self.counter("requests")
        return requests - self.counter(PROBES_TOO) if PROBES_TOO in self.layout.places else requests

    def keep(self, rows: Index) -> Frame:
        """These rollouts only."""
        return self._each(lambda frame: _rows(frame, rows))

    def only(self, where: Flags) -> Frame:
        """As it is ``where``, and nothing elsewhere."""
        if where.all():
            return self
        return self._each(lambda frame: replace(frame, values=np.where(where[:, None], frame.values, 0.0)))

    def _each(self, change: _Change) -> Frame:
        new = change(self)
        return Frame(
            new.at, new.layout, new.values, {name: part._each(change) for name, part in self.replicas.items()},
            {label: {n: part._each(change) for n, part in parts.items()} for label, parts in self.strata.items()},
            new.there,
        )  # fmt: skip

    def onward(self) -> Frame:
        """What each row has to add to what was counted before; see :func:`~pytest_canary.stats.rows.onward`."""
        return self._each(_onward) if polls_ahead() else self

    def behind(self, before: Frame) -> Frame:
        """What each of these successive polls comes after: ``before``, or the poll in the row above."""
        return joined([before.keep(_FIRST), self.keep(np.arange(self.batch - 1))])

    # -- over time -------------------------------------------------------------------------------------------------

    def sound(self) -> Frame | None:
        """Without the parts that hold no numbers: a source that divides by zero must not poison the evidence."""
        if not np.isfinite(self.values).all():
            return None
        if not self.replicas and not self.strata:
            return self
        strata = {label: _sound(parts) for label, parts in self.strata.items()}
        return Frame(self.at, self.layout, self.values, _sound(self.replicas), strata)

    def since(self, earlier: Frame) -> Frame | None:
        """What was counted after ``earlier``; nothing where a counter went back, None where all did."""
        before = earlier.values if self.layout == earlier.layout else earlier.arranged(self.layout)
        if before is None:
            return None
        values: Array = self.values - before
        layout = self.layout
        if layout.gauges:
            values[:, -len(layout.gauges) :] = self.values[:, -len(layout.gauges) :]
        back = np.asarray((values < 0) & layout.rising)
        if back.any():
            forth = ~np.logical_or.reduce(back, axis=1)
            if not forth.any():
                return None
            values = np.where(forth[:, None], values, 0.0)
        if not self.replicas and not self.strata:
            return Frame(self.at, layout, values, there=self.there)
        strata = {label: _since(parts, earlier.strata.get(label, NOTHING)) for label, parts in self.strata.items()}
        return Frame(self.at, layout, values, _since(self.replicas, earlier.replicas), strata)

    def arranged(self, layout: Layout) -> Array | None:
        """The values in the order of another layout, nought where there are none; None where buckets differ."""
        values = np.zeros((self.batch, layout.width))
        for name, at in layout.places.items():
            values[:, at] = self.counter(name)
        for name, (buckets, total, bounds) in layout.buckets.items():
            known = self.layout.buckets.get(name)
            if known is None or known[0].start == known[0].stop:
                continue
            if known[2] != bounds or known[0].stop - known[0].start != buckets.stop - buckets.start:
                return None
            values[:, buckets], values[:, total] = self.values[:, known[0]], self.values[:, known[1]]
        return values

    def __add__(self, increment: Frame) -> Frame:
        """With what was counted next; where buckets differ the newer ones stand alone."""
        if self.layout == increment.layout:
            values, layout = self.values + increment.values, increment.layout
            if layout.gauges:
                values[:, -len(layout.gauges) :] = increment.values[:, -len(layout.gauges) :]
        else:
            layout, values = _merged(self, increment)
        if not (self.replicas or increment.replicas or self.strata or increment.strata):
            return Frame(increment.at, layout, values, there=increment.there)
        labels = self.strata.keys() | increment.strata.keys()
        strata = {n: _added(self.strata.get(n, NOTHING), increment.strata.get(n, NOTHING)) for n in labels}
        return Frame(increment.at, layout, values, _added(self.replicas, increment.replicas), strata)


_Change = Callable[[Frame], Frame]


_FIRST = np.zeros(1, dtype=np.intp)


def _onward(frame: Frame) -> Frame:
    """Gauges are of a moment, and add up to nothing."""
    values, gauges = onward(frame.values), len(frame.layout.gauges)
    if gauges:
        values[:, -gauges:] = frame.values[:, -gauges:]
    return replace(frame, values=values)


def _rows(frame: Frame, rows: Index) -> Frame:
    there = None if frame.there is None else frame.there[rows]
    return Frame(frame.at[rows], frame.layout, frame.values[rows], there=there)


def _merged(one: Frame, new: Frame) -> tuple[Layout, Array]:
    """Layout and values of both together, where they do not have the same numbers."""
    histograms = {told[0]: told for told in (*one.layout.histograms, *new.layout.histograms)}
    layout = Layout(
        tuple(dict.fromkeys([*one.layout.counters, *new.layout.counters])), tuple(histograms.values()),
        tuple(dict.fromkeys([*one.layout.gauges, *new.layout.gauges])),
    )  # fmt: skip
    values = np.zeros((new.batch, layout.width))
    for frame in (one, new):
        for name, at in frame.layout.places.items():
            values[:, layout.places[name]] += frame.values[:, at]
        for name, at in frame.layout.levels.items():
            values[:, layout.levels[name]] = frame.values[:, at]
        for name, (buckets, total, bounds) in frame.layout.buckets.items():
            into, sums, kept = layout.buckets[name]
            if bounds == kept and into.stop - into.start == buckets.stop - buckets.start:
                values[:, into] += frame.values[:, buckets]
                values[:, sums] += frame.values[:, total]
    return layout, values


def _of_parts(parts: Mapping[str, Sample], before: Mapping[str, Frame]) -> Mapping[str, Frame]:
    return {name: Frame.of(part, before.get(name)) for name, part in parts.items()}


def _sound(parts: Mapping[str, Frame]) -> Mapping[str, Frame]:
    return {name: part for name, part in parts.items() if part.sound() is not None}


def _since(now: Mapping[str, Frame], earlier: Mapping[str, Frame]) -> Mapping[str, Frame]:
    """What each part counted; one whose counters began anew (a pod that restarted) is left out this once."""
    found = {name: part.since(earlier[name]) if name in earlier else part for name, part in now.items()}
    return {name: part for name, part in found.items() if part is not None}


def _added(one: Mapping[str, Frame], other: Mapping[str, Frame]) -> Mapping[str, Frame]:
    return {
        name: one[name] + other[name] if name in one and name in other else other.get(name) or one[name]
        for name in one.keys() | other.keys()
    }


def rows_of(samples: Sequence[Sample]) -> Frame:
    """One row each, of one source."""
    return joined(Frame.of(sample) for sample in samples)


def joined(frames: Iterable[Frame]) -> Frame:
    """The rows of several frames of one layout, one after the other."""
    parts = list(frames)
    first = parts[0]
    return Frame(
        np.concatenate([one.at for one in parts]), first.layout, np.concatenate([one.values for one in parts]),
        {name: joined(one.replicas[name] for one in parts) for name in first.replicas},
        {
            label: {name: joined(one.strata[label][name] for one in parts) for name in values}
            for label, values in first.strata.items()
        },
    )  # fmt: skip


def one(value: float) -> Array:
    """A batch of one."""
    return np.array([value])
