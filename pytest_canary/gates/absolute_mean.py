"""A limit on a mean that needs no baseline: at most, or at least, so much."""

from __future__ import annotations

from dataclasses import replace
from math import log

from pytest_canary.gates import sentences as say
from pytest_canary.gates.finding import Finding, evidence_of, harmless
from pytest_canary.gates.means import by_batches
from pytest_canary.gates.reading import Reading, Window
from pytest_canary.gates.values import By, Gate, Limits, Status
from pytest_canary.stats.batches import BatchLimitEvidence, Spread
from pytest_canary.stats.mean import MeanLimitEvidence, Moments


class AbsoluteMean:
    """One ``max`` or ``min`` on a mean, kept over the whole rollout; ``min`` is ``max`` on the negated values."""

    def __init__(self, kind: str, gate: Gate, alpha: float) -> None:
        self._kind, self._gate, self._alpha = kind, gate, alpha
        self._sign = 1 if kind == "max" else -1
        self._limit: float | None = None
        self._batched, self._spread = False, Spread()
        self._harm: MeanLimitEvidence | BatchLimitEvidence = MeanLimitEvidence(0.0)
        self._proof: MeanLimitEvidence | BatchLimitEvidence = self._harm

    def capture(self, baseline: Reading) -> str | None:
        """Learn whether there is a histogram, or only a sum."""
        self._batched = by_batches(baseline, self._gate.metric)
        return None

    def normal(self, baseline: Reading) -> None:
        """Add one poll from before the ramp: where only sums are counted, it shows how far single values spread."""
        self._spread.add(baseline.requests, baseline.total)

    def start_stage(self, _window: Window, limits: Limits) -> None:
        """Begin a stage with the limit that holds there; a new limit begins its own evidence."""
        limit = getattr(limits, self._kind)
        if limit is not None and limit != self._limit:
            self._limit = limit
            self._harm = self._fresh()
        self._proof = self._fresh()

    def _fresh(self) -> MeanLimitEvidence | BatchLimitEvidence:
        limit, phi = self._sign * (self._limit or 0.0), self._gate.design_effect
        if self._batched:
            return BatchLimitEvidence(limit, phi=phi, spread=self._spread.variance)
        return MeanLimitEvidence(limit, phi=phi)

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        signed = Moments(canary.requests, self._sign * canary.total, canary.squares)
        self._harm.update(signed)
        self._proof.update(signed)

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
        """Nothing: no baseline is needed."""

    def finding(self, canary: Reading, baseline: Reading, _served: bool) -> Finding:
        """What this stage's counts and the evidence so far say."""
        limit = say.seconds(self._limit or 0.0) if self._gate.metric.unit == "seconds" else f"{self._limit:g}"
        words = f"{self._kind} {'<=' if self._sign > 0 else '>='} {limit}"
        mine, theirs = canary.as_mean(), baseline.as_mean()
        if not canary.requests:
            return Finding(Status.NO_DATA, words, f"canary counted nothing, limit {words}", None, mine, theirs)
        log_e, odds = float(self._harm.log_e[0]), float(self._proof.odds[0])
        says = (
            f"canary {say.mean(mine, self._gate.metric.unit)}, limit {words}; "
            f"{say.convicts(evidence_of(log_e), self._alpha, odds)}"
        )
        finding = Finding(
            Status.UNDECIDED, words, says, None, mine, theirs, None, None, evidence_of(log_e), odds,
            harmless(log_e, odds, self._alpha),
        )  # fmt: skip
        if log_e >= -log(self._alpha):
            return replace(finding, status=Status.FAIL, by=By.EVIDENCE)
        if self._proof.log_proof[0] >= log(1 / self._gate.levels.beta):
            return replace(finding, status=Status.PASS, by=By.PROOF, says=f"{says}; proved to be within the limit")
        return finding
