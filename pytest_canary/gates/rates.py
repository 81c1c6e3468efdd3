"""A rate that may be worse than the baseline's only by so much."""

from __future__ import annotations

from dataclasses import replace
from math import log

from pytest_canary.gates import sentences as say
from pytest_canary.gates.evidence import Frozen, RateEvidence, highest
from pytest_canary.gates.finding import BETA, Finding, evidence_of, harmless, still_needed
from pytest_canary.gates.reading import Reading, Window
from pytest_canary.gates.values import By, Counted, Limits, Status
from pytest_canary.stats.planner import requests_to_prove_ratio
from pytest_canary.stats.rate import bounds, odds_of_difference
from pytest_canary.stats.ratio import Counts, RatioEvidence


class RelativeRate:
    """One relative limit (``ratio`` or ``delta``) on a rate, kept over the whole rollout."""

    def __init__(self, kind: str, alpha: float, stages: int, lane: bool) -> None:
        self._kind = kind
        self._evidence = RateEvidence(alpha, stages, lane)
        self._proof = RatioEvidence()
        self._frozen = Frozen((), alpha)
        self._limit = 0.0
        self._compared = True
        self._alpha = alpha

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp; nothing about a rate can be unresolvable."""
        if self._evidence.lane:
            self._evidence.lane.expect(baseline.rate or 0.0)
        return None

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there."""
        self._limit = (limits.ratio if self._kind == "ratio" else limits.delta) or 0.0
        self._compared = window.compared
        self._evidence.start_stage()
        if self._kind == "ratio":
            self._proof = RatioEvidence(self._limit, side=-1)
        if not window.compared:
            top = highest(window.frozen, window.frozen.events)
            allowed = () if top is None else (top * self._limit if self._kind == "ratio" else top + self._limit,)
            self._frozen = Frozen(allowed, self._alpha)

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        self._evidence.alone(canary.requests, canary.events)
        if not self._compared:
            self._frozen.update(canary.requests, [canary.events] * len(self._frozen.limits))

    def compare(self, canary: Reading, baseline: Reading) -> None:
        """Add what both sides counted since the last comparison."""
        counts = Counts(canary.requests, canary.events, baseline.requests, baseline.events)
        self._evidence.compare(counts)
        if self._kind == "ratio":
            self._proof.update(counts)

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
        status, by, why = self._status(odds, there, self._proved(canary, baseline))
        evidence = evidence_of(log_e)
        says = (
            f"canary {say.events(mine)} against baseline {say.events(theirs)}: {times} ({say.span(interval)}), "
            f"limit {self._words}; {say.convicts(evidence, self._evidence.alpha, odds)}{why}"
        )
        return Finding(
            status, f"{self._kind} <= {self._limit:g}", says, by, mine, theirs, ratio, interval, evidence, odds,
            harmless=there and harmless(log_e, odds, self._alpha), needed=self._needed(canary, baseline),
        )  # fmt: skip

    def _status(self, odds: float, there: bool, proved: bool) -> tuple[Status, By | None, str]:
        if self._evidence.convicts(odds)[0]:
            return Status.FAIL, By.EVIDENCE, ""
        if self._evidence.broken(self._compared)[0]:
            return Status.FAIL, By.CATASTROPHE, "; " + self._broken
        if not there:
            return Status.NO_DATA, None, ""
        if proved:
            return Status.PASS, By.PROOF, "; proved to be within the limit"
        return Status.UNDECIDED, None, ""

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
        if self._kind == "ratio":
            return bool(self._proof.log_e[0] >= log(1 / BETA))
        highest_canary = bounds(canary.requests, canary.events, BETA / 2)[1]
        lowest_baseline = bounds(baseline.requests, baseline.events, BETA / 2)[0]
        return highest_canary <= lowest_baseline + self._limit

    def _needed(self, canary: Reading, baseline: Reading) -> float | None:
        if self._kind != "ratio" or not (canary.requests and baseline.requests):
            return None
        together = canary.requests + baseline.requests
        rate = (canary.events + baseline.events) / together
        total = requests_to_prove_ratio(canary.requests / together, rate, self._limit, BETA)
        return still_needed(total, canary.requests, float(self._proof.log_e[0]))
