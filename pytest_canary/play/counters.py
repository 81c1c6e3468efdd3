"""Cumulative counters of some replicas of a history, as a source would tell them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_canary.gates import Metric
from pytest_canary.play.history import History
from pytest_canary.ports import Histogram, Sample


class Counters:
    """What ``replicas`` of ``history`` have counted since this was made, of what ``metric`` takes."""

    def __init__(self, history: History, replicas: NDArray[np.intp], metric: Metric) -> None:
        self._history, self._replicas = history, replicas
        names = {"requests", *metric.counted}
        self._counters = {name: np.zeros(len(replicas)) for name in history.counters if name in names}
        known = {"latency", metric.histogram} & history.histograms.keys()
        self._bounds = {name: history.histograms[name].bounds for name in known}
        self._counts = {name: np.zeros((len(replicas), len(bounds) + 1)) for name, bounds in self._bounds.items()}
        self._totals = {name: np.zeros(len(replicas)) for name in known}

    @property
    def requests(self) -> float:
        """Of all of them."""
        return float(self._counters["requests"].sum()) if "requests" in self._counters else 0.0

    def step(self, at: int) -> Sample:
        """Count one step more, and tell what it brought; behind the end of the history it begins again."""
        at %= self._history.steps
        for name, sums in self._counters.items():
            sums += self._history.counters[name][at, self._replicas]
        for name in self._counts:
            buckets = self._history.histograms[name]
            self._counts[name] += buckets.counts[at, self._replicas]
            self._totals[name] += buckets.totals[at, self._replicas]
        counters = {name: float(self._history.counters[name][at, self._replicas].sum()) for name in self._counters}
        histograms = {
            name: Histogram(
                bounds,
                tuple(self._history.histograms[name].counts[at, self._replicas].sum(axis=0).tolist()),
                float(self._history.histograms[name].totals[at, self._replicas].sum()),
            )
            for name, bounds in self._bounds.items()
        }
        return Sample(0.0, counters, histograms)

    def sample(self, at: float) -> Sample:
        """All that was counted, true at ``at``."""
        parts = {
            str(place): Sample(
                at,
                {name: float(sums[nth]) for name, sums in self._counters.items()},
                {
                    name: self._histogram(name, self._counts[name][nth], self._totals[name][nth])
                    for name in self._bounds
                },
            )
            for nth, place in enumerate(self._replicas)
        }
        return Sample(
            at,
            {name: float(sums.sum()) for name, sums in self._counters.items()},
            {n: self._histogram(n, self._counts[n].sum(axis=0), self._totals[n].sum()) for n in self._bounds},
            parts,
        )

    def _histogram(self, name: str, counts: NDArray[np.float64], total: float) -> Histogram:
        return Histogram(self._bounds[name], tuple(counts.tolist()), float(total))
