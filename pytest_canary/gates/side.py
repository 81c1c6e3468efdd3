"""What one side of many rollouts counted for one metric: a reading with a leading batch axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pytest_canary.gates.reading import Reading
from pytest_canary.ports import NOTHING
from pytest_canary.stats.grid import Array
from pytest_canary.stats.mean import Moments
from pytest_canary.stats.rows import Flags, Index, column, onward, polls_ahead

Places = NDArray[np.intp]
_Change = Callable[[Array], Array]


class Side:
    """Counts of one metric over some time, one row per rollout; a live run is one row.

    ``requests``, ``events`` and ``total`` have shape (batch,); ``counts`` (batch, buckets), None where there is no
    histogram; ``bounds`` are the same in all rows.  Fields as in :class:`~pytest_canary.gates.reading.Reading`.
    """

    __slots__ = (
        *("_beyond", "bounds", "counts", "events", "gauged", "parts"),
        *("replicas", "requests", "strata", "there", "total", "void"),
    )  # fmt: skip

    def __init__(
        self,
        requests: Array,
        events: Array | None = None,
        bounds: tuple[float, ...] = (),
        counts: Array | None = None,
        total: Array | None = None,
        replicas: Mapping[str, Side] = NOTHING,
        strata: Mapping[str, Side] = NOTHING,
        parts: tuple[Array, ...] = (),
        gauged: bool = False,
    ) -> None:
        nothing = np.zeros(requests.shape)
        self.requests = requests
        self.events = nothing if events is None else events
        self.bounds, self.counts = bounds, counts
        self.total = nothing if total is None else total
        self.replicas, self.strata, self.parts, self.gauged = replicas, strata, parts, gauged
        self.there: Flags | None = None
        """Of a replica: in which rollouts it has been seen; None means in all."""
        self.void = False
        """Whether nobody can have counted anything in it."""
        self._beyond: Array | None = None

    @classmethod
    def nothing(cls, batch: int) -> Side:
        """No requests."""
        found = cls(np.zeros(batch))
        found.void = True
        return found

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Side:
        """One row each; all of one source, so with the same buckets, replicas and labels."""
        first = readings[0]

        def columns(name: str) -> Array:
            return np.array([getattr(one, name) for one in readings], dtype=np.float64)

        counts = np.array([one.counts for one in readings], dtype=np.float64) if first.counts else None
        parts = tuple(np.array([one.parts[n] for one in readings]) for n in range(len(first.parts)))
        return cls(
            columns("requests"), columns("events"), first.bounds, counts, columns("total"),
            {name: cls.of([one.replicas[name] for one in readings]) for name in first.replicas},
            {name: cls.of([one.strata[name] for one in readings]) for name in first.strata}, parts, first.gauged,
        )  # fmt: skip

    def __deepcopy__(self, memo: object) -> Side:
        """Itself: nothing that it says ever changes."""
        return self

    @property
    def batch(self) -> int:
        """How many rollouts there are."""
        return int(self.requests.size)

    def row(self, index: int) -> Reading:
        """What one of them counted."""
        return Reading(
            float(self.requests[index]), float(self.events[index]), self.bounds,
            () if self.counts is None else tuple(self.counts[index].tolist()), float(self.total[index]),
            {name: side.row(index) for name, side in self.replicas.items()},
            {name: side.row(index) for name, side in self.strata.items()},
            tuple(float(part[index]) for part in self.parts), self.gauged,
        )  # fmt: skip

    def keep(self, rows: Index) -> Side:
        """These rollouts only."""
        return self._each(lambda values: values[rows])

    def only(self, where: Flags) -> Side:
        """As it is ``where``, and nothing elsewhere."""
        return self if where.all() else self._each(lambda v: np.where(where[:, None] if v.ndim > 1 else where, v, 0.0))

    def onward(self) -> Side:
        """What each row has to add to what was counted before; see :func:`~pytest_canary.stats.rows.onward`."""
        return self._each(onward) if polls_ahead() else self

    def _each(self, change: _Change) -> Side:
        changed = Side(
            change(self.requests), change(self.events), self.bounds,
            None if self.counts is None else change(self.counts), change(self.total),
            {name: side._each(change) for name, side in self.replicas.items()},
            {name: side._each(change) for name, side in self.strata.items()},
            tuple(change(part) for part in self.parts), self.gauged,
        )  # fmt: skip
        changed.there = None if self.there is None else np.asarray(change(self.there.astype(np.float64)) > 0)
        return changed

    @property
    def empty(self) -> bool:
        """Whether nobody counted anything in it."""
        return self.void or (self.counts is None and not self.requests.any())

    def __add__(self, other: Side) -> Side:
        """Both times together; where the buckets differ (the source changed them) the newer ones stand alone."""
        if self.empty:
            return other
        if other.empty:
            return self
        if self.bounds != other.bounds:
            return other
        counts = other.counts if self.counts is None or other.counts is None else self.counts + other.counts
        added = Side(
            self.requests + other.requests, self.events + other.events, self.bounds, counts,
            self.total + other.total, together(self.replicas, other.replicas), together(self.strata, other.strata),
            tuple(a + b for a, b in zip(self.parts, other.parts, strict=False)) or self.parts or other.parts,
            self.gauged or other.gauged,
        )  # fmt: skip
        added.there = other.there if self.there is None or other.there is None else self.there | other.there
        return added

    def above(self, places: Places) -> Array:
        """How many observations lie above the boundary with this index, which may be another in each row."""
        if self.counts is None:
            return np.zeros(self.batch)
        if self._beyond is None:
            self._beyond = self.counts.sum(axis=1, keepdims=True) - np.cumsum(self.counts, axis=1)
        return np.asarray(self._beyond[_rows(self.batch), places])

    @property
    def squares(self) -> Array:
        """Sum of the values' squares: the spread as the buckets show it, around the mean as it was summed.

        Values are spread evenly in their bucket; those above all bounds lie at the last one.
        """
        if self.counts is None or not self.bounds:
            return np.zeros(self.batch)
        centres, widths = _shape_of(self.bounds)
        number = np.where(self.requests > 0, self.requests, 1.0)
        centre = self.counts @ centres / number
        spread = self.counts @ (centres**2 + widths) - number * centre**2
        return np.where(self.requests > 0, np.maximum(spread, 0.0) + self.total**2 / number, 0.0)

    @property
    def moments(self) -> Moments:
        """Number, sum and sum of squares of the values."""
        return Moments(self.requests, self.total, self.squares)


@cache
def _rows(batch: int) -> Places:
    return np.arange(batch)


_SHAPES: dict[tuple[float, ...], tuple[Array, Array]] = {}


def _shape_of(bounds: tuple[float, ...]) -> tuple[Array, Array]:
    """Middle of each bucket, and the variance of what is spread evenly in it."""
    if bounds not in _SHAPES:
        lows, highs = np.array((0.0, *bounds)), np.array((*bounds, bounds[-1]))
        _SHAPES[bounds] = (lows + highs) / 2, (highs - lows) ** 2 / 12
    return _SHAPES[bounds]


def together(one: Mapping[str, Side], other: Mapping[str, Side]) -> Mapping[str, Side]:
    """Parts of both times, by their names."""
    if not one or not other:
        return one or other
    return {
        name: one[name] + other[name] if name in one and name in other else one.get(name) or other[name]
        for name in one.keys() | other.keys()
    }


def alike(canary: Side, baseline: Side) -> list[tuple[Side, Side]]:
    """Like against like where the source counts by label, else all against all; what has no partner says nothing."""
    if not canary.strata and not baseline.strata:
        return [(canary, baseline)]
    return [
        (canary.strata[name], baseline.strata[name]) for name in sorted(canary.strata.keys() & baseline.strata.keys())
    ]


def places(bounds: Sequence[float], wanted: Array) -> Places | None:
    """Where each of ``wanted`` stands among ``bounds``; None when one of them is no boundary."""
    grid = np.asarray(bounds, dtype=np.float64)
    at = np.searchsorted(grid, wanted)
    if not grid.size or (at >= grid.size).any() or (grid[at] != wanted).any():
        return None
    return np.asarray(at)


def filled(values: Sequence[float | None], other: float, batch: int) -> Array:
    """A column from values of which some are unknown."""
    return column([other if value is None else value for value in values], batch)
