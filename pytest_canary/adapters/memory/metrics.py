"""Requests that nobody sent, counted exactly: rate x weight over time, and shares of those that fail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field

from pytest_canary.adapters.memory.latency import Values, evenly, latencies
from pytest_canary.adapters.memory.world import TRAFFIC, MemoryWorld
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Asked, Fact, Histogram, Revision, Role, Sample, Shared

PerTag = float | dict[str, float]
LATENCY_SECONDS, TTFT_SECONDS = 0.05, 0.02
COUNTERS = ("requests", "errors", "client_errors")
HISTOGRAMS = ("latency", "ttft")


class Outage(BaseModel):
    """When the source does not answer: seconds after its start, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    after: float = Field(ge=0)
    seconds: float = Field(gt=0, alias="for")


class TurnsBad(BaseModel):
    """A build that is good until ``after`` seconds of the source's time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: float = Field(ge=0)
    error_rate: float = Field(ge=0, le=1)


class Cold(BaseModel):
    """What is new to users fails more often: from a build's first share of the traffic on, for some seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    seconds: float = Field(gt=0, alias="for")
    error_rate: float = Field(ge=0, le=1)


class MemoryMetricsOptions(BaseModel):
    """What ``metrics: {memory: {...}}`` may say; a number holds for every build, a mapping for the tags it names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(default=100.0, ge=0)
    """Requests per second, all roles together."""
    error_rate: PerTag = 0.0
    """Share of requests that end in a 5xx, 0..1."""
    client_error_rate: PerTag = 0.0
    """Share of requests that end in a 4xx, 0..1."""
    latency: PerTag = LATENCY_SECONDS
    """Median, seconds; the values are lognormal with a sigma of 0.5."""
    ttft: PerTag = TTFT_SECONDS
    """Median time to the first token, seconds; lognormal like ``latency``."""
    outage: Outage | None = None
    silent: tuple[str, ...] = ()
    """Tags that no request reaches, whatever their weight."""
    cold: Cold | None = None
    """Errors of any build but the one that serves when the source starts, while it is young."""
    before: float = Field(default=0.0, ge=0)
    """Requests that the stable build had answered when the source started."""
    bounds: tuple[float, ...] = ()
    """Bucket boundaries in seconds, of the usual ones, where a source with coarser buckets is wanted."""
    replicas: dict[str, int] = Field(default_factory=dict)
    """Tag -> replicas that are counted apart, all alike."""
    turns_bad: dict[str, TurnsBad] = Field(default_factory=dict)
    """Tag -> when it begins to fail, and how often."""
    counts: dict[str, PerTag] = Field(default_factory=dict)
    """More counters, and how much one request adds: ``{refusals: {v1: 0.01, v2: 0.2}, output_tokens: 300}``."""
    values: dict[str, PerTag] = Field(default_factory=dict)
    """More histograms, and the mean of their values, one a request, spread evenly from 0.8 to 1.2 times it."""
    gauges: dict[str, PerTag | tuple[float, ...]] = Field(default_factory=dict)
    """Gauges, and what they show; of several values one after the other, a second each."""
    models: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Tag -> replica -> the model that its series are labelled with, ``name@version``."""
    counts_probes: bool = False
    """Whether builds count their own requests, so that those which go past the router are among them."""


class MemoryMetrics:
    """:class:`~pytest_canary.ports.MetricSource` in memory: no chance, the same counts every time."""

    Options = MemoryMetricsOptions
    interval_seconds = 0.0

    def __init__(self, options: MemoryMetricsOptions, shared: Shared) -> None:
        self._options, self._shared, self._clock = options, shared, shared.clock
        self._world = MemoryWorld.of(shared)
        self._world.counters.append(self._count)
        self._until = self._clock.now()
        self._began: float | None = None
        self._latency, self._ttft = latencies(), latencies()
        self._values: dict[str, Values] = {name: evenly() for name in options.values}
        self._young: dict[str, float] = {}
        """Pin -> when it had its first share."""
        self._probed: dict[str, float] = {}
        """Pin -> requests past the router that have been counted."""

    @classmethod
    def connect(cls, options: MemoryMetricsOptions, shared: Shared) -> MemoryMetrics:
        """The metric source of one target; starts nothing."""
        return cls(options, shared)

    def check(self) -> Sequence[str]:
        if TRAFFIC in self._shared.handles:
            return []
        return ["the memory metrics count what the memory router splits; write `router: {memory: {}}`"]

    def recover(self, facts: Sequence[Fact]) -> None:
        """Count from here: nobody was asked while no process was there."""
        del facts
        self._until = self._clock.now()

    def start(self) -> None:
        if self._began is not None:
            return
        self._began = self._clock.now()
        for role, revision in self._world.state.places.items():
            self._young[revision.pin] = -math.inf
            counted = self._world.state.counted.setdefault(role, dict.fromkeys(COUNTERS, 0.0))
            counted["requests"] += self._options.before
            counted["errors"] += self._options.before * _of(self._options.error_rate, revision.tag, 0.0)
            for name, told in self._options.counts.items():
                counted[name] = counted.get(name, 0.0) + self._options.before * _of(told, revision.tag, 0.0)

    def stop(self) -> None:
        self._began = None

    def explain(self, role: Role) -> Mapping[str, Asked]:
        """As the port has it: nobody is asked."""
        del role
        names = [*(f"counters.{name}" for name in COUNTERS), *(f"histograms.{name}" for name in HISTOGRAMS)]
        return dict.fromkeys(names, Asked("", by="the memory metrics"))

    def models(self, role: Role) -> Mapping[str, str]:
        """As the port has it."""
        placed = self._world.state.places.get(role)
        return self._options.models.get(placed.tag, {}) if placed else {}

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        with self._world.lock:
            self._count()
            out, age = self._options.outage, self._age(self._clock.now())
            if out is not None and out.after <= age < out.after + out.seconds:
                raise SourceUnavailable(f"the metrics are out for another {out.after + out.seconds - age:g} s")
            return {role: self._sample(role) for role in roles if role in self._world.state.places}

    def _age(self, at: float) -> float:
        return 0.0 if self._began is None else at - self._began

    def _count(self) -> None:
        now, state = self._clock.now(), self._world.state
        since, self._until = self._until, now
        for role, revision in state.places.items():
            counted = state.counted.setdefault(role, dict.fromkeys(COUNTERS, 0.0))
            tag = self._tag(revision)
            if tag in self._options.silent or self._world.gone(revision):
                continue
            requests = (now - since) * self._options.rate * state.shares[role] + self._past_the_router(revision.pin)
            errors = requests * self._error_rate(tag, self._age(since), self._age(now))
            if state.shares[role] > 0:
                errors = max(errors, requests * self._newness(revision.pin, since))
            client_errors = requests * _of(self._options.client_error_rate, tag, 0.0)
            served = self._world.served.setdefault(revision.pin, dict.fromkeys(COUNTERS, 0.0))
            counts = dict(zip(COUNTERS, (requests, errors, client_errors), strict=True))
            counts |= {name: requests * _of(told, tag, 0.0) for name, told in self._options.counts.items()}
            for name, count in counts.items():
                counted[name] = counted.get(name, 0.0) + count
                served[name] = served.get(name, 0.0) + count

    def _past_the_router(self, pin: str) -> float:
        """Probes of this build since the last count, where they are counted."""
        before, now = self._probed.get(pin, 0.0), self._world.asked.get(pin, 0.0)
        self._probed[pin] = now
        return now - before if self._options.counts_probes else 0.0

    def _tag(self, revision: Revision) -> str:
        """``v2@stable`` where the options speak of a build in that place, else its tag."""
        placed = f"{revision.tag}@{revision.place}"
        said = (
            self._options.error_rate,
            self._options.latency,
            self._options.turns_bad,
            *self._options.counts.values(),
        )
        return placed if any(isinstance(each, dict) and placed in each for each in said) else revision.tag

    def _newness(self, pin: str, since: float) -> float:
        cold = self._options.cold
        if cold is None:
            return 0.0
        return cold.error_rate if since - self._young.setdefault(pin, since) < cold.seconds else 0.0

    def _error_rate(self, tag: str, since: float, until: float) -> float:
        """The mean between two ages; a build may turn bad in between."""
        good, turns = _of(self._options.error_rate, tag, 0.0), self._options.turns_bad.get(tag)
        if turns is None or until <= since:
            return good
        bad = min(max(until - turns.after, 0.0) / (until - since), 1.0)
        return good * (1 - bad) + turns.error_rate * bad

    def _sample(self, role: Role) -> Sample:
        tag, exact = self._tag(self._world.state.places[role]), self._world.state.counted[role]
        more = dict.fromkeys(self._options.counts, 0.0)
        counters = {name: float(math.floor(count + 1e-6)) for name, count in (more | exact).items()}
        requests = int(counters["requests"])
        histograms = {
            "latency": self._latency.histogram(role, requests, _of(self._options.latency, tag, LATENCY_SECONDS)),
            "ttft": self._ttft.histogram(role, requests, _of(self._options.ttft, tag, TTFT_SECONDS)),
        }
        if self._options.bounds:
            histograms = {name: _coarser(one, self._options.bounds) for name, one in histograms.items()}
        histograms |= {
            name: self._values[name].histogram(role, requests, _of(told, tag, 1.0))
            for name, told in self._options.values.items()
        }
        gauges = {name: self._gauge(told, tag) for name, told in self._options.gauges.items()}
        whole = Sample(self._clock.now(), counters, histograms, gauges=gauges)
        return replace(whole, replicas=_parts(whole, tag, self._options.replicas.get(tag, 0)))

    def _gauge(self, told: PerTag | tuple[float, ...], tag: str) -> float:
        return told[int(self._clock.now()) % len(told)] if isinstance(told, tuple) else _of(told, tag, 0.0)


def _coarser(histogram: Histogram, bounds: tuple[float, ...]) -> Histogram:
    below = [sum(c for c, edge in zip(histogram.counts, histogram.bounds, strict=False) if edge <= b) for b in bounds]
    counts = [high - low for low, high in pairwise([0.0, *below, histogram.number])]
    return Histogram(bounds, tuple(counts), histogram.total)


def _parts(whole: Sample, tag: str, replicas: int) -> dict[str, Sample]:
    """Equal parts, in whole numbers; the first have what is left over."""

    def part(count: float, index: int) -> float:
        return float((count + replicas - 1 - index) // replicas)

    return {
        f"{tag}-{index}": Sample(
            whole.at,
            {name: part(count, index) for name, count in whole.counters.items()},
            {
                name: Histogram(one.bounds, tuple(part(count, index) for count in one.counts), one.total / replicas)
                for name, one in whole.histograms.items()
            },
        )
        for index in range(replicas)
    }


def _of(told: PerTag, tag: str, otherwise: float) -> float:
    return told.get(tag, otherwise) if isinstance(told, dict) else told
