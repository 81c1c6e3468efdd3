"""What one build has counted, as a test states it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, isfinite, log

from pytest_canary.errors import UsageError
from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.simulation.spread import FINEST, TAIL, middles, shares
from pytest_canary.simulation.traffic import Lognormal

Told = float | Sequence[float] | Lognormal
"""A counter, the values of a histogram one by one, or how the values of all requests are spread."""

LEAST, MOST = 1e-6, 1e6
GRID = tuple(LEAST * FINEST**step for step in range(floor(log(MOST / LEAST) / log(FINEST)) + 1))
"""Boundaries 3 % apart, so that values are told apart as finely as any gate needs."""


GOLDEN = (5**0.5 - 1) / 2
"""Its multiples fill the space between whole numbers evenly."""


@dataclass(frozen=True)
class Counts:
    """What one build has counted at a stage; made by :func:`counts`."""

    counters: Mapping[str, float]
    values: Mapping[str, Sequence[float] | Lognormal] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)

    @property
    def requests(self) -> float:
        """Requests of users that it has answered."""
        return self.counters["requests"]

    def sample(self, limits: Iterable[float] = (), part: float = 1.0, at: float = 0.0) -> Sample:
        """As a metric source tells it, when a share ``part`` of it has been counted; each limit is a boundary."""
        bounds = tuple(sorted({*GRID, *(limit for limit in limits if limit > 0)}))
        return Sample(
            at,
            {name: float(floor(value * part)) for name, value in self.counters.items()},
            {name: _part(self._histogram(told, bounds), part) for name, told in self.values.items()},
            gauges=self.gauges,
        )

    def _histogram(self, told: Sequence[float] | Lognormal, bounds: tuple[float, ...]) -> Histogram:
        if isinstance(told, Lognormal):
            each = self.requests * shares(told, bounds)
            # Whole requests, such that the sum up to each boundary is right to one request.
            rising = [floor(float(count) + 0.5) for count in each.cumsum()]
            number = [float(now - before) for now, before in zip(rising, [0, *rising], strict=False)]
            return Histogram(bounds, tuple(number), float((middles(told, bounds) * number).sum()))
        number = [0.0] * (len(bounds) + 1)
        for value in told:
            number[bisect_left(bounds, value)] += 1
        return Histogram(bounds, tuple(number), float(sum(told)))


def _part(whole: Histogram, part: float) -> Histogram:
    """Some of the values of each bucket, never fewer than for a smaller ``part``; rare ones spread over time."""
    number = tuple(float(floor(count * part + place * GOLDEN % 1)) for place, count in enumerate(whole.counts))
    return Histogram(whole.bounds, number, whole.total * part)


def counts(requests: int, errors: int = 0, *, gauges: Mapping[str, float] | None = None, **told: Told) -> Counts:
    """What one build has counted: ``counts(2000, errors=12, latency=lognormal(median=0.3, p99=1.2), refusals=4)``.

    A number is a counter; a list is the values of a histogram one by one, in seconds, tokens or what its unit is;
    :func:`lognormal` spreads one value per request.

    Raises:
        UsageError: a number is negative, or there are more errors than requests.

    """
    counters: dict[str, float] = {"requests": requests, "errors": errors}
    values = dict[str, Sequence[float] | Lognormal]()
    for name, one in told.items():
        if isinstance(one, Lognormal):
            values[name] = one
        elif isinstance(one, int | float):
            counters[name] = one
        else:
            values[name] = tuple(one)
    for name, number in counters.items():
        if not (isinstance(number, int | float) and isfinite(number) and number >= 0):
            raise UsageError(f"counts(): {name}: found {number!r}, expected a number of at least 0")
    for name, each in values.items():
        if not isinstance(each, Lognormal) and not all(map(_possible, each)):
            raise UsageError(f"counts(): {name}: expected values of at least 0")
    if errors > requests:
        raise UsageError(f"counts(): found {errors} errors among {requests} requests, expected at most as many")
    return Counts(counters, values, gauges or {})


def _possible(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value) and value >= 0


def lognormal(median: float, p99: float) -> Lognormal:
    """One value per request, half of them above ``median`` and one in a hundred above ``p99``; both in its unit.

    Raises:
        UsageError: they are not 0 < median < p99.

    """
    if not 0 < median < p99:
        raise UsageError(f"lognormal(): found median {median:g} and p99 {p99:g}, expected 0 < median < p99")
    return Lognormal(median, log(p99 / median) / TAIL)


def samples_of(both: Mapping[Role, Counts], limits: Iterable[float], part: float, at: float) -> dict[Role, Sample]:
    """What every build has told when a share ``part`` of all was counted."""
    limits = tuple(limits)
    return {role: one.sample(limits, part, at) for role, one in both.items()}
