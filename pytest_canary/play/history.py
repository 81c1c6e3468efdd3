"""What each replica of one build has counted, step by step, over hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pytest_canary.ports import Histogram, Sample

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Buckets:
    """One histogram of every replica: ``counts`` per step has shape (steps, replicas, bounds + 1), ``totals`` the sums
    of the values, shape (steps, replicas); ``bounds`` are upper edges in the metric's unit, rising.
    """

    bounds: tuple[float, ...]
    counts: NDArray[np.floating]
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


def _histogram(bounds: tuple[float, ...], counts: NDArray[np.floating], total: float) -> Histogram:
    return Histogram(bounds, tuple(counts.tolist()), float(total))


def _blocks(run: tuple[int, int], times: int) -> list[range]:
    first, end = run
    return [range(at, at + times) for at in range(first, end - times + 1, times)]
