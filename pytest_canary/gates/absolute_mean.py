"""A limit on a mean that needs no baseline: at most, or at least, so much."""

from __future__ import annotations

from dataclasses import replace
from math import log

from pytest_canary.gates import sentences as say
from pytest_canary.gates.finding import Finding, evidence_of, harmless
from pytest_canary.gates.reading import Reading, Window
from pytest_canary.gates.values import By, Gate, Limits, Status
from pytest_canary.stats.mean import MeanLimitEvidence, Moments


class AbsoluteMean:
    """One ``max`` or ``min`` on a mean, kept over the whole rollout; ``min`` is ``max`` on the negated values."""

    def __init__(self, kind: str, gate: Gate, alpha: float) -> None:
        self._kind, self._gate, self._alpha = kind, gate, alpha
        self._sign = 1 if kind == "max" else -1
        self._limit: float | None = None
        self._harm = self._proof = MeanLimitEvidence(0.0)

    def capture(self, _baseline: Reading) -> str | None:
        """Nothing is to be learnt."""
        return None

    def normal(self, baseline: Reading) -> None:
        """Nothing: no baseline is needed."""

    def start_stage(self, _window: Window, limits: Limits) -> None:
        """Begin a stage with the limit that holds there; a new limit begins its own evidence."""
        limit = getattr(limits, self._kind)
        if limit is not None and limit != self._limit:
            self._limit = limit
            self._harm = self._fresh()
        self._proof = self._fresh()

    def _fresh(self) -> MeanLimitEvidence:
        return MeanLimitEvidence(self._sign * (self._limit or 0.0), phi=self._gate.design_effect)

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        signed = Moments(canary.requests, self._sign * canary.total, canary.squares)
        self._harm.update(signed)
        self._proof.update(signed)

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
        """Nothing: no baseline is needed."""

    def finding(self, canary: Reading, baseline: Reading, _served: bool) -> Finding:
        """What this stage's counts and the evidence so far say."""
        words = f"{self._kind} {'<=' if self._sign > 0 else '>='} {self._limit:g}"
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
