"""A limit that needs no baseline: the canary's value is at most, or at least, so much."""

from __future__ import annotations

from dataclasses import replace
from math import log

from pytest_canary.gates import sentences as say
from pytest_canary.gates.edges import missing
from pytest_canary.gates.finding import Finding, evidence_of, harmless, still_needed
from pytest_canary.gates.reading import Reading, Window
from pytest_canary.gates.values import By, Gate, Kind, Limits, Status
from pytest_canary.stats.batches import BatchLimitEvidence
from pytest_canary.stats.latency import boundary_at_least
from pytest_canary.stats.limit import LimitEvidence
from pytest_canary.stats.mean import Moments
from pytest_canary.stats.planner import requests_to_prove_limit
from pytest_canary.stats.rate import bounds, odds_above


class Absolute:
    """One ``max`` or ``min``, kept over the whole rollout; ``min`` is ``max`` on the requests without the event.

    A quantile's ``max`` says that at most a share 1-q of the requests is slower, counted at a bucket boundary.
    """

    def __init__(self, kind: str, gate: Gate, alpha: float) -> None:
        self._kind, self._gate, self._alpha = kind, gate, alpha
        self._rate = gate.metric.kind is Kind.RATE
        self._captured = Reading()
        self._limit: float | None = None
        self._boundary: float | None = None
        self._harm = self._proof = self._fresh(0.5)
        self._allowed = 0.0

    def capture(self, baseline: Reading) -> str | None:
        """Learn the bucket boundaries; returns what is wrong when none stands for the limit."""
        self._captured = baseline
        if self._rate:
            return None
        if self._kind == "min":
            return "`min` is not a limit on how slow a build may be; write `max`"
        for limits in (self._gate.limits, *(limits for _, limits in self._gate.stages)):
            if limits.max is not None and boundary_at_least(baseline.bounds, limits.max) is None:
                return missing(baseline, limits.max, self._gate.metric, f"the limit is {self._amount(limits.max)}")
        return None

    def start_stage(self, _window: Window, limits: Limits) -> None:
        """Begin a stage with the limit that holds there; a new limit begins its own evidence."""
        limit = getattr(limits, self._kind)
        if limit is not None and limit != self._limit:
            self._limit = limit
            self._allowed = limit if self._rate else 1.0 - self._gate.metric.quantile
            if self._kind == "min":
                self._allowed = 1.0 - limit
            self._boundary = None if self._rate else boundary_at_least(self._captured.bounds, limit)
            self._harm = self._fresh(self._allowed)
        self._proof = self._fresh(1.0 - self._allowed)

    def _fresh(self, allowed: float) -> LimitEvidence | BatchLimitEvidence:
        return BatchLimitEvidence(allowed) if self._gate.metric.clustered else LimitEvidence(allowed)

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        bad = self._bad(canary)
        if bad is not None and canary.requests:
            for evidence, events in ((self._harm, bad), (self._proof, max(canary.requests - bad, 0.0))):
                if isinstance(evidence, BatchLimitEvidence):
                    evidence.update(Moments(canary.requests, events, 0.0))
                else:
                    evidence.update(canary.requests, events)

    def normal(self, baseline: Reading) -> None:
        """Nothing: no baseline is needed."""

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
        """Nothing: no baseline is needed."""

    def _bad(self, canary: Reading) -> float | None:
        """Requests that count against the limit; None where the buckets cannot say."""
        if not self._rate:
            return None if self._boundary is None else canary.above(self._boundary)
        return canary.events if self._kind == "max" else max(canary.requests - canary.events, 0.0)

    def finding(self, canary: Reading, baseline: Reading, _served: bool) -> Finding:
        """What this stage's counts and the evidence so far say."""
        bad = self._bad(canary)
        if bad is None or not canary.requests:
            return Finding(Status.NO_DATA, self._words, f"canary counted nothing, limit {self._words}")
        mine = canary.as_rate() if self._rate else canary.over(self._boundary or 0.0, self._gate.metric.quantile)
        theirs = baseline.as_rate() if self._rate else baseline.over(self._boundary or 0.0, self._gate.metric.quantile)
        log_e, odds = float(self._harm.log_e[0]), odds_above(canary.requests, bad, self._allowed)
        slow = (
            ""
            if self._rate
            else f"{self._gate.metric.of} {say.beyond(self._gate.metric.unit)} {self._amount(self._boundary or 0.0)}: "
        )
        allowed = "" if self._rate else f", at most {say.percent(self._allowed)} may be"
        low, high = bounds(canary.requests, bad, self._gate.levels.beta)
        low, high = (1 - high, 1 - low) if self._kind == "min" else (low, high)
        span = "" if self._gate.metric.clustered else f" (between {say.percent(low)} and {say.percent(high)})"
        says = (
            f"{slow}canary {say.events(mine)}{span}{allowed}, limit {self._words}; "
            f"{say.convicts(evidence_of(log_e), self._alpha, odds)}"
        )
        beta = self._gate.levels.beta
        total = requests_to_prove_limit(bad / canary.requests, self._allowed, beta)
        finding = Finding(
            Status.UNDECIDED, self._words, says, None, mine, theirs, None, None, evidence_of(log_e), odds,
            harmless(log_e, odds, self._alpha), still_needed(total, canary.requests, float(self._proof.log_e[0]), beta),
        )  # fmt: skip
        if log_e >= -log(self._alpha):
            return replace(finding, status=Status.FAIL, by=By.EVIDENCE)
        if self._proof.log_e[0] >= log(1 / beta):
            return replace(finding, status=Status.PASS, by=By.PROOF, says=f"{says}; proved to be within the limit")
        return finding

    @property
    def _words(self) -> str:
        value = self._limit or 0.0
        sign = "<=" if self._kind == "max" else ">="
        return f"{self._kind} {sign} {say.percent(value) if self._rate else self._amount(value)}"

    def _amount(self, value: float) -> str:
        return say.amount(value, self._gate.metric.unit)
