"""A limit that needs no baseline: the canary's value is at most, or at least, so much."""

from __future__ import annotations

from math import log

import numpy as np

from pytest_canary.gates import sentences as say
from pytest_canary.gates.edges import missing
from pytest_canary.gates.finding import Finding, evidence_of, still_needed
from pytest_canary.gates.look import FAIL, NO_DATA, PASS, Look, unharmed
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.side import Side, places
from pytest_canary.gates.values import By, Gate, Kind, Limits, Status
from pytest_canary.gates.window import Window
from pytest_canary.stats.batches import BatchLimitEvidence
from pytest_canary.stats.grid import Array
from pytest_canary.stats.latency import boundary_at_least
from pytest_canary.stats.limit import LimitEvidence
from pytest_canary.stats.mean import Moments
from pytest_canary.stats.planner import requests_to_prove_limit
from pytest_canary.stats.rate import bounds, odds_above
from pytest_canary.stats.rows import Flags, Index, Rows


class Absolute(Rows):
    """One ``max`` or ``min``, kept over the whole rollout; ``min`` is ``max`` on the requests without the event.

    A quantile's ``max`` says that at most a share 1-q of the requests is slower, counted at a bucket boundary.
    """

    PARTS = ("_harm", "_proof")

    def __init__(self, kind: str, gate: Gate, alpha: float, batch: int = 1) -> None:
        self._kind, self._gate, self._alpha, self._batch = kind, gate, alpha, batch
        self._rate = gate.metric.kind is Kind.RATE
        self._bounds: tuple[float, ...] = ()
        self._limit: float | None = None
        self._boundary: float | None = None
        self._harm = self._proof = self._fresh(0.5)
        self._allowed = 0.0

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._batch = rows.size

    def capture(self, baseline: Side) -> list[str | None]:
        """Learn the bucket boundaries; says what is wrong when none stands for the limit."""
        self._bounds = baseline.bounds
        return [self._unjudged(baseline)] * self._batch

    def _unjudged(self, baseline: Side) -> str | None:
        if self._rate:
            return None
        if self._kind == "min":
            return "`min` is not a limit on how slow a build may be; write `max`"
        for limits in (self._gate.limits, *(limits for _, limits in self._gate.stages)):
            if limits.max is not None and boundary_at_least(self._bounds, limits.max) is None:
                why = f"the limit is {self._amount(limits.max)}"
                return missing(baseline.row(0), limits.max, self._gate.metric, why)
        return None

    def start_stage(self, _window: Window, limits: Limits) -> None:
        """Begin a stage with the limit that holds there; a new limit begins its own evidence."""
        limit = getattr(limits, self._kind)
        if limit is not None and limit != self._limit:
            self._limit = limit
            self._allowed = limit if self._rate else 1.0 - self._gate.metric.quantile
            if self._kind == "min":
                self._allowed = 1.0 - limit
            self._boundary = None if self._rate else boundary_at_least(self._bounds, limit)
            self._harm = self._fresh(self._allowed)
        self._proof = self._fresh(1.0 - self._allowed)

    def _fresh(self, allowed: float) -> LimitEvidence | BatchLimitEvidence:
        kind = BatchLimitEvidence if self._gate.metric.clustered else LimitEvidence
        return kind(allowed, self._batch)

    def alone(self, canary: Side, where: Flags | None) -> None:
        """Add one poll of the canary."""
        bad, some = self._bad(canary), canary.requests > 0
        some = some if where is None else some & where
        if bad is None or not some.any():
            return
        requests, bad = np.where(some, canary.requests, 0.0), np.where(some, bad, 0.0)
        for evidence, events in ((self._harm, bad), (self._proof, np.maximum(requests - bad, 0.0))):
            if isinstance(evidence, BatchLimitEvidence):
                evidence.update(Moments(requests, events, 0.0))
            else:
                evidence.update(requests, events, None if some.all() else some)

    def normal(self, baseline: Side, where: Flags | None) -> None:
        """Nothing: no baseline is needed."""

    def compare(self, canary: Side, baseline: Side, at: Array, where: Flags | None) -> None:
        """Nothing: no baseline is needed."""

    def _bad(self, canary: Side) -> Array | None:
        """Requests that count against the limit; None where the buckets cannot say."""
        if self._rate:
            return canary.events if self._kind == "max" else np.maximum(canary.requests - canary.events, 0.0)
        at = None if self._boundary is None else places(canary.bounds, np.array([self._boundary]))
        return None if at is None else canary.above(np.broadcast_to(at, (canary.batch,)))

    def failing(self, canary: Side, _baseline: Side, _served: Flags) -> Flags:
        """Whether it fails now."""
        threshold = -log(self._alpha)
        harm = self._harm
        reached = harm.reaches(threshold) if isinstance(harm, LimitEvidence) else harm.log_e >= threshold
        return reached & (canary.requests > 0) & (self._bad(canary) is not None)

    def look(self, canary: Side, baseline: Side, served: Flags, rows: Index) -> Look:
        """What this stage's counts and the evidence so far say, in ``rows``."""
        found, bad, there = Look.undecided(self._batch), self._bad(canary), canary.requests > 0
        if bad is not None:
            found.log_e = self._harm.log_e
            for row in rows[there[rows]]:
                found.odds[row] = odds_above(float(canary.requests[row]), float(bad[row]), self._allowed)
            found.put(self._proof.log_e >= log(1 / self._gate.levels.beta), PASS, By.PROOF)
            found.put(self.failing(canary, baseline, served), FAIL, By.EVIDENCE)
        found.put(~there | (bad is None), NO_DATA)
        found.harmless = there & (bad is not None) & unharmed(found.log_e, found.odds, self._alpha)
        return found

    def finding(self, row: int, look: Look, canary: Reading, baseline: Reading) -> Finding:
        """``look`` in words."""
        if look.status_of(row) is Status.NO_DATA:
            return Finding(Status.NO_DATA, self._words, f"canary counted nothing, limit {self._words}")
        if self._rate:
            mine, theirs, slow, allowed = canary.as_rate(), baseline.as_rate(), "", ""
            bad = canary.events if self._kind == "max" else max(canary.requests - canary.events, 0.0)
        else:
            at, quantile = self._boundary or 0.0, self._gate.metric.quantile
            mine, theirs, bad = canary.over(at, quantile), baseline.over(at, quantile), canary.above(at) or 0.0
            slow = f"{self._gate.metric.of} {say.beyond(self._gate.metric.unit)} {self._amount(at)}: "
            allowed = f", at most {say.percent(self._allowed)} may be"
        beta, odds, evidence = self._gate.levels.beta, float(look.odds[row]), evidence_of(float(look.log_e[row]))
        low, high = bounds(canary.requests, bad, beta)
        low, high = (1 - high, 1 - low) if self._kind == "min" else (low, high)
        span = "" if self._gate.metric.clustered else f" (between {say.percent(low)} and {say.percent(high)})"
        proved = "; proved to be within the limit" if look.by_of(row) is By.PROOF else ""
        says = (
            f"{slow}canary {say.events(mine)}{span}{allowed}, limit {self._words}; "
            f"{say.convicts(evidence, self._alpha, odds)}{proved}"
        )
        total = requests_to_prove_limit(bad / canary.requests, self._allowed, beta)
        return Finding(
            look.status_of(row), self._words, says, look.by_of(row), mine, theirs, None, None, evidence, odds,
            bool(look.harmless[row]), still_needed(total, canary.requests, float(self._proof.log_e[row]), beta),
        )  # fmt: skip

    @property
    def _words(self) -> str:
        value = self._limit or 0.0
        sign = "<=" if self._kind == "max" else ">="
        return f"{self._kind} {sign} {say.percent(value) if self._rate else self._amount(value)}"

    def _amount(self, value: float) -> str:
        return say.amount(value, self._gate.metric.unit)
