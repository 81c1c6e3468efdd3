"""The frozen values that a gate consists of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pytest_canary.ports import PROBED


class Kind(StrEnum):
    """How a metric is counted, which decides the rule that judges it."""

    RATE = "rate"
    """Events among requests: two counters."""
    QUANTILE = "quantile"
    """A quantile of a histogram."""
    MEAN = "mean"
    """The mean of values, such as tokens or a score: from a histogram, or from their sum and number in two counters."""
    GAUGE = "gauge"
    """A value that is read and not counted: it has no sample size, so it is only ever an estimate."""


class Decide(StrEnum):
    """Which rule turns counts into a verdict."""

    EVIDENCE = "evidence"
    """Evidence of "worse at all", and the data favour "worse than the gate"."""
    THRESHOLD = "threshold"
    """The stage's own numbers, once hold and minimum requests are served."""
    ESTIMATE = "estimate"
    """Evidence of "worse at all", and the estimate lies over the gate."""
    WINDOW = "window"
    """The last 1,000 requests of each side, at every poll."""


class Bursts(StrEnum):
    """Whether a window of time may be worth only so much evidence."""

    AUTO = "auto"
    """Where the baseline's own events come in bursts, or are too few to know."""
    GUARD = "guard"
    """Always."""
    IGNORE = "ignore"
    """Never: every request is taken to be independent of the others."""


class Action(StrEnum):
    """What a failed gate does."""

    ROLLBACK = "rollback"
    ALERT = "alert"


class Status(StrEnum):
    """What a gate says at a poll."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"
    NO_DATA = "no data"


class By(StrEnum):
    """On what ground a verdict stands."""

    PROOF = "proof"
    SOAK = "soak"
    NOT_COMPARED = "not compared"
    EVIDENCE = "evidence"
    CATASTROPHE = "catastrophe"
    THRESHOLD = "threshold"
    ESTIMATE = "estimate"
    WINDOW = "window"
    DEADLINE = "deadline"


Noise = float | Literal["measure"]
"""By how much a build differs from itself, as a share of the metric; or that it is to be measured."""

INFLIGHT = 2.0
"""How many times the baseline's p99 slow requests are given to finish after the weight has moved."""

KINDS_OF_LIMIT = ("ratio", "delta", "max", "min", "shift")


@dataclass(frozen=True, slots=True)
class Counted:
    """One side of a comparison at this stage: events among requests (for a quantile: requests over the limit)."""

    requests: float = 0.0
    events: float = 0.0
    value: float | None = None
    """The metric itself in its unit: a rate, or a quantile in seconds."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that can be gated.

    A rate has ``events`` and ``total`` (names of counters); a quantile has ``histogram`` and ``quantile`` (0..1); a
    mean has ``histogram``, or the counters ``events`` (the sum of its values) and ``total`` (their number), or both,
    of which the histogram is taken where it is counted; a gauge has ``gauge``, and so has a mean that some sources
    only tell as one.
    ``lower_is_better`` says which way "worse" goes.
    """

    name: str
    kind: Kind
    unit: str
    """``ratio``, ``seconds``, or what one of it is called, such as ``tokens``."""
    events: str = ""
    total: str = "requests"
    histogram: str = ""
    quantile: float = 0.0
    gauge: str = ""
    lower_is_better: bool = True
    also: tuple[str, ...] = ()
    """For a rate: more counters whose events count too; a sentence shows each part."""
    missed: str = ""
    """Where more ``events`` are better: what the rest of ``total`` is called; that is judged, such as ``misses``."""
    clustered: bool = False
    """Whether one request brings many values at once (tokens), which are alike: then each poll is one observation."""
    least: int = 1
    """How many of ``total`` (or values) the canary must have before silence may count as good."""

    @property
    def better(self) -> str:
        """``lower`` or ``higher``, as a person sees the metric."""
        return "lower" if self.lower_is_better and not self.missed else "higher"

    @property
    def counted(self) -> tuple[str, ...]:
        """The counters that it takes; none for a quantile or a gauge."""
        return (self.events, *self.also, self.total) if self.events else ()

    @property
    def probed(self) -> bool:
        """Whether probes count it and no user: then both builds are asked at every stage, at 100 % too."""
        return (self.total if self.events else self.histogram or self.gauge).startswith(PROBED)

    @property
    def of(self) -> str:
        """What its sample size is a number of, such as ``requests`` or ``feedback``."""
        if self.probed:
            return "probes"
        if self.clustered or (self.kind is Kind.MEAN and (not self.events or self.total.endswith("_count"))):
            return "values"
        return self.total if self.events else "requests"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a limit comes from that nobody wrote as a number."""

    words: str
    """``1.5x of 212 ms in results/bench.json``."""
    facts: str
    """How that was measured, such as ``vllm bench serve, 2026-10-02, 1,000 requests, 10/s, model X``."""
    normal: float
    """What was measured, in the metric's unit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What "not worse" means; at least one is set.  ``ratio`` and ``delta`` always mean "worse by"."""

    ratio: float | None = None
    """The canary may be this many times worse than the baseline, > 1."""
    delta: float | None = None
    """The canary may be worse by this much, in the metric's unit."""
    max: float | None = None
    """The canary's value may be at most this, in the metric's unit."""
    min: float | None = None
    """The canary's value may be at least this."""
    shift: float | None = None
    """The canary's distribution may differ from the baseline's by this population stability index."""
    origin: Origin | None = None
    """Where ``max`` comes from, if a file says what is normal."""

    @property
    def relative(self) -> bool:
        """Whether a baseline is needed to judge."""
        return any(limit is not None for limit in (self.ratio, self.delta, self.shift))

    def __str__(self) -> str:
        said = (
            ("worse by at most", self.ratio, "x"),
            ("worse by at most +", self.delta, ""),
            ("at most", self.max, ""),
            ("at least", self.min, ""),
            ("shifted by at most PSI", self.shift, ""),
        )
        limits = ", ".join(f"{words} {value:g}{sign}" for words, value, sign in said if value is not None)
        return f"{limits} ({self.origin.words})" if self.origin else limits


@dataclass(frozen=True, slots=True)
class Levels:
    """How much evidence it takes; fixed before the start.  Presets and what each costs: docs/how-it-decides.md."""

    alpha: float = 0.01
    """The chance to roll back a build that has no more errors than the baseline (``error_rate``)."""
    others: float = 0.02
    """The same for all other declared gates together."""
    checks: float = 0.01
    """The same for all ``stage.check`` together."""
    beta: float = 0.05
    """The chance that "not worse than the gate" is proved of a build at the gate, at each stage."""
    odds: float = 0.75
    """How likely "worse than the gate" must be before a rate or a mean fails."""
    tail_odds: float = 0.85
    """The same for latency, where any of several quantiles may speak."""
    first: float = 0.8
    """Weight of the evidence that starts with the rollout; copies that start at later stages share the rest."""
    replicas: float = 15.0
    """Evidence that the replicas themselves must show, where they are counted apart; 1 asks for none."""
    replica_window_seconds: float = 60.0
    bursts: Bursts = Bursts.AUTO
    burst_window_seconds: float = 30.0


PRESETS: dict[str, Levels] = {
    "strict": Levels(alpha=0.007, others=0.014, odds=0.80, tail_odds=0.90, replicas=20.0),
    "default": Levels(),
    "fast": Levels(alpha=0.02, others=0.04, tail_odds=0.80, replicas=12.0),
}
"""Named levels: fewer false rollbacks, or fewer users exposed."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A metric with its limits: one identity, and so one share of alpha, for the whole rollout.

    ``stages`` holds limits that differ at a stage (index -> limits); the identity stays.  ``alpha`` is this gate's
    share of the false-rollback budget, fixed before the start.  ``where`` is the place that declared it,
    such as ``rollout.yaml:12``.
    """

    name: str
    metric: Metric
    limits: Limits
    action: Action = Action.ROLLBACK
    decide: Decide = Decide.EVIDENCE
    alpha: float = 0.01
    where: str = ""
    stages: tuple[tuple[int, Limits], ...] = ()
    only_stages: tuple[int, ...] | None = None
    """Indices of the stages that gate; None means all."""
    against: str = "concurrent"
    """For ``decide: threshold``: ``concurrent`` or ``captured`` (the window before the ramp)."""
    floor: float = 0.001
    """For ``decide: threshold``: the baseline rate is taken to be at least this (0.1 %) where it is zero."""
    min_baseline: int = 50
    """For ``decide: threshold``: at least so many baseline requests."""
    catastrophe: bool = True
    """Whether a plainly broken canary (far more than one failure in five) is stopped before anything else is known."""
    quantiles: tuple[float, ...] | None = None
    """For latency: the quantiles whose tail decides; None means this gate's own and those from p90 up to it."""
    levels: Levels = Levels()
    asked_alpha: float | None = None
    """The share of the budget that this gate itself asks for; None takes part in the sharing."""
    design_effect: float = 1.0
    """How many times more its counts vary than chance has it, where that is known; evidence is divided by it."""
    canaries: int = 2
    """How many replicas the canary is taken to have when the gate is held against the stable build's own noise."""
    by: tuple[str, ...] = ()
    """Labels within whose values like is compared with like, such as ``model``."""
    lag_seconds: float = 0.0
    """How late it is counted: nothing before that after a stage's start belongs to it, and the stage waits as long."""
    min_events: int | None = None
    """How many of what it counts the canary must have had at a stage; None is the metric's own least."""
    noise: Noise = 0.0
    """A relative limit inside it is refused; 0 where nothing is known."""
    preset: str = ""
    """The preset that declared it; empty where somebody wrote it."""
    calibrated: bool = False
    """Whether its false rollbacks were measured by play and are rare: then replicas may differ as they do."""

    @property
    def least(self) -> int:
        """How many of what it counts the canary must have had at a stage before it may pass."""
        return self.metric.least if self.min_events is None else self.min_events

    def limits_at(self, stage: int) -> Limits:
        """The limits that hold at the stage with this index."""
        return dict(self.stages).get(stage, self.limits)

    def first(self, kind: str) -> float:
        """The first limit of this kind that there is: a stage without one listens at that of another."""
        everywhere = (self.limits, *(limits for _, limits in self.stages))
        return next((limit for limits in everywhere if (limit := getattr(limits, kind)) is not None), 0.0)

    def gates(self, stage: int) -> bool:
        """Whether this gate is asked at the stage with this index."""
        return self.only_stages is None or stage in self.only_stages

    def kinds(self) -> tuple[str, ...]:
        """Which limits this gate has at any stage; each keeps its own evidence and an equal part of alpha."""
        everywhere = [self.limits, *(limits for _, limits in self.stages)]
        return tuple(kind for kind in KINDS_OF_LIMIT if any(getattr(x, kind) is not None for x in everywhere))
