"""A mean that may be worse than the baseline's only by so much; a frequent rate is the mean of noughts and ones."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np

from pytest_canary.gates import sentences as say
from pytest_canary.gates.finding import Finding, evidence_of, still_needed
from pytest_canary.gates.lane import Lane
from pytest_canary.gates.look import FAIL, NO_DATA, PASS, Look, unharmed
from pytest_canary.gates.opinion import SecondOpinion
from pytest_canary.gates.rates import events_of
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.side import Side, alike
from pytest_canary.gates.values import By, Counted, Decide, Gate, Kind, Limits, Metric, Status
from pytest_canary.gates.window import Window
from pytest_canary.stats.batches import BATCHES, VALUES, BatchEvidence, BatchLimitEvidence, Spread
from pytest_canary.stats.grid import Array
from pytest_canary.stats.mean import MeanEvidence, MeanLimitEvidence, Moments
from pytest_canary.stats.rows import Flags, Index, Rows, axes

FREQUENT = 0.1
"""A rate above this is judged as a mean: what makes the evidence for rare events exact costs too much here."""
_TOP = 2.58
"""Standard deviations above (below) its mean that a frozen baseline is taken to have had: the 99.5 % bound."""


def moments_of(side: Side, kind: Kind) -> Moments:
    """Number, sum and sum of squares of the values; of noughts and ones for a rate."""
    return Moments(side.requests, side.events, side.events) if kind is Kind.RATE else side.moments


def by_batches(baseline: Side, metric: Metric) -> bool:
    """Whether polls are the observations of a mean: its values come many at once, or nobody knows them one by one."""
    return metric.kind is Kind.MEAN and (metric.clustered or not baseline.bounds)


class RelativeMean(Rows):
    """One relative limit (``ratio`` or ``delta``) on a mean, kept over the whole rollout."""

    PARTS = ("_lane", "_opinion", "_evidence", "_frozen", "_spread")
    AXES = axes(_frozen_there=0)

    def __init__(self, kind: str, gate: Gate, alpha: float, stages: int, batch: int = 1) -> None:
        self._kind, self._gate, self._levels, self._stages = kind, gate, gate.levels, stages
        self._metric, self._batch = gate.metric, batch
        self._rate = gate.metric.kind is Kind.RATE
        self._lane = Lane(alpha, batch) if self._rate and gate.catastrophe else None
        self._alpha = 0.9 * alpha if self._lane else alpha
        self._opinion = SecondOpinion(stages, gate.levels, batch) if self._rate else None
        self._evidence: MeanEvidence | BatchEvidence | None = None
        self._frozen: MeanLimitEvidence | BatchLimitEvidence | None = None
        self._frozen_there = np.zeros(batch, dtype=bool)
        self._batched, self._spread = False, Spread(batch)
        self._limit, self._compared = gate.first(kind), True

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._batch = rows.size

    def capture(self, baseline: Side) -> list[str | None]:
        """Learn what is normal before the ramp; a mean of nothing cannot be compared with."""
        if self._lane:
            self._lane.expect(self._value(baseline, 0.0))
        self._batched = by_batches(baseline, self._metric)
        counted = f"counter `{self._metric.total}`" if self._metric.events else f"histogram `{self._metric.histogram}`"
        empty = f"the baseline's {counted} is empty; {say.empty(self._metric)}"
        return [empty if not self._rate and not number else None for number in baseline.requests]

    def normal(self, baseline: Side, where: Flags | None) -> None:
        """Add one poll from before the ramp: where only sums are counted, it shows how far single values spread."""
        del where
        self._spread.add(baseline.requests, baseline.total)

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there; another limit begins its own evidence."""
        limit = getattr(limits, self._kind) or self._limit
        if self._evidence is None or limit != self._limit:
            self._evidence = self._fresh(limit)
        self._limit, self._compared = limit, window.compared
        self._evidence.start_stage()
        if self._opinion:
            self._opinion.start_stage(window.hold_seconds)
        if not window.compared:
            self._freeze(window.frozen)

    def _fresh(self, limit: float) -> MeanEvidence | BatchEvidence:
        additive, phi, first = self._kind == "delta", self._gate.design_effect, self._levels.first
        if not self._batched:
            return MeanEvidence(limit, self._stages, self._batch, additive=additive, phi=phi, first=first)
        spread = self._spread.variance
        return BatchEvidence(limit, self._stages, self._batch, additive=additive, phi=phi, first=first, spread=spread)

    def _freeze(self, frozen: Side) -> None:
        """Evidence against the limit on the baseline's last window, read generously."""
        self._frozen_there = frozen.requests > 0
        if not self._frozen_there.any():
            self._frozen = None
            return
        value = self._value(frozen, 1.0)
        number, _, squares = (np.asarray(each) for each in moments_of(frozen, self._metric.kind))
        number = np.where(self._frozen_there, number, 1.0)
        variance = self._spread.variance if self._batched else squares / number - value**2
        deviation = np.sqrt(np.maximum(variance, 0.0) / number)
        better = self._metric.lower_is_better
        top = value + (1 if better else -1) * _TOP * deviation
        if self._kind == "ratio":
            limit = top * self._limit if better else top / self._limit
        else:
            limit = top + self._limit if better else top - self._limit
        phi, signed = self._gate.design_effect, limit if better else -limit
        self._frozen = (
            BatchLimitEvidence(signed, self._batch, phi=phi, spread=variance)
            if self._batched
            else MeanLimitEvidence(signed, self._batch, phi=phi)
        )

    def alone(self, canary: Side, where: Flags | None) -> None:
        """Add one poll of the canary."""
        if self._lane:
            self._lane.update(canary.requests, canary.events, where)
        if not self._compared and self._frozen is not None:
            number, total, squares = moments_of(canary, self._metric.kind)
            signed = np.asarray(total) if self._metric.lower_is_better else -np.asarray(total)
            self._frozen.update(Moments(number, signed, squares))

    def compare(self, canary: Side, baseline: Side, at: Array, where: Flags | None) -> None:
        """Add what both sides counted since the last comparison; like against like where there are strata."""
        if self._evidence is None:
            return
        kind = self._metric.kind
        sides = [(moments_of(mine, kind), moments_of(theirs, kind)) for mine, theirs in alike(canary, baseline)]
        lower = self._metric.lower_is_better
        self._evidence.update(*(pair if lower else (pair[1], pair[0]) for pair in sides))
        if self._batched:
            self._spread.add(baseline.requests, baseline.total)
        if self._opinion:
            self._opinion.add(canary, baseline, events_of, at, where)

    # -- found, in all rollouts ------------------------------------------------------------------------------------

    def failing(self, canary: Side, baseline: Side, _served: Flags) -> Flags:
        """Whether it fails now."""
        if not self._compared or self._evidence is None:
            log_e = self._frozen.log_e if self._frozen else np.zeros(self._batch)
            return self._frozen_there & (log_e >= -log(self._alpha))
        broken, convicted = self._grounds(self._evidence, canary, baseline)
        return broken | (convicted & self._opinion.agrees if self._opinion else convicted)

    def _grounds(self, evidence: MeanEvidence | BatchEvidence, canary: Side, baseline: Side) -> tuple[Flags, Flags]:
        """Whether it is plainly broken, and whether evidence and odds (or the estimate) speak against it."""
        harmful = evidence.reaches(-log(self._alpha))
        broken = self._lane.broken if self._lane else np.zeros(self._batch, dtype=bool)
        if self._lane and broken.any():
            broken = self._lane.fires(evidence.log_e)
        if not harmful.any():
            return broken, harmful
        over = self._over(canary, baseline) if self._gate.decide is Decide.ESTIMATE else None
        return broken, harmful & (evidence.odds >= self._levels.odds if over is None else over)

    def look(self, canary: Side, baseline: Side, served: Flags, rows: Index) -> Look:
        """What this stage's counts and the evidence so far say, in ``rows``."""
        if not self._compared or self._evidence is None:
            return self._then(canary, served)
        found, evidence = Look.undecided(self._batch), self._evidence
        there = (canary.requests > 0) & (baseline.requests > 0)
        broken, convicted = self._grounds(evidence, canary, baseline)
        agrees = self._opinion.agrees if self._opinion else np.ones(self._batch, dtype=bool)
        found.log_e, found.odds[rows] = evidence.log_e, evidence.odds[rows]
        found.put(evidence.log_proof >= log(1 / self._levels.beta), PASS, By.PROOF)
        found.put(~there, NO_DATA)
        found.put(convicted & agrees, FAIL, By.ESTIMATE if self._gate.decide is Decide.ESTIMATE else By.EVIDENCE)
        found.put(broken, FAIL, By.CATASTROPHE)
        found.held = convicted & ~agrees
        cleared = unharmed(found.log_e, found.odds, self._alpha)
        cleared = self._opinion.clears | cleared if self._opinion else cleared
        found.harmless = there & cleared & self._speaks(evidence)
        return found

    def _speaks(self, evidence: MeanEvidence | BatchEvidence) -> Flags:
        return evidence.speaks if isinstance(evidence, BatchEvidence) else np.ones(self._batch, dtype=bool)

    def _then(self, canary: Side, served: Flags) -> Look:
        found, there = Look.undecided(self._batch), canary.requests > 0
        if self._frozen:
            found.log_e = np.where(self._frozen_there, self._frozen.log_e, 0.0)
            found.odds = np.where(self._frozen_there, self._frozen.odds, 0.0)
        found.put(served, PASS, By.NOT_COMPARED)
        found.put(~there, NO_DATA)
        found.put(found.log_e >= -log(self._alpha), FAIL, By.EVIDENCE)
        found.harmless = there & unharmed(found.log_e, found.odds, self._alpha)
        return found

    def _over(self, canary: Side, baseline: Side) -> Flags:
        there = (canary.requests > 0) & (baseline.requests > 0)
        mine, theirs = self._value(canary, 0.0), self._value(baseline, 0.0)
        worse, better = (mine, theirs) if self._metric.lower_is_better else (theirs, mine)
        over = worse > better * self._limit if self._kind == "ratio" else worse > better + self._limit
        return np.asarray(there & over)

    def _value(self, side: Side, otherwise: float) -> Array:
        some = side.requests > 0
        sums = side.events if self._rate else side.total
        return np.where(some, sums / np.where(some, side.requests, 1.0), otherwise)

    # -- said, of one of them --------------------------------------------------------------------------------------

    def finding(self, row: int, look: Look, canary: Reading, baseline: Reading) -> Finding:
        """``look`` in words."""
        if self._compared and self._evidence is not None:
            return self._against_now(row, look, self._evidence, canary, baseline)
        return self._against_then(row, look, canary)

    def _against_now(
        self, row: int, look: Look, evidence: MeanEvidence | BatchEvidence, canary: Reading, baseline: Reading
    ) -> Finding:
        mine, theirs = self._counted(canary), self._counted(baseline)
        low, high = (float(side[row]) for side in evidence.interval())
        size, odds = evidence_of(float(look.log_e[row])), float(look.odds[row])
        ratio = mine.value / theirs.value if mine.value is not None and theirs.value else None
        differ = self._differ(mine, theirs, (low, high))
        says = (
            f"canary {self._number(mine)} against baseline {self._number(theirs)}: {differ}, limit {self._words}; "
            f"{say.convicts(size, self._alpha, odds)}{self._why(row, look)}"
        )
        few = not self._speaks(evidence)[row]
        says += f"; says nothing before {BATCHES} polls with {VALUES} values a side" if few else ""
        interval = (low, high) if self._kind == "ratio" and high < float("inf") else None
        return Finding(
            look.status_of(row), f"{self._kind} <= {self._limit:g}", says, look.by_of(row), mine, theirs, ratio,
            interval, size, odds, harmless=bool(look.harmless[row]), needed=self._needed(row, evidence, canary),
        )  # fmt: skip

    def _why(self, row: int, look: Look) -> str:
        status, by = look.status_of(row), look.by_of(row)
        if by is By.CATASTROPHE and self._lane:
            return f"; plainly broken, fails more than {say.percent(self._lane.limit_of(row))} of its requests"
        if by is By.PROOF:
            return "; proved to be within the limit"
        if self._opinion and (status is Status.FAIL or (status is Status.UNDECIDED and look.held[row])):
            return say.replicas(self._opinion.of(row))
        return ""

    def _against_then(self, row: int, look: Look, canary: Reading) -> Finding:
        mine = self._counted(canary)
        evidence, odds = evidence_of(float(look.log_e[row])), float(look.odds[row])
        finding = Finding(
            look.status_of(row), f"{self._kind} <= {self._limit:g}", f"canary {self._number(mine)}", look.by_of(row),
            mine, Counted(), evidence=evidence, odds=odds, harmless=bool(look.harmless[row]),
        )  # fmt: skip
        if not (self._frozen and self._frozen_there[row]):
            return finding
        against = f" against the limit {self._words} on the baseline's last window"
        return replace(finding, says=f"{finding.says}{against}; {say.convicts(evidence, self._alpha, odds)}")

    def _counted(self, side: Reading) -> Counted:
        return side.as_rate() if self._rate else side.as_mean()

    def _number(self, side: Counted) -> str:
        return say.events(side) if self._rate else say.mean(side, self._metric.unit)

    def _differ(self, mine: Counted, theirs: Counted, interval: tuple[float, float]) -> str:
        if mine.value is None or theirs.value is None:
            return "nothing to compare yet"
        if self._kind == "delta":
            return f"{mine.value - theirs.value:+.3g}"
        worse, better = (mine, theirs) if self._metric.lower_is_better else (theirs, mine)
        ratio = (worse.value or 0.0) / better.value if better.value else None
        times = "no ratio" if ratio is None else f"{ratio:.2f}x worse" if ratio > 1 else f"{ratio:.2f}x"
        return times if interval[1] == float("inf") else f"{times} ({say.span(interval)})"

    @property
    def _words(self) -> str:
        return f"{self._limit:g}x" if self._kind == "ratio" else f"+{self._limit:g}"

    def _needed(self, row: int, evidence: MeanEvidence | BatchEvidence, canary: Reading) -> float | None:
        """Proof grows about in proportion to what was served; None while it does not grow."""
        log_proof = float(evidence.log_proof[row])
        if log_proof <= 0 or not canary.requests:
            return None
        total = canary.requests * log(1 / self._levels.beta) / log_proof
        return still_needed(total, canary.requests, log_proof, self._levels.beta)
