"""Poisson requests, binomial errors and lognormal latencies, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from threading import RLock

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pytest_canary.adapters.simulated.more import More
from pytest_canary.adapters.simulated.played import SCENE, PlayedMetrics
from pytest_canary.errors import AdapterError, SourceUnavailable
from pytest_canary.ports import Asked, Fact, Histogram, Role, Router, Sample, Shared

TRAFFIC = "traffic"
"""The handle of the router whose weights are followed."""
BOUNDS = (*(round(mantissa * 10.0**power, 6) for power in range(-4, 1) for mantissa in range(10, 100)), 100.0)
"""Seconds, 1 ms to 100 s: ninety equal buckets in each power of ten."""


class SimulatedCanary(BaseModel):
    """In what a canary differs; nothing unless said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_rate: float | None = Field(default=None, ge=0, le=1)
    """Its own share of failed requests, 0..1."""
    error_rate_x: float = Field(default=1.0, ge=0)
    """So many times the error rate of the others; not used where ``error_rate`` is given."""
    latency_x: float = Field(default=1.0, gt=0)
    """So many times the latency of the others."""
    times: dict[str, float] = Field(default_factory=dict)
    """Name of a count, value or gauge -> so many times that of the others: ``{refusals: 3, output_tokens: 1.5}``."""


class SimulatedOptions(BaseModel):
    """What ``metrics: {simulated: {...}}`` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(default=100.0, ge=0)
    """Requests per second, all roles together."""
    error_rate: float = Field(default=0.01, ge=0, le=1)
    """Share of requests that end in a 5xx."""
    latency: float = Field(default=0.05, gt=0)
    """Median, seconds."""
    sigma: float = Field(default=0.5, gt=0)
    """Standard deviation of the logarithm of the latency."""
    counts: dict[str, float] = Field(default_factory=dict)
    """More counters, and how much one request adds on average: ``{refusals: 0.01, output_tokens: 300}``."""
    values: dict[str, float] = Field(default_factory=dict)
    """More histograms, and the mean of their values, one a request."""
    gauges: dict[str, float] = Field(default_factory=dict)
    """Gauges, and what they show on average."""
    seed: int = Field(default=0, ge=0)
    canary: SimulatedCanary = SimulatedCanary()


class Tally:
    """What one role has counted, and the chance by which it goes on."""

    def __init__(self, role: Role, options: SimulatedOptions) -> None:
        canary = options.canary if role is Role.CANARY else SimulatedCanary()
        own = canary.error_rate
        self._error_rate = min(options.error_rate * canary.error_rate_x, 1.0) if own is None else own
        median = options.latency * canary.latency_x
        normal = NormalDist(math.log(median), options.sigma)
        self._shares = np.diff([0.0, *(normal.cdf(math.log(bound)) for bound in BOUNDS), 1.0])
        self._mean = median * math.exp(options.sigma**2 / 2)
        # One stream of chance for each role: what one of them does leaves the others as they were.
        self._chance = np.random.default_rng([options.seed, list(Role).index(role)])
        more = np.random.default_rng([options.seed, list(Role).index(role), 1])
        self._more = More(options.counts, options.values, options.gauges, canary.times, more)
        self._requests = self._errors = 0
        self._counts = np.zeros(len(BOUNDS) + 1, dtype=np.int64)

    def add(self, expected: float) -> None:
        """Let about ``expected`` requests come."""
        requests = int(self._chance.poisson(expected))
        self._requests += requests
        self._errors += int(self._chance.binomial(requests, self._error_rate))
        self._counts += self._chance.multinomial(requests, self._shares)
        self._more.add(requests)

    def sample(self, at: float) -> Sample:
        """All that was counted until ``at``."""
        counters = {"requests": float(self._requests), "errors": float(self._errors), "client_errors": 0.0}
        latency = Histogram(BOUNDS, tuple(self._counts.astype(float).tolist()), self._requests * self._mean)
        more = self._more
        return Sample(at, counters | more.counters, {"latency": latency} | more.histograms, gauges=more.gauges())


class SimulatedMetrics:
    """:class:`~pytest_canary.ports.MetricSource` that makes up what it counts, in the shares that the router tells."""

    Options = SimulatedOptions
    interval_seconds = 0.0

    def __init__(self, options: SimulatedOptions, shared: Shared) -> None:
        self._options, self._shared = options, shared
        self._until = shared.clock.now()
        self._tallies: dict[Role, Tally] = {}
        self._lock = RLock()

    @classmethod
    def connect(cls, options: SimulatedOptions, shared: Shared) -> SimulatedMetrics | PlayedMetrics:
        """The metric source of one target; starts nothing.  Where a scene is played, it says what is counted."""
        return PlayedMetrics.of(shared) if SCENE in shared.handles else cls(options, shared)

    def check(self) -> Sequence[str]:
        if TRAFFIC in self._shared.handles:
            return []
        return ["the simulated metrics follow a router in memory; write `router: {memory: {}}`"]

    def recover(self, facts: Sequence[Fact]) -> None:
        """Count from here: nothing happens while nobody looks."""
        del facts
        self._until = self._shared.clock.now()

    def start(self) -> None:
        """Nothing: the router has what there is to know."""

    def stop(self) -> None:
        """Nothing: what was counted stays."""

    def explain(self, role: Role) -> Mapping[str, Asked]:
        """As the port has it: nobody is asked."""
        del role
        names = ("counters.requests", "counters.errors", "counters.client_errors", "histograms.latency")
        options, more = self._options, [("counters", "counts"), ("histograms", "values"), ("gauges", "gauges")]
        own = [f"{kind}.{name}" for kind, told in more for name in getattr(options, told)]
        return dict.fromkeys([*names, *own], Asked("", by="the simulated metrics"))

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        router: Router | None = self._shared.handles.get(TRAFFIC)
        if router is None:
            raise SourceUnavailable(self.check()[0])
        try:
            weights = router.weights()
        except AdapterError as error:
            raise SourceUnavailable(f"the router does not tell its weights: {error}") from error
        with self._lock:
            now = self._shared.clock.now()
            seconds, self._until = now - self._until, now
            for role, share in weights.items():
                if role not in self._tallies:
                    self._tallies[role] = Tally(role, self._options)
                self._tallies[role].add(seconds * self._options.rate * share)
            return {role: self._tallies[role].sample(now) for role in roles if role in weights}
