"""What one side counted for one metric."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_canary.gates.values import Counted
from pytest_canary.ports import NOTHING
from pytest_canary.stats.latency import quantile
from pytest_canary.stats.mean import Moments


@dataclass(frozen=True, slots=True)
class Reading:
    """Counts of one metric over some time: events among requests for a rate, buckets for a quantile, a sum for a mean.

    ``bounds`` are upper edges in the metric's unit, rising; ``counts`` has one entry more, for what lies above them
    all.  A gauge is read once a poll: ``requests`` are the polls and ``total`` the sum of what was read.
    """

    requests: float = 0.0
    events: float = 0.0
    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    total: float = 0.0
    """Sum of all values."""
    replicas: Mapping[str, Reading] = field(default_factory=lambda: NOTHING)
    """The same per replica, where the source knows them."""
    strata: Mapping[str, Reading] = field(default_factory=lambda: NOTHING)
    """The same per value of the labels that the gate compares by."""
    parts: tuple[float, ...] = ()
    """For a rate of several kinds of events: how many there are of each."""
    gauged: bool = False
    """Whether it is a gauge that was read, in the place of values that were counted."""

    def __add__(self, other: Reading) -> Reading:
        """Both times together; where the buckets differ (the source changed them) the newer ones stand alone."""
        if not self.requests and not self.counts:
            return other
        if not other.requests and not other.counts:
            return self
        if self.bounds != other.bounds:
            return other
        return Reading(
            self.requests + other.requests,
            self.events + other.events,
            self.bounds,
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            self.total + other.total,
            _together(self.replicas, other.replicas),
            _together(self.strata, other.strata),
            tuple(a + b for a, b in zip(self.parts, other.parts, strict=False)) or self.parts or other.parts,
            self.gauged or other.gauged,
        )

    def above(self, bound: float) -> float | None:
        """How many observations are greater than ``bound``; None where that is no bucket boundary."""
        index = bisect_left(self.bounds, bound)
        if index >= len(self.bounds) or self.bounds[index] != bound:
            return None
        return sum(self.counts[index + 1 :])

    def __deepcopy__(self, memo: object) -> Reading:
        """Itself: nothing in it ever changes."""
        return self

    @property
    def rate(self) -> float | None:
        """Events per request; None without requests."""
        return self.events / self.requests if self.requests else None

    def quantile(self, q: float) -> float | None:
        """The interpolated quantile; None when empty or above every bound."""
        return quantile(self.bounds, self.counts, q)

    @property
    def mean(self) -> float | None:
        """Mean of the values; None without any."""
        return self.total / self.requests if self.requests else None

    @property
    def squares(self) -> float:
        """Sum of the values' squares: the spread as the buckets show it, around the mean as it was summed.

        Values are spread evenly in their bucket; those above all bounds lie at the last one.
        """
        if not self.requests or not self.bounds:
            return 0.0
        lows, highs = (0.0, *self.bounds), (*self.bounds, self.bounds[-1])
        groups = [(count, low, high) for count, low, high in zip(self.counts, lows, highs, strict=True) if count]
        centre = sum(count * (low + high) / 2 for count, low, high in groups) / self.requests
        spread = sum(count * (((low + high) / 2 - centre) ** 2 + (high - low) ** 2 / 12) for count, low, high in groups)
        return spread + self.total**2 / self.requests

    @property
    def moments(self) -> Moments:
        """Number, sum and sum of squares of the values."""
        return Moments(self.requests, self.total, self.squares)

    def as_mean(self) -> Counted:
        """For a verdict on a mean or a gauge."""
        return Counted(self.requests, 0.0, self.mean)

    def as_rate(self) -> Counted:
        """For a verdict on a rate."""
        return Counted(self.requests, self.events, self.rate)

    def over(self, bound: float, q: float) -> Counted:
        """For a verdict on a quantile: how many were slower than ``bound``, and the quantile itself."""
        return Counted(self.requests, self.above(bound) or 0.0, self.quantile(q))


def _together(one: Mapping[str, Reading], other: Mapping[str, Reading]) -> Mapping[str, Reading]:
    if not one or not other:
        return one or other
    return {name: one.get(name, Reading()) + other.get(name, Reading()) for name in one.keys() | other.keys()}
