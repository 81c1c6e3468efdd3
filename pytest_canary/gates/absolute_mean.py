"""A limit on a mean that needs no baseline: at most, or at least, so much."""

from __future__ import annotations

from math import log

from pytest_canary.gates import sentences as say
from pytest_canary.gates.finding import Finding, evidence_of
from pytest_canary.gates.look import FAIL, NO_DATA, PASS, Look, unharmed
from pytest_canary.gates.means import by_batches
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.side import Side
from pytest_canary.gates.values import By, Gate, Limits, Status
from pytest_canary.gates.window import Window
from pytest_canary.stats.batches import BatchLimitEvidence, Spread
from pytest_canary.stats.grid import Array
from pytest_canary.stats.mean import MeanLimitEvidence, Moments
from pytest_canary.stats.rows import Flags, Index, Rows


class AbsoluteMean(Rows):
    """One ``max`` or ``min`` on a mean, kept over the whole rollout; ``min`` is ``max`` on the negated values."""

    PARTS = ("_spread", "_harm", "_proof")

    def __init__(self, kind: str, gate: Gate, alpha: float, batch: int = 1) -> None:
        self._kind, self._gate, self._alpha, self._batch = kind, gate, alpha, batch
        self._sign = 1 if kind == "max" else -1
        self._limit: float | None = None
        self._batched, self._spread = False, Spread(batch)
        self._harm: MeanLimitEvidence | BatchLimitEvidence = MeanLimitEvidence(0.0, batch)
        self._proof: MeanLimitEvidence | BatchLimitEvidence = MeanLimitEvidence(0.0, batch)

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._batch = rows.size

    def capture(self, baseline: Side) -> list[str | None]:
        """Learn whether there is a histogram, or only a sum."""
        self._batched = by_batches(baseline, self._gate.metric)
        return [None] * self._batch

    def normal(self, baseline: Side, where: Flags | None) -> None:
        """Add one poll from before the ramp: where only sums are counted, it shows how far single values spread."""
        del where
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
            return BatchLimitEvidence(limit, self._batch, phi=phi, spread=self._spread.variance)
        return MeanLimitEvidence(limit, self._batch, phi=phi)

    def alone(self, canary: Side, where: Flags | None) -> None:
        """Add one poll of the canary."""
        del where
        signed = Moments(canary.requests, self._sign * canary.total, canary.squares)
        self._harm.update(signed)
        self._proof.update(signed)

    def compare(self, canary: Side, baseline: Side, at: Array, where: Flags | None) -> None:
        """Nothing: no baseline is needed."""

    def failing(self, canary: Side, _baseline: Side, _served: Flags) -> Flags:
        """Whether it fails now."""
        return (self._harm.log_e >= -log(self._alpha)) & (canary.requests > 0)

    def look(self, canary: Side, baseline: Side, served: Flags, _rows: Index) -> Look:
        """What this stage's counts and the evidence so far say."""
        found, there = Look.undecided(self._batch), canary.requests > 0
        found.log_e, found.odds = self._harm.log_e, self._proof.odds
        found.put(self._proof.log_proof >= log(1 / self._gate.levels.beta), PASS, By.PROOF)
        found.put(self.failing(canary, baseline, served), FAIL, By.EVIDENCE)
        found.put(~there, NO_DATA)
        found.harmless = there & unharmed(found.log_e, found.odds, self._alpha)
        return found

    def finding(self, row: int, look: Look, canary: Reading, baseline: Reading) -> Finding:
        """``look`` in words."""
        limit = say.seconds(self._limit or 0.0) if self._gate.metric.unit == "seconds" else f"{self._limit:g}"
        words = f"{self._kind} {'<=' if self._sign > 0 else '>='} {limit}"
        mine, theirs = canary.as_mean(), baseline.as_mean()
        if look.status_of(row) is Status.NO_DATA:
            return Finding(Status.NO_DATA, words, f"canary counted nothing, limit {words}", None, mine, theirs)
        evidence, odds = evidence_of(float(look.log_e[row])), float(look.odds[row])
        proved = "; proved to be within the limit" if look.by_of(row) is By.PROOF else ""
        says = (
            f"canary {say.mean(mine, self._gate.metric.unit)}, limit {words}; "
            f"{say.convicts(evidence, self._alpha, odds)}{proved}"
        )
        return Finding(
            look.status_of(row), words, says, look.by_of(row), mine, theirs, None, None, evidence, odds,
            bool(look.harmless[row]),
        )  # fmt: skip
