"""What one side counted for one metric, and the stage in which it did."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from pytest_canary.gates.values import Counted
from pytest_canary.stats.latency import quantile


@dataclass(frozen=True, slots=True)
class Reading:
    """Counts of one metric over some time: events among requests for a rate, buckets for a quantile.

    ``bounds`` are upper edges in seconds, rising; ``counts`` has one entry more, for what lies above them all.
    """

    requests: float = 0.0
    events: float = 0.0
    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()

    def __add__(self, other: Reading) -> Reading:
        """Both times together; where the buckets differ (the source changed them) the newer ones stand alone."""
        if not self.requests and not self.counts:
            return other
        if self.bounds != other.bounds:
            return other
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Reading(self.requests + other.requests, self.events + other.events, self.bounds, counts)

    def above(self, bound: float) -> float | None:
        """How many observations are greater than ``bound``; None where that is no bucket boundary."""
        index = bisect_left(self.bounds, bound)
        if index >= len(self.bounds) or self.bounds[index] != bound:
            return None
        return sum(self.counts[index + 1 :])

    @property
    def rate(self) -> float | None:
        """Events per request; None without requests."""
        return self.events / self.requests if self.requests else None

    def quantile(self, q: float) -> float | None:
        """The interpolated quantile; None when empty or above every bound."""
        return quantile(self.bounds, self.counts, q)

    def as_rate(self) -> Counted:
        """For a verdict on a rate."""
        return Counted(self.requests, self.events, self.rate)

    def over(self, bound: float, q: float) -> Counted:
        """For a verdict on a quantile: how many were slower than ``bound``, and the quantile itself."""
        return Counted(self.requests, self.above(bound) or 0.0, self.quantile(q))


@dataclass(frozen=True, slots=True)
class Window:
    """One stage, as the rules see it; ``at`` is when its traffic was set, in seconds on the run's clock."""

    index: int
    at: float
    share: float
    compared: bool
    """Whether the baseline serves beside the canary, so that they can be compared."""
    hold_seconds: float
    min_requests: int
    frozen: Reading = Reading()
    """The baseline's last window beside the canary, or the one before the ramp."""
    captured: Reading = Reading()
    """The baseline's window before the ramp."""
