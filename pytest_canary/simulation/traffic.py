"""What a service is like: rate, kinds of answers, values, gauges, pods and trouble.  Frozen values, no arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_canary.ports import NOTHING

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Positive values: ``median`` in the metric's unit, ``sigma`` the standard deviation of their logarithm."""

    median: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Score:
    """Values from 0 to 1: a normal distribution whose ends are folded into 0 and 1."""

    mean: float
    sd: float = 0.1


Spread = Lognormal | Score


@dataclass(frozen=True, slots=True)
class Values:
    """A histogram: how the values are spread, and of how many requests there are any."""

    spread: Spread
    among: float = 1.0
    """Share of the requests that have a value, 0..1."""
    each: float = 1.0
    """How many values such a request brings, all alike (the gaps between the tokens of one answer)."""
    bounds: tuple[float, ...] = ()
    """Upper edges of the buckets, where they are known; chosen by what the gates ask for where not."""


@dataclass(frozen=True, slots=True)
class Part:
    """A counter that goes up for some of what another one counts, such as bad feedback among feedback."""

    of: str
    share: float
    """Of what ``of`` counts, 0..1."""
    each: float = 1.0
    """How much it goes up each time; as much as ``of`` does, where both have many at once (tokens)."""


@dataclass(frozen=True, slots=True)
class Daily:
    """The rate over a day: a cosine around its mean."""

    swing: float
    """By how much the busiest moment lies above the mean, and the quietest below, as a share of it, 0..1."""
    peak: float = 14 * 3600.0
    """Seconds after midnight of the busiest moment."""
    start: float = 9 * 3600.0
    """Seconds after midnight at which the rollout begins."""


@dataclass(frozen=True, slots=True)
class Spells:
    """Times of trouble that begin at random: ``every`` so many seconds on average, each ``seconds`` long.

    While one is on there are ``errors_x`` times as many errors, and requests take ``latency_x`` times as long.
    """

    every: float
    seconds: float
    errors_x: float = 1.0
    latency_x: float = 1.0


@dataclass(frozen=True, slots=True)
class Dependence:
    """In what requests are not independent of each other; nothing unless said."""

    bursts: Spells | None = None
    """Of single pods, each for itself."""
    outages: Spells | None = None
    """Of everybody at once, such as of a provider that all builds use."""
    pods_sd: float = 0.0
    """Pods differ for good: standard deviation of the logarithm of each pod's own factor on errors."""
    clumps: float = 1.0
    """How many errors come together on average, as retries do; geometric."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """A service under its users; every number is about the stable build."""

    rate: float = 100.0
    """Requests per second, all roles together, on average over a day."""
    daily: Daily | None = None
    outcomes: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    """Counter -> share of the requests that end so; one request ends in one of them at most."""
    parts: Mapping[str, Part] = field(default_factory=lambda: NOTHING)
    """Counters besides: each is a part of ``requests`` or of another one of these."""
    values: Mapping[str, Values] = field(default_factory=lambda: NOTHING)
    """Histogram -> its values."""
    sums: Mapping[str, tuple[str, bool]] = field(default_factory=lambda: NOTHING)
    """Counter -> histogram whose sum (True) or number (False) it is."""
    gauges: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    """Gauge -> what it shows on average."""
    gauge_noise: float = 0.05
    """Standard deviation of what a gauge shows, as a share of it."""
    pods: int = 1
    """Replicas of the stable build; they are counted apart where there are several."""
    dependence: Dependence = Dependence()
