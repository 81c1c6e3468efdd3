"""How often Prometheus scrapes, and how old what it says is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise, product
from statistics import median
from typing import Any

from pytest_canary.adapters.prometheus.server import PrometheusServer

WINDOWS = ("15s", "3m", "15m")
"""How far back to look for scrapes, the shortest that shows three of one target."""
REMEMBERED = 50
STALE_INTERVALS, STALE_SECONDS = 3.0, 5.0
PART_INTERVALS, PART_SECONDS = 6.0, 15.0
"""Longer where other replicas are read: a pod that is deleted fails its scrapes for 6 to 10 s until nobody tries."""
UNKNOWN_SECONDS = 60.0
"""What is thought of the interval until it is known."""


class Rhythm:
    """The scrape interval, given or seen, and the ages of what was read; seconds."""

    def __init__(self, given: float | None) -> None:
        self.interval: float | None = given
        self._ages: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def lag(self) -> float | None:
        """The oldest that a reading was lately; None before the first."""
        return max(self._ages, default=None)

    @property
    def known(self) -> bool:
        """Whether both can be told."""
        return self.interval is not None and len(self._ages) >= 3

    def stale(self, youngest: float, oldest: float) -> bool:
        """Whether readings that old are none: all of them, or one that has been so for longer."""
        interval = self.interval or UNKNOWN_SECONDS
        all_old = youngest > max(STALE_INTERVALS * interval, STALE_SECONDS)
        return all_old or oldest > max(PART_INTERVALS * interval, PART_SECONDS)

    def learn(self, server: PrometheusServer, queries: Iterable[str], at: float) -> None:
        """Ask when there were scrapes, unless that is known; each of ``queries`` has ``$window`` in it."""
        for query, window in product(queries, WINDOWS) if self.interval is None else ():
            gaps = [*_gaps(server.ask(query.replace("$window", window), at))]
            if len(gaps) >= 2:
                self.interval = round(median(gaps), 3)
                return

    def read(self, age: float) -> None:
        """Remember how old a reading was."""
        self._ages.append(age)


def _gaps(answered: Iterable[Any]) -> Iterable[float]:
    for series in answered:
        times = [float(time) for time, _ in series.get("values", ())]
        if len(times) >= 3:
            yield from (later - earlier for earlier, later in pairwise(times))
