"""A rate that may be worse than the baseline's only by so much."""

from __future__ import annotations

from dataclasses import replace
from math import log

from pytest_canary.gates import sentences as say
from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.finding import Finding, evidence_of, harmless, still_needed
from pytest_canary.gates.frozen import Frozen, highest
from pytest_canary.gates.noise import below_floor
from pytest_canary.gates.opinion import SecondOpinion
from pytest_canary.gates.reading import Reading, Window, alike
from pytest_canary.gates.values import By, Counted, Decide, Gate, Limits, Status
from pytest_canary.stats.planner import requests_to_prove_ratio
from pytest_canary.stats.rate import bounds, odds_of_difference
from pytest_canary.stats.ratio import Counts


def events_of(side: Reading) -> float:
    """What counts as an event in a rate."""
    return side.events


class RelativeRate:
    """One relative limit (``ratio`` or ``delta``) on a rate, kept over the whole rollout."""

    def __init__(self, kind: str, gate: Gate, alpha: float, stages: int) -> None:
        self._kind, self._gate, self._alpha, self._levels = kind, gate, alpha, gate.levels
        self._evidence = RateEvidence(alpha, stages, gate.catastrophe, levels=gate.levels, phi=gate.design_effect)
        self._opinion = SecondOpinion(stages, gate.levels)
        self._frozen = Frozen((), alpha)
        self._limit, self._margin = 0.0, 0.0
        self._compared = True
        self._rollout = (Reading(), Reading())

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; returns what is wrong when the gate lies below the noise."""
        if self._evidence.lane:
            self._evidence.lane.expect(baseline.rate or 0.0)
        ratio = self._gate.limits.ratio if self._kind == "ratio" else None
        return below_floor(baseline, ratio, self._gate)

    def normal(self, baseline: Reading) -> None:
        """Add one poll of the baseline from before the ramp."""
        self._evidence.normal(baseline.requests, baseline.events)

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there."""
        self._limit = (limits.ratio if self._kind == "ratio" else limits.delta) or 0.0
        proves = self._kind == "ratio" and self._limit > 0
        self._margin = 1 + (self._limit - 1) * window.allowance if proves else 1.0
        self._compared = window.compared
        self._evidence.start_stage(self._margin, window.hold_seconds)
        self._opinion.start_stage(window.hold_seconds)
        if not window.compared:
            top = highest(window.frozen, window.frozen.events)
            allowed = () if top is None else (top * self._limit if self._kind == "ratio" else top + self._limit,)
            self._frozen = Frozen(allowed, self._alpha)

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        self._evidence.alone(canary.requests, canary.events)
        if not self._compared:
            self._frozen.update(canary.requests, [canary.events] * len(self._frozen.limits))

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
        """Add what both sides counted since the last comparison, which ended at ``at``."""
        counts = [Counts(mine.requests, mine.events, b.requests, b.events) for mine, b in alike(canary, baseline)]
        self._evidence.compare(counts, at, guard=not self._opinion.asked)
        self._opinion.add(canary, baseline, events_of, at)
        self._rollout = (self._rollout[0] + canary, self._rollout[1] + baseline)

    def finding(self, canary: Reading, baseline: Reading, served: bool) -> Finding:
        """What this stage's counts and the evidence so far say."""
        return self._against_now(canary, baseline) if self._compared else self._against_then(canary, served)

    def _against_now(self, canary: Reading, baseline: Reading) -> Finding:
        mine, theirs = canary.as_rate(), baseline.as_rate()
        ratio, times = say.times_worse(mine, theirs)
        low, high = self._evidence.posterior.interval()
        interval = float(low[0]), float(high[0])
        odds, log_e = self._odds(canary, baseline), float(self._evidence.worse.log_e[0])
        there = canary.requests > 0 and baseline.requests > 0
        status, by, why = self._status(odds, there, canary, baseline)
        evidence = evidence_of(log_e)
        says = (
            f"canary {say.events(mine)} against baseline {say.events(theirs)}: {times} ({say.span(interval)}), "
            f"limit {self._words}; {say.convicts(evidence, self._evidence.alpha, odds)}{why}"
        )
        return Finding(
            status, f"{self._kind} <= {self._limit:g}", says, by, mine, theirs, ratio, interval, evidence, odds,
            harmless=there and (self._opinion.clears or harmless(log_e, odds, self._alpha)),
            needed=self._needed(canary, baseline),
        )  # fmt: skip

    def _status(self, odds: float, there: bool, canary: Reading, baseline: Reading) -> tuple[Status, By | None, str]:
        if self._evidence.broken(self._compared, self._opinion.agrees)[0]:
            return Status.FAIL, By.CATASTROPHE, "; " + self._broken
        convicted = self._convicted(odds, canary, baseline)
        if convicted is not None and self._opinion.agrees:
            return Status.FAIL, convicted, say.replicas(self._opinion)
        if not there:
            return Status.NO_DATA, None, ""
        if self._proved(canary, baseline):
            return Status.PASS, By.PROOF, f"; proved to be within {self._proved_words}"
        return Status.UNDECIDED, None, say.replicas(self._opinion) if convicted else ""

    def _convicted(self, odds: float, canary: Reading, baseline: Reading) -> By | None:
        """On what ground totals speak against the canary; None when they do not."""
        if self._gate.decide is Decide.ESTIMATE:
            over = any(self._over(*sides) for sides in ((canary, baseline), self._rollout))
            return By.ESTIMATE if over and self._evidence.harmful()[0] else None
        return By.EVIDENCE if self._evidence.convicts(odds)[0] else None

    def _over(self, canary: Reading, baseline: Reading) -> bool:
        """Whether the estimate lies over the limit."""
        if canary.rate is None or baseline.rate is None:
            return False
        limit = baseline.rate * self._limit if self._kind == "ratio" else baseline.rate + self._limit
        return canary.rate > limit

    def _against_then(self, canary: Reading, served: bool) -> Finding:
        mine = canary.as_rate()
        log_e = self._frozen.log_e
        odds = (
            self._frozen.odds(canary.requests, [canary.events] * len(self._frozen.limits)) if canary.requests else 0.0
        )
        finding = Finding(
            Status.UNDECIDED, f"{self._kind} <= {self._limit:g}", f"canary {say.events(mine)}", None, mine, Counted(),
            evidence=evidence_of(log_e), odds=odds,
            harmless=canary.requests > 0 and harmless(log_e, odds, self._alpha),
        )  # fmt: skip
        allowed = "".join(
            f" against at most {say.percent(limit)}, which is the limit {self._words} on the baseline's last window; "
            f"{say.convicts(finding.evidence, self._alpha, odds)}"
            for limit in self._frozen.limits
        )
        if self._frozen.convicts:
            return replace(finding, status=Status.FAIL, by=By.EVIDENCE, says=finding.says + allowed)
        if self._evidence.broken(compared=False)[0]:
            return replace(finding, status=Status.FAIL, by=By.CATASTROPHE, says=f"{finding.says}: {self._broken}")
        if not canary.requests:
            return replace(finding, status=Status.NO_DATA)
        if served:
            says = finding.says + (allowed or ", and no baseline was seen")
            return replace(finding, status=Status.PASS, by=By.NOT_COMPARED, says=says)
        return replace(finding, says=finding.says + allowed)

    @property
    def _words(self) -> str:
        return f"{self._limit:g}x" if self._kind == "ratio" else f"+{say.percent(self._limit)}"

    @property
    def _proved_words(self) -> str:
        return f"{self._margin:g}x, what this stage must prove" if self._margin > self._limit else "the limit"

    @property
    def _broken(self) -> str:
        assert self._evidence.lane is not None
        return f"plainly broken, fails more than {say.percent(self._evidence.lane.limit)} of its requests"

    def _odds(self, canary: Reading, baseline: Reading) -> float:
        if self._kind == "ratio":
            return float(self._evidence.posterior.odds(self._limit)[0])
        if not (canary.requests and baseline.requests):
            return 0.0
        return odds_of_difference((canary.requests, canary.events), (baseline.requests, baseline.events), self._limit)

    def _proved(self, canary: Reading, baseline: Reading) -> bool:
        beta = self._levels.beta
        if self._kind == "ratio":
            return bool(self._evidence.proof.log_e[0] >= log(1 / beta))
        highest_canary = bounds(canary.requests, canary.events, beta / 2)[1]
        lowest_baseline = bounds(baseline.requests, baseline.events, beta / 2)[0]
        return highest_canary <= lowest_baseline + self._limit

    def _needed(self, canary: Reading, baseline: Reading) -> float | None:
        if self._kind != "ratio" or not (canary.requests and baseline.requests):
            return None
        together = canary.requests + baseline.requests
        rate = (canary.events + baseline.events) / together
        total = requests_to_prove_ratio(canary.requests / together, rate, self._margin, self._levels.beta)
        return still_needed(total, canary.requests, float(self._evidence.proof.log_e[0]), self._levels.beta)
