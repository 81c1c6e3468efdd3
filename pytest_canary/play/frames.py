"""Cumulative counters of the replicas that play one role, in every play at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_canary.gates import Metric
from pytest_canary.play.history import Array, History
from pytest_canary.verdict.frame import Frame, Layout


class Packed:
    """All that ``metric`` takes of a history, in one array: shape (steps, replicas, columns of the layout)."""

    def __init__(self, history: History, metric: Metric) -> None:
        names = [name for name in history.counters if name in {"requests", *metric.counted}]
        known = sorted({"latency", metric.histogram} & history.histograms.keys())
        self.layout = Layout(
            tuple(names),
            tuple((n, history.histograms[n].bounds, history.histograms[n].counts.shape[2]) for n in known),
            (),
        )
        parts: list[NDArray[np.floating]] = [np.zeros((history.steps, history.replicas, 0))]
        parts += [history.counters[name][..., None] for name in names]
        for name in known:
            buckets = history.histograms[name]
            parts += [buckets.counts, buckets.totals[..., None]]
        self.values = np.concatenate(parts, axis=2, dtype=np.float32, casting="same_kind")
        self.steps = history.steps

    def at(self, steps: NDArray[np.intp], replicas: NDArray[np.intp]) -> Array:
        """What ``replicas`` (plays, some) counted in the step of each play: shape (replicas, plays, columns).

        Behind the end of the history it begins again.
        """
        found = self.values[(steps % self.steps)[:, None], replicas]
        return np.asarray(found.transpose(1, 0, 2), dtype=np.float64)


class Counters:
    """What ``replicas`` of a history have counted since this was made, shape (plays, replicas)."""

    def __init__(self, packed: Packed, replicas: NDArray[np.intp]) -> None:
        self._packed, self._replicas = packed, replicas
        self._sums = np.zeros((replicas.shape[1], replicas.shape[0], packed.layout.width))

    def step(self, steps: NDArray[np.intp], where: NDArray[np.bool_] | None = None) -> Array:
        """Count one step more in the plays ``where`` one is played; returns what it brought, all replicas together."""
        more = self._packed.at(steps, self._replicas)
        if where is not None:
            more = more * where[:, None]
        self._sums = self._sums + more
        return np.asarray(more.sum(axis=0))

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Go on with these plays only."""
        self._replicas, self._sums = self._replicas[rows], self._sums[:, rows]

    def frame(self, at: Array) -> Frame:
        """All that was counted, true at ``at``."""
        layout = self._packed.layout
        parts = {f"{nth}": Frame(at, layout, sums) for nth, sums in enumerate(self._sums)}
        return Frame(at, layout, self._sums.sum(axis=0), parts)

    @property
    def requests(self) -> Array:
        """Of each play."""
        return np.asarray(self._sums[..., self._packed.layout.places["requests"]].sum(axis=0))
