"""A mean that may be worse than the baseline's only by so much; a frequent rate is the mean of noughts and ones."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt

from pytest_canary.gates import sentences as say
from pytest_canary.gates.finding import Finding, evidence_of, harmless, still_needed
from pytest_canary.gates.lane import Lane
from pytest_canary.gates.opinion import SecondOpinion
from pytest_canary.gates.rates import events_of
from pytest_canary.gates.reading import Reading, Window, alike
from pytest_canary.gates.values import By, Counted, Decide, Gate, Kind, Limits, Metric, Status
from pytest_canary.stats.batches import BATCHES, VALUES, BatchEvidence, BatchLimitEvidence, Spread
from pytest_canary.stats.mean import MeanEvidence, MeanLimitEvidence, Moments

FREQUENT = 0.1
"""A rate above this is judged as a mean: what makes the evidence for rare events exact costs too much here."""
_TOP = 2.58
"""Standard deviations above (below) its mean that a frozen baseline is taken to have had: the 99.5 % bound."""


def moments_of(side: Reading, kind: Kind) -> Moments:
    """Number, sum and sum of squares of the values; of noughts and ones for a rate."""
    return Moments(side.requests, side.events, side.events) if kind is Kind.RATE else side.moments


def by_batches(baseline: Reading, metric: Metric) -> bool:
    """Whether polls are the observations of a mean: its values come many at once, or nobody knows them one by one."""
    return metric.kind is Kind.MEAN and (metric.clustered or not baseline.bounds)


class RelativeMean:
    """One relative limit (``ratio`` or ``delta``) on a mean, kept over the whole rollout."""

    def __init__(self, kind: str, gate: Gate, alpha: float, stages: int) -> None:
        self._kind, self._gate, self._levels, self._stages = kind, gate, gate.levels, stages
        self._metric = gate.metric
        self._rate = gate.metric.kind is Kind.RATE
        self._lane = Lane(alpha) if self._rate and gate.catastrophe else None
        self._alpha = 0.9 * alpha if self._lane else alpha
        self._opinion = SecondOpinion(stages, gate.levels) if self._rate else None
        self._evidence: MeanEvidence | BatchEvidence | None = None
        self._frozen: MeanLimitEvidence | BatchLimitEvidence | None = None
        self._batched, self._spread = False, Spread()
        self._limit, self._compared = gate.first(kind), True

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; a mean of nothing cannot be compared with."""
        if self._lane:
            self._lane.expect(baseline.rate or 0.0)
        if not self._rate and not baseline.requests:
            counted = (
                f"counter `{self._metric.total}`" if self._metric.events else f"histogram `{self._metric.histogram}`"
            )
            return f"the baseline's {counted} is empty; {say.empty(self._metric)}"
        self._batched = by_batches(baseline, self._metric)
        return None

    def normal(self, baseline: Reading) -> None:
        """Add one poll from before the ramp: where only sums are counted, it shows how far single values spread."""
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
            self._frozen = self._freeze(window.frozen)

    def _fresh(self, limit: float) -> MeanEvidence | BatchEvidence:
        additive, phi, first = self._kind == "delta", self._gate.design_effect, self._levels.first
        if not self._batched:
            return MeanEvidence(limit, self._stages, additive=additive, phi=phi, first=first)
        spread = self._spread.variance
        return BatchEvidence(limit, self._stages, additive=additive, phi=phi, first=first, spread=spread)

    def _freeze(self, frozen: Reading) -> MeanLimitEvidence | BatchLimitEvidence | None:
        """Evidence against the limit on the baseline's last window, read generously."""
        value = self._value(frozen)
        if value is None:
            return None
        number, _, squares = moments_of(frozen, self._metric.kind)
        variance = self._spread.variance if self._batched else float(squares) / float(number) - value**2  # type: ignore[arg-type]
        deviation = sqrt(max(variance, 0.0) / float(number))  # type: ignore[arg-type]
        better = self._metric.lower_is_better
        top = value + (1 if better else -1) * _TOP * deviation
        if self._kind == "ratio":
            limit = top * self._limit if better else top / self._limit
        else:
            limit = top + self._limit if better else top - self._limit
        if self._batched:
            return BatchLimitEvidence(self._signed(limit), phi=self._gate.design_effect, spread=variance)
        return MeanLimitEvidence(self._signed(limit), phi=self._gate.design_effect)

    def _signed(self, value: float) -> float:
        return value if self._metric.lower_is_better else -value

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        if self._lane:
            self._lane.update(canary.requests, canary.events)
        if not self._compared and self._frozen is not None:
            number, total, squares = moments_of(canary, self._metric.kind)
            self._frozen.update(Moments(number, self._signed(float(total)), squares))  # type: ignore[arg-type]

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
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
            self._opinion.add(canary, baseline, events_of, at)

    def finding(self, canary: Reading, baseline: Reading, served: bool) -> Finding:
        """What this stage's counts and the evidence so far say."""
        if self._compared and self._evidence is not None:
            return self._against_now(self._evidence, canary, baseline)
        return self._against_then(canary, served)

    def _against_now(self, evidence: MeanEvidence | BatchEvidence, canary: Reading, baseline: Reading) -> Finding:
        mine, theirs = self._counted(canary), self._counted(baseline)
        log_e, odds = float(evidence.log_e[0]), float(evidence.odds[0])
        low, high = (float(side[0]) for side in evidence.interval())
        there = canary.requests > 0 and baseline.requests > 0
        status, by, why = self._status(evidence, canary, baseline, log_e, odds, there)
        ratio = mine.value / theirs.value if mine.value is not None and theirs.value else None
        differ = self._differ(mine, theirs, (low, high))
        says = (
            f"canary {self._number(mine)} against baseline {self._number(theirs)}: {differ}, limit {self._words}; "
            f"{say.convicts(evidence_of(log_e), self._alpha, odds)}{why}"
        )
        few = isinstance(evidence, BatchEvidence) and not evidence.speaks[0]
        says += f"; says nothing before {BATCHES} polls with {VALUES} values a side" if few else ""
        cleared = self._opinion is not None and self._opinion.clears
        interval = (low, high) if self._kind == "ratio" and high < float("inf") else None
        return Finding(
            status, f"{self._kind} <= {self._limit:g}", says, by, mine, theirs, ratio, interval, evidence_of(log_e),
            odds, harmless=there and not few and (cleared or harmless(log_e, odds, self._alpha)),
            needed=self._needed(evidence, canary),
        )  # fmt: skip

    def _status(
        self, evidence: MeanEvidence | BatchEvidence, canary: Reading, baseline: Reading, log_e: float, odds: float,
        there: bool,
    ) -> tuple[Status, By | None, str]:  # fmt: skip
        if self._lane and self._lane.fires(evidence.log_e)[0]:
            broken = f"; plainly broken, fails more than {say.percent(self._lane.limit)} of its requests"
            return Status.FAIL, By.CATASTROPHE, broken
        over = self._over(canary, baseline) if self._gate.decide is Decide.ESTIMATE else odds >= self._levels.odds
        convicted = log_e >= -log(self._alpha) and over
        if convicted and (self._opinion is None or self._opinion.agrees):
            ground = By.ESTIMATE if self._gate.decide is Decide.ESTIMATE else By.EVIDENCE
            return Status.FAIL, ground, say.replicas(self._opinion) if self._opinion else ""
        if not there:
            return Status.NO_DATA, None, ""
        if evidence.log_proof[0] >= log(1 / self._levels.beta):
            return Status.PASS, By.PROOF, "; proved to be within the limit"
        return Status.UNDECIDED, None, say.replicas(self._opinion) if convicted and self._opinion else ""

    def _over(self, canary: Reading, baseline: Reading) -> bool:
        mine, theirs = self._value(canary), self._value(baseline)
        if mine is None or theirs is None:
            return False
        worse, better = (mine, theirs) if self._metric.lower_is_better else (theirs, mine)
        return worse > better * self._limit if self._kind == "ratio" else worse > better + self._limit

    def _against_then(self, canary: Reading, served: bool) -> Finding:
        mine = self._counted(canary)
        log_e = float(self._frozen.log_e[0]) if self._frozen else 0.0
        odds = float(self._frozen.odds[0]) if self._frozen else 0.0
        finding = Finding(
            Status.UNDECIDED, f"{self._kind} <= {self._limit:g}", f"canary {self._number(mine)}", None, mine, Counted(),
            evidence=evidence_of(log_e), odds=odds,
            harmless=canary.requests > 0 and harmless(log_e, odds, self._alpha),
        )  # fmt: skip
        if self._frozen:
            against = f" against the limit {self._words} on the baseline's last window"
            convicts = say.convicts(finding.evidence, self._alpha, odds)
            finding = replace(finding, says=f"{finding.says}{against}; {convicts}")
        if log_e >= -log(self._alpha):
            return replace(finding, status=Status.FAIL, by=By.EVIDENCE)
        if not canary.requests:
            return replace(finding, status=Status.NO_DATA)
        return replace(finding, status=Status.PASS, by=By.NOT_COMPARED) if served else finding

    def _value(self, side: Reading) -> float | None:
        return side.rate if self._rate else side.mean

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

    def _needed(self, evidence: MeanEvidence | BatchEvidence, canary: Reading) -> float | None:
        """Proof grows about in proportion to what was served; None while it does not grow."""
        log_proof = float(evidence.log_proof[0])
        if log_proof <= 0 or not canary.requests:
            return None
        total = canary.requests * log(1 / self._levels.beta) / log_proof
        return still_needed(total, canary.requests, log_proof, self._levels.beta)
