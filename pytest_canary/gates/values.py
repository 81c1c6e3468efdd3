"""The frozen values that a gate consists of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a metric is counted, which decides the rule that judges it."""

    RATE = "rate"
    """Events among requests: two counters."""
    QUANTILE = "quantile"
    """A quantile of a histogram."""


class Decide(StrEnum):
    """Which rule turns counts into a verdict."""

    EVIDENCE = "evidence"
    THRESHOLD = "threshold"


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
    DEADLINE = "deadline"


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

    A rate has ``events`` and ``total`` (names of counters); a quantile has ``histogram`` and ``quantile`` (0..1).
    ``lower_is_better`` says which way "worse" goes.
    """

    name: str
    kind: Kind
    unit: str
    """``ratio`` or ``seconds``."""
    events: str = ""
    total: str = "requests"
    histogram: str = ""
    quantile: float = 0.0
    lower_is_better: bool = True


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

    @property
    def relative(self) -> bool:
        """Whether a baseline is needed to judge."""
        return self.ratio is not None or self.delta is not None

    def __str__(self) -> str:
        said = (
            ("worse by at most", self.ratio, "x"),
            ("worse by at most +", self.delta, ""),
            ("at most", self.max, ""),
            ("at least", self.min, ""),
        )
        return ", ".join(f"{words} {value:g}{sign}" for words, value, sign in said if value is not None)


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

    def limits_at(self, stage: int) -> Limits:
        """The limits that hold at the stage with this index."""
        return dict(self.stages).get(stage, self.limits)

    def gates(self, stage: int) -> bool:
        """Whether this gate is asked at the stage with this index."""
        return self.only_stages is None or stage in self.only_stages

    def kinds(self) -> tuple[str, ...]:
        """Which limits this gate has at any stage; each keeps its own evidence and an equal part of alpha."""
        everywhere = [self.limits, *(limits for _, limits in self.stages)]
        return tuple(
            kind for kind in ("ratio", "delta", "max", "min") if any(getattr(x, kind) is not None for x in everywhere)
        )
