"""A latency quantile that may be worse than the baseline's only by so much, judged on counts at bucket boundaries."""

from __future__ import annotations

from dataclasses import replace
from math import log

from pytest_canary.gates import sentences as say
from pytest_canary.gates.clusters import Clusters
from pytest_canary.gates.edges import Edge, below_all, beyond, edge, has_more, levels, tail_of
from pytest_canary.gates.evidence import TailEvidence
from pytest_canary.gates.finding import Finding, evidence_of, harmless, still_needed
from pytest_canary.gates.frozen import Frozen, highest
from pytest_canary.gates.noise import below_floor
from pytest_canary.gates.opinion import SecondOpinion
from pytest_canary.gates.reading import Reading, Window, alike
from pytest_canary.gates.values import By, Counted, Decide, Gate, Limits, Status
from pytest_canary.stats.planner import requests_to_prove_ratio

_AS_ASKED = 0.05
"""A margin as near to the one that was asked for is not worth a line."""


class RelativeTail:
    """One relative limit (``ratio`` or ``delta``) on a quantile, kept over the whole rollout."""

    def __init__(self, kind: str, gate: Gate, alpha: float, stages: int) -> None:
        self._kind, self._gate, self._alpha, self._stages = kind, gate, alpha, stages
        self._quantiles = tail_of(gate)
        self._captured = Reading()
        self._levels: tuple[tuple[float, float], ...] = ()
        self._edges: tuple[Edge, ...] = ()
        self._proof_edges: tuple[Edge, ...] = ()
        self._evidence: TailEvidence | None = None
        self._clusters: Clusters | None = None
        self._opinion = SecondOpinion(stages, gate.levels)
        self._frozen = Frozen((), alpha)
        self._limit, self._compared = 0.0, True

    def capture(self, baseline: Reading) -> str | None:
        """Choose boundaries from what is normal; returns what is wrong when they cannot be chosen at every stage."""
        for limits in (self._gate.limits, *(limits for _, limits in self._gate.stages)):
            if getattr(limits, self._kind) is not None:
                found = self._choose(baseline, limits)
                if isinstance(found, str):
                    return found
                ratio = limits.ratio if self._kind == "ratio" else None
                noisy = below_floor(baseline, ratio, self._gate, found[-1])
                if noisy:
                    return noisy
        self._captured, self._levels = baseline, levels(baseline)
        self._evidence = self._fresh(self._gate.design_effect)
        self._clusters = Clusters(len(self._levels)) if self._gate.metric.clustered else None
        return None

    def _fresh(self, phi: float) -> TailEvidence:
        weights = [weight for _, weight in self._levels]
        tails, asked = len(self._quantiles), self._gate.levels
        return TailEvidence(self._alpha, self._stages, weights, tails, levels=asked, phi=phi)

    def _know_clusters(self, clusters: Clusters) -> None:
        """Begin with the design effect that the baseline's polls have shown, once and before any comparison."""
        self._evidence = self._fresh(max(self._gate.design_effect, clusters.effect))
        for values, slow in clusters.polls:
            self._evidence.normal(values, slow)
        self._clusters = None

    def normal(self, baseline: Reading) -> None:
        """Add one poll of the baseline from before the ramp."""
        slow = [baseline.above(bound) for bound, _ in self._levels]
        if self._evidence is not None and None not in slow:
            counts = [count or 0.0 for count in slow]
            self._evidence.normal(baseline.requests, counts)
            if self._clusters is not None:
                self._clusters.add(baseline.requests, counts)

    def note(self) -> str:
        """What is really judged where the buckets do not have the asked margin; empty where they do."""
        asked = getattr(self._gate.limits, self._kind)
        chosen = self._choose(self._captured, self._gate.limits) if asked else ""
        if isinstance(chosen, str):
            return ""
        real = chosen[-1].high / chosen[-1].low
        if hidden := below_all(self._captured, chosen[-1], self._gate.metric):
            return f"{self._gate.name} {hidden}"
        if self._kind != "ratio" or abs(real / asked - 1) < _AS_ASKED:
            return ""
        return f"{self._gate.name} is judged at {real:.3g}x, not {asked:g}x: the next bucket boundary lies there"

    def _choose(self, baseline: Reading, limits: Limits) -> tuple[Edge, ...] | str:
        found = [edge(baseline, q, limits, self._kind, self._gate.metric) for q in self._quantiles]
        wrong = [each for each in found if isinstance(each, str)]
        return wrong[-1] if wrong else tuple(each for each in found if isinstance(each, Edge))

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there."""
        self._limit = getattr(limits, self._kind) or 0.0
        self._compared = window.compared
        if self._clusters is not None:
            self._know_clusters(self._clusters)
        if self._evidence is None:
            return
        chosen: tuple[Edge, ...] | str = self._edges
        if self._limit or not chosen:
            chosen = self._choose(self._captured, limits if self._limit else self._first_limits())
        if not isinstance(chosen, str) and chosen != self._edges:
            if self._edges:
                self._evidence.forget_tails(self._stages)
            self._edges = chosen
        self._proof_edges = self._proved_at(limits, window.allowance)
        self._evidence.start_stage(window.hold_seconds)
        self._opinion.start_stage(window.hold_seconds)
        if not window.compared:
            tops = [highest(window.frozen, window.frozen.above(each.low)) for each in self._edges]
            self._frozen = Frozen([top for top in tops if top is not None], self._alpha)

    def _first_limits(self) -> Limits:
        """Those that another stage has, where this one has none: evidence is gathered from the start."""
        everywhere = (self._gate.limits, *(limits for _, limits in self._gate.stages))
        return next(limits for limits in everywhere if getattr(limits, self._kind) is not None)

    def _proved_at(self, limits: Limits, allowance: float) -> tuple[Edge, ...]:
        """The boundaries that this stage must prove; the gate's own where a wider one has no bucket."""
        if allowance <= 1 or not limits.ratio:
            return self._edges
        wider = self._choose(self._captured, replace(limits, ratio=1 + (limits.ratio - 1) * allowance))
        return self._edges if isinstance(wider, str) else wider

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        slow = self._slow(canary)
        if not self._compared and slow is not None:
            self._frozen.update(canary.requests, slow[: len(self._frozen.limits)])

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
        """Add what both sides counted since the last comparison; other buckets than captured are passed over."""
        if self._evidence is None:
            return
        pairs = alike(canary, baseline)
        same = [beyond(pairs, bound, bound) for bound, _ in self._levels]
        tails = [beyond(pairs, each.high, each.low) for each in self._edges]
        proofs = [beyond(pairs, each.high, each.low) for each in self._proof_edges]
        if None not in same and None not in tails and None not in proofs:
            levels_now, tails_now, proofs_now = ([c for c in one if c is not None] for one in (same, tails, proofs))
            self._evidence.compare(levels_now, tails_now, at, proofs_now, guard=not self._opinion.asked)
            self._opinion.add(canary, baseline, lambda side: side.above(self._edges[0].low), at)

    def _slow(self, canary: Reading) -> list[float] | None:
        """How many of the canary's requests were over each limit; None where nobody can say."""
        slow = [canary.above(each.high) for each in self._edges]
        return None if not slow or None in slow else [count for count in slow if count is not None]

    def finding(self, canary: Reading, baseline: Reading, served: bool) -> Finding:
        """What this stage's counts and the evidence so far say."""
        limit = f"{self._kind} <= {self._limit:g}" if self._kind == "ratio" else f"delta <= {self._amount(self._limit)}"
        if self._evidence is None or not self._edges:
            return Finding(Status.NO_DATA, limit, "no baseline window was captured to choose bucket boundaries from")
        if canary.requests and self._slow(canary) is None:
            says = "the canary's buckets are not those of the captured baseline; give both builds the same boundaries"
            return Finding(Status.NO_DATA, limit, says)
        if self._compared:
            return self._against_now(self._evidence, limit, canary, baseline)
        return self._against_then(limit, canary, served)

    def _against_now(self, evidence: TailEvidence, limit: str, canary: Reading, baseline: Reading) -> Finding:
        odds_each = evidence.odds[:, 0]
        own = float(odds_each[-1])
        worst = len(odds_each) - 1 if own >= self._gate.levels.tail_odds else int(odds_each.argmax())
        odds, log_e, each = float(odds_each[worst]), float(evidence.log_e[0]), self._edges[worst]
        quantile = self._gate.metric.quantile
        mine, theirs = canary.over(each.high, quantile), baseline.over(each.low, quantile)
        there = canary.requests > 0 and baseline.requests > 0
        status, by, why = self._status(evidence, there, mine, theirs)
        convicts = say.convicts(evidence_of(log_e), self._alpha, odds)
        low, high = (float(side[0]) for side in evidence.interval(worst))
        counts = f"canary {say.events(mine)}, baseline {say.events(theirs)} ({say.span((low, high))})"
        says = f"{self._slower_than(each)}: {counts}; {convicts}{why}"
        ratio = mine.value / theirs.value if mine.value is not None and theirs.value else None
        return Finding(
            status, limit, says, by, mine, theirs, ratio, None, evidence_of(log_e), odds,
            harmless=there and (self._opinion.clears or harmless(log_e, odds, self._alpha)),
            needed=self._needed(evidence, canary, baseline),
        )  # fmt: skip

    def _status(
        self, evidence: TailEvidence, there: bool, mine: Counted, theirs: Counted
    ) -> tuple[Status, By | None, str]:
        estimate = self._gate.decide is Decide.ESTIMATE
        convicted = evidence.harmful()[0] and has_more(mine, theirs) if estimate else evidence.convicts()[0]
        if not there:
            return Status.NO_DATA, None, ""
        if convicted and self._opinion.agrees:
            return Status.FAIL, By.ESTIMATE if estimate else By.EVIDENCE, say.replicas(self._opinion)
        if evidence.log_proofs[:, 0].min() >= log(1 / self._gate.levels.beta):
            wider = self._proof_edges != self._edges
            words = f"{self._proof_edges[-1].high / self._proof_edges[-1].low:.2g}x, what this stage must prove"
            return Status.PASS, By.PROOF, f"; proved to be within {words if wider else 'the limit'}"
        return Status.UNDECIDED, None, say.replicas(self._opinion) if convicted else ""

    def _slower_than(self, each: Edge) -> str:
        by = f"{each.high / each.low:.2g}x" if self._kind == "ratio" else f"{self._amount(each.high - each.low)} over"
        edges = f"{self._amount(each.low)} -> {self._amount(each.high)}"
        return f"{self._gate.metric.of} {say.beyond(self._gate.metric.unit)} {by} the baseline {each.name} ({edges})"

    def _amount(self, value: float) -> str:
        return say.amount(value, self._gate.metric.unit)

    def _against_then(self, limit: str, canary: Reading, served: bool) -> Finding:
        slow = self._slow(canary) or []
        slow = slow[: len(self._frozen.limits)]
        log_e, odds = self._frozen.log_e, self._frozen.odds(canary.requests, slow) if canary.requests else 0.0
        worst = self._frozen.worst if self._frozen.limits else -1
        each = self._edges[worst]
        mine = canary.over(each.high, self._gate.metric.quantile)
        says = f"{self._slower_than(each)}: canary {say.events(mine)}"
        if self._frozen.limits:
            says += f" against at most {say.percent(self._frozen.limits[worst])} on the baseline's last window"
        finding = Finding(
            Status.UNDECIDED, limit, f"{says}; {say.convicts(evidence_of(log_e), self._alpha, odds)}", None, mine,
            Counted(), evidence=evidence_of(log_e), odds=odds,
            harmless=canary.requests > 0 and harmless(log_e, odds, self._alpha),
        )  # fmt: skip
        if not canary.requests:
            return replace(finding, status=Status.NO_DATA)
        if self._frozen.convicts:
            return replace(finding, status=Status.FAIL, by=By.EVIDENCE)
        return replace(finding, status=Status.PASS, by=By.NOT_COMPARED, says=says) if served else finding

    def _needed(self, evidence: TailEvidence, canary: Reading, baseline: Reading) -> float | None:
        if not (canary.requests and baseline.requests):
            return None
        share = canary.requests / (canary.requests + baseline.requests)
        longest = 0.0
        beta = self._gate.levels.beta
        for each, log_proof in zip(self._proof_edges, evidence.log_proofs[:, 0], strict=True):
            over, limit = baseline.above(each.low) or 0.0, baseline.above(each.high) or 0.0
            total = requests_to_prove_ratio(
                share, over / baseline.requests, 1.0, beta, true=limit / over if over else 1.0
            )
            needed = still_needed(total, canary.requests, float(log_proof), beta)
            if needed is None:
                return None
            longest = max(longest, needed)
        return longest
