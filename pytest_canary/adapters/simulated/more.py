"""Counters, histograms and gauges besides requests, errors and latency, by chance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pytest_canary.ports import Histogram

VALUE_BOUNDS = tuple(float(f"{10 ** (step / 40):.4g}") for step in range(-120, 201))
"""1/1000 to 100,000, of anything: forty buckets in each power of ten."""
AMONG: Mapping[str, str] = {
    "feedback_negative": "feedback", "cache_hits": "cache_queries", "cached_input_tokens": "input_tokens",
}  # fmt: skip
"""Counters that are a part of another one."""
SHAPE = 4.0
"""Of the gamma distribution of values: their standard deviation is half their mean."""
SCORES = ("quality",)
"""Histograms whose values are at most 1."""
NOISE = 0.05
"""Standard deviation of a gauge, relative."""


class More:
    """What one role has counted of the names that ``counts``, ``values`` and ``gauges`` give means for."""

    def __init__(
        self, counts: Mapping[str, float], values: Mapping[str, float], gauges: Mapping[str, float],
        times: Mapping[str, float], chance: np.random.Generator,
    ) -> None:  # fmt: skip
        self._counts = {name: mean * times.get(name, 1.0) for name, mean in counts.items()}
        self._values = {name: mean * times.get(name, 1.0) for name, mean in values.items()}
        self._gauges = {name: value * times.get(name, 1.0) for name, value in gauges.items()}
        self._chance = chance
        self.counters = dict.fromkeys(counts, 0.0)
        self._buckets = {name: np.zeros(len(VALUE_BOUNDS) + 1) for name in values}
        self._totals = dict.fromkeys(values, 0.0)

    def add(self, requests: int) -> None:
        """Let ``requests`` more add what they do."""
        added: dict[str, float] = {}
        for name in sorted(self._counts, key=AMONG.__contains__):
            added[name] = self._one(name, requests, added)
            self.counters[name] += added[name]
        for name, mean in self._values.items():
            drawn = self._drawn(name, mean, requests)
            self._totals[name] += float(drawn.sum())
            self._buckets[name] += np.bincount(np.searchsorted(VALUE_BOUNDS, drawn), minlength=len(VALUE_BOUNDS) + 1)

    def _one(self, name: str, requests: int, added: Mapping[str, float]) -> float:
        whole, share = AMONG.get(name, ""), self._counts[name]
        if whole in added:
            return float(self._chance.binomial(int(added[whole]), min(share / max(self._counts[whole], 1e-12), 1.0)))
        if share <= 1:
            return float(self._chance.binomial(requests, share))
        return float(np.ceil(self._chance.gamma(SHAPE * requests, share / SHAPE))) if requests else 0.0

    def _drawn(self, name: str, mean: float, requests: int) -> NDArray[np.float64]:
        if name in SCORES:
            return self._chance.beta(SHAPE * 5 * min(mean, 0.999), SHAPE * 5 * max(1 - mean, 0.001), requests)
        return self._chance.gamma(SHAPE, mean / SHAPE, requests)

    @property
    def histograms(self) -> dict[str, Histogram]:
        """Everything until now."""
        return {
            name: Histogram(VALUE_BOUNDS, tuple(counts.tolist()), self._totals[name])
            for name, counts in self._buckets.items()
        }

    def gauges(self) -> dict[str, float]:
        """What they show at this moment."""
        return {name: value * float(self._chance.normal(1.0, NOISE)) for name, value in self._gauges.items()}
