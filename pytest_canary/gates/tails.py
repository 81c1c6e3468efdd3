"""A latency quantile that may be worse than the baseline's only by so much, judged on counts at bucket boundaries."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from math import log

import numpy as np

from pytest_canary.gates import sentences as say
from pytest_canary.gates.clusters import Clusters
from pytest_canary.gates.edges import Edge, Edges, below_all, beyond, edge, levels, tail_of
from pytest_canary.gates.evidence import TailEvidence
from pytest_canary.gates.finding import Finding, evidence_of, still_needed
from pytest_canary.gates.frozen import Frozen, highest
from pytest_canary.gates.look import FAIL, NO_DATA, PASS, Look, unharmed
from pytest_canary.gates.noise import below_floor
from pytest_canary.gates.opinion import SecondOpinion
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.side import Side, alike
from pytest_canary.gates.values import By, Counted, Decide, Gate, Limits, Status
from pytest_canary.gates.window import Window
from pytest_canary.stats.grid import Array
from pytest_canary.stats.planner import requests_to_prove_ratio
from pytest_canary.stats.rows import Flags, Index, Rows, axes

_AS_ASKED = 0.05
"""A margin as near to the one that was asked for is not worth a line."""


class RelativeTail(Rows):
    """One relative limit (``ratio`` or ``delta``) on a quantile, kept over the whole rollout."""

    AXES = axes(_phi=0)
    PARTS = ("_levels", "_edges", "_proof_edges", "_evidence", "_clusters", "_opinion", "_frozen")

    def __init__(self, kind: str, gate: Gate, alpha: float, stages: int, batch: int = 1) -> None:
        self._kind, self._gate, self._alpha, self._stages, self._batch = kind, gate, alpha, stages, batch
        self._quantiles = tail_of(gate)
        self._captured: list[Reading] = []
        self._weights: list[float] = []
        self._levels: Edges | None = None
        self._edges: Edges | None = None
        self._proof_edges: Edges | None = None
        self._evidence: TailEvidence | None = None
        self._clusters: Clusters | None = None
        self._opinion = SecondOpinion(stages, gate.levels, batch)
        self._frozen = Frozen((), alpha, batch)
        self._phi = np.full(batch, gate.design_effect)
        self._limit, self._compared = 0.0, True

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._batch, self._captured = rows.size, [self._captured[row] for row in rows] if self._captured else []

    # -- what is normal --------------------------------------------------------------------------------------------

    def capture(self, baseline: Side) -> list[str | None]:
        """Choose boundaries from what is normal; says what is wrong when they cannot be chosen at every stage."""
        self._captured = [baseline.row(row) for row in range(self._batch)]
        wrong = [self._unjudged(one) for one in self._captured]
        found = [levels(one) for one in self._captured]
        if not all(wrong) and len({tuple(w for _, w in one) for one in found}) == 1:
            self._weights = [weight for _, weight in found[0]]
            self._levels = Edges.at([[bound for bound, _ in one] for one in found])
            self._evidence = self._fresh(self._gate.design_effect)
            if self._gate.metric.clustered:
                self._clusters = Clusters(len(self._weights), self._batch)
        return wrong

    def shape(self, baseline: Reading) -> Hashable:
        """What must be alike in rollouts that are judged together: levels there are, and stages with other edges."""
        everywhere = (self._gate.limits, *(limits for _, limits in self._gate.stages))
        chosen = [self._choose(baseline, limits) for limits in everywhere if getattr(limits, self._kind) is not None]
        known = tuple(one == chosen[0] for one in chosen)
        return tuple(weight for _, weight in levels(baseline)), known, isinstance(chosen[0], str)

    def _unjudged(self, baseline: Reading) -> str | None:
        for limits in (self._gate.limits, *(limits for _, limits in self._gate.stages)):
            if getattr(limits, self._kind) is not None:
                found = self._choose(baseline, limits)
                if isinstance(found, str):
                    return found
                ratio = limits.ratio if self._kind == "ratio" else None
                noisy = below_floor(baseline, ratio, self._gate, found[-1])
                if noisy:
                    return noisy
        return None

    def _fresh(self, phi: Array | float) -> TailEvidence:
        tails, asked = len(self._quantiles), self._gate.levels
        return TailEvidence(self._alpha, self._stages, self._weights, tails, self._batch, levels=asked, phi=phi)

    def _know_clusters(self, clusters: Clusters) -> None:
        """Begin with the design effect that the baseline's polls have shown, once and before any comparison."""
        self._phi = np.maximum(self._gate.design_effect, clusters.effect)
        self._evidence = self._fresh(self._phi)
        for values, slow, where in clusters.polls:
            self._evidence.normal(values, slow, where)
        self._clusters = None

    def normal(self, baseline: Side, where: Flags | None) -> None:
        """Add one poll of the baseline from before the ramp."""
        slow = self._levels.above(baseline, "low") if self._levels is not None else None
        if self._evidence is not None and slow is not None:
            self._evidence.normal(baseline.requests, list(slow), where)
            if self._clusters is not None:
                self._clusters.add(baseline.requests, list(slow), where)

    def note(self) -> str:
        """What is really judged where the buckets do not have the asked margin; empty where they do."""
        asked, captured = getattr(self._gate.limits, self._kind), self._captured[0] if self._captured else Reading()
        chosen = self._choose(captured, self._gate.limits) if asked else ""
        if isinstance(chosen, str):
            return ""
        real = chosen[-1].high / chosen[-1].low
        if hidden := below_all(captured, chosen[-1], self._gate.metric):
            return f"{self._gate.name} {hidden}"
        if self._kind != "ratio" or abs(real / asked - 1) < _AS_ASKED:
            return ""
        return f"{self._gate.name} is judged at {real:.3g}x, not {asked:g}x: the next bucket boundary lies there"

    def _choose(self, baseline: Reading, limits: Limits) -> tuple[Edge, ...] | str:
        found = [edge(baseline, q, limits, self._kind, self._gate.metric) for q in self._quantiles]
        wrong = [each for each in found if isinstance(each, str)]
        return wrong[-1] if wrong else tuple(each for each in found if isinstance(each, Edge))

    def _chosen(self, limits: Limits, otherwise: Edges | None) -> Edges | None:
        """Of all rollouts; what they have ``otherwise`` where a boundary is missing."""
        found = [self._choose(one, limits) for one in self._captured]
        rows = [
            (otherwise.row(row) if otherwise else ()) if isinstance(one, str) else one for row, one in enumerate(found)
        ]
        return Edges.of(rows) if rows and all(rows) else otherwise

    # -- counted ---------------------------------------------------------------------------------------------------

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there."""
        self._limit = getattr(limits, self._kind) or 0.0
        self._compared = window.compared
        if self._clusters is not None:
            self._know_clusters(self._clusters)
        if self._evidence is None:
            return
        if self._limit or self._edges is None:
            chosen = self._chosen(limits if self._limit else self._first_limits(), self._edges)
            if self._edges is not None and chosen != self._edges:
                self._evidence.forget_tails(self._stages)
            self._edges = chosen
        self._proof_edges = self._proved_at(limits, window.allowance)
        self._evidence.start_stage(window.hold_seconds)
        self._opinion.start_stage(window.hold_seconds)
        if not window.compared:
            slow = self._edges.above(window.frozen, "low") if self._edges is not None else None
            tops = [highest(window.frozen.requests, each, self._phi) for each in (() if slow is None else slow)]
            known = tops and not np.isnan(tops[0]).all()
            self._frozen = Frozen(tops if known else (), self._alpha, self._batch, phi=self._phi)

    def _first_limits(self) -> Limits:
        """Those that another stage has, where this one has none: evidence is gathered from the start."""
        everywhere = (self._gate.limits, *(limits for _, limits in self._gate.stages))
        return next(limits for limits in everywhere if getattr(limits, self._kind) is not None)

    def _proved_at(self, limits: Limits, allowance: float) -> Edges | None:
        """The boundaries that this stage must prove; the gate's own where a wider one has no bucket."""
        if allowance <= 1 or not limits.ratio:
            return self._edges
        return self._chosen(replace(limits, ratio=1 + (limits.ratio - 1) * allowance), self._edges)

    def alone(self, canary: Side, where: Flags | None) -> None:
        """Add one poll of the canary."""
        if not self._compared and (slow := self._slow(canary)) is not None:
            self._frozen.update(canary.requests, slow[: len(self._frozen.limits)], where)

    def compare(self, canary: Side, baseline: Side, at: Array, where: Flags | None) -> None:
        """Add what both sides counted since the last comparison; other buckets than captured are passed over."""
        if self._evidence is None or self._levels is None or self._edges is None or self._proof_edges is None:
            return
        pairs = alike(canary, baseline)
        same, tails = beyond(pairs, self._levels), beyond(pairs, self._edges)
        proofs = tails if self._proof_edges == self._edges else beyond(pairs, self._proof_edges)
        if same is not None and tails is not None and proofs is not None:
            self._evidence.compare_wide(same, tails, proofs, at, ~self._opinion.asked, where)
            self._opinion.add(canary, baseline, self._first_slow, at, where)

    def _first_slow(self, side: Side) -> Array | None:
        slow = self._edges.above(side, "low") if self._edges is not None else None
        return None if slow is None else slow[0]

    def _slow(self, canary: Side) -> list[Array] | None:
        """How many of the canary's requests were over each limit; None where nobody can say."""
        found = self._edges.above(canary, "high") if self._edges is not None else None
        return None if found is None else list(found)

    # -- found, in all rollouts ------------------------------------------------------------------------------------

    def _readable(self, canary: Side) -> bool:
        """Whether there are boundaries, and the canary's buckets have them."""
        known = self._evidence is not None and self._edges is not None
        return known and (not canary.requests.any() or self._slow(canary) is not None)

    def failing(self, canary: Side, baseline: Side, _served: Flags) -> Flags:
        """Whether it fails now."""
        if not self._readable(canary):
            return np.zeros(self._batch, dtype=bool)
        if not self._compared:
            return self._frozen.convicts & (canary.requests > 0)
        convicted = self._convicted(canary, baseline)
        return convicted & self._opinion.agrees & (canary.requests > 0) & (baseline.requests > 0)

    def _convicted(self, canary: Side, baseline: Side) -> Flags:
        assert self._evidence is not None
        if self._gate.decide is not Decide.ESTIMATE:
            return self._evidence.convicts()
        harmful = self._evidence.harmful()
        if not harmful.any():
            return harmful
        both = [[one.row(row) for one in (canary, baseline)] for row in range(self._batch)]
        over = [bool(harmful[row]) and self._has_more(row, *sides) for row, sides in enumerate(both)]
        return np.asarray(harmful & np.array(over))

    def _has_more(self, row: int, canary: Reading, baseline: Reading) -> bool:
        """Whether the canary has the larger share beyond its boundary: then its quantile lies over the limit."""
        mine, theirs = self._sides(row, self._worst(row), canary, baseline)
        there = theirs.requests and mine.requests
        return bool(there) and mine.events * theirs.requests > theirs.events * mine.requests

    def look(self, canary: Side, baseline: Side, served: Flags, rows: Index) -> Look:
        """What this stage's counts and the evidence so far say, in ``rows``."""
        found = Look.undecided(self._batch)
        if not self._readable(canary) or self._evidence is None:
            found.put(np.ones(self._batch, dtype=bool), NO_DATA)
            return found
        if not self._compared:
            return self._then(found, canary, served, rows)
        there = (canary.requests > 0) & (baseline.requests > 0)
        convicted, agrees = self._convicted(canary, baseline), self._opinion.agrees
        found.log_e[rows] = self._evidence.log_e_at(rows)
        found.odds[rows] = self._told(self._evidence.odds_at(rows))
        proved = np.zeros(self._batch, dtype=bool)
        proved[rows] = self._evidence.log_proofs_at(rows).min(axis=0) >= log(1 / self._gate.levels.beta)
        found.put(proved, PASS, By.PROOF)
        estimate = self._gate.decide is Decide.ESTIMATE
        found.put(convicted & agrees, FAIL, By.ESTIMATE if estimate else By.EVIDENCE)
        found.put(~there, NO_DATA)
        found.held = convicted & ~agrees
        found.harmless = there & (self._opinion.clears | unharmed(found.log_e, found.odds, self._alpha))
        return found

    def _told(self, odds: Array) -> Array:
        """Those of the gate's own quantile where they convict, else the highest."""
        return np.asarray(np.where(odds[-1] >= self._gate.levels.tail_odds, odds[-1], odds.max(axis=0)))

    def _then(self, found: Look, canary: Side, served: Flags, rows: Index) -> Look:
        slow, there = (self._slow(canary) or [])[: len(self._frozen.limits)], canary.requests > 0
        found.log_e, found.odds = self._frozen.log_e, self._frozen.odds(canary.requests, slow, rows)
        found.put(served, PASS, By.NOT_COMPARED)
        found.put(self._frozen.convicts, FAIL, By.EVIDENCE)
        found.put(~there, NO_DATA)
        found.harmless = there & unharmed(found.log_e, found.odds, self._alpha)
        return found

    # -- said, of one of them --------------------------------------------------------------------------------------

    def finding(self, row: int, look: Look, canary: Reading, baseline: Reading) -> Finding:
        """``look`` in words."""
        limit = f"{self._kind} <= {self._limit:g}" if self._kind == "ratio" else f"delta <= {self._amount(self._limit)}"
        if self._evidence is None or self._edges is None:
            return Finding(Status.NO_DATA, limit, "no baseline window was captured to choose bucket boundaries from")
        if canary.requests and canary.above(self._edges.row(row)[0].high) is None:
            says = "the canary's buckets are not those of the captured baseline; give both builds the same boundaries"
            return Finding(Status.NO_DATA, limit, says)
        said = self._against_now if self._compared else self._against_then
        return said(row, look, limit, canary, baseline)

    def _worst(self, row: int) -> int:
        """Which quantile is told of."""
        assert self._evidence is not None
        each = self._evidence.odds_at(np.array([row]))[:, 0]
        return len(each) - 1 if each[-1] >= self._gate.levels.tail_odds else int(each.argmax())

    def _sides(self, row: int, worst: int, canary: Reading, baseline: Reading) -> tuple[Counted, Counted]:
        assert self._edges is not None
        each, quantile = self._edges.row(row)[worst], self._gate.metric.quantile
        return canary.over(each.high, quantile), baseline.over(each.low, quantile)

    def _against_now(self, row: int, look: Look, limit: str, canary: Reading, baseline: Reading) -> Finding:
        assert self._evidence is not None
        assert self._edges is not None
        worst = self._worst(row)
        mine, theirs = self._sides(row, worst, canary, baseline)
        evidence, odds = evidence_of(float(look.log_e[row])), float(look.odds[row])
        low, high = (float(side[row]) for side in self._evidence.interval(worst))
        counts = f"canary {say.events(mine)}, baseline {say.events(theirs)} ({say.span((low, high))})"
        convicts = say.convicts(evidence, self._alpha, odds)
        says = f"{self._slower_than(self._edges.row(row)[worst])}: {counts}; {convicts}{self._why(row, look)}"
        ratio = mine.value / theirs.value if mine.value is not None and theirs.value else None
        return Finding(
            look.status_of(row), limit, says, look.by_of(row), mine, theirs, ratio, None, evidence, odds,
            harmless=bool(look.harmless[row]), needed=self._needed(row, canary, baseline),
        )  # fmt: skip

    def _why(self, row: int, look: Look) -> str:
        status = look.status_of(row)
        if status is Status.FAIL or (status is Status.UNDECIDED and look.held[row]):
            return say.replicas(self._opinion.of(row))
        if look.by_of(row) is not By.PROOF or self._proof_edges is None or self._edges is None:
            return ""
        proof = self._proof_edges.row(row)
        wider = f"{proof[-1].high / proof[-1].low:.2g}x, what this stage must prove"
        return f"; proved to be within {'the limit' if proof == self._edges.row(row) else wider}"

    def _slower_than(self, each: Edge) -> str:
        by = f"{each.high / each.low:.2g}x" if self._kind == "ratio" else f"{self._amount(each.high - each.low)} over"
        edges = f"{self._amount(each.low)} -> {self._amount(each.high)}"
        return f"{self._gate.metric.of} {say.beyond(self._gate.metric.unit)} {by} the baseline {each.name} ({edges})"

    def _amount(self, value: float) -> str:
        return say.amount(value, self._gate.metric.unit)

    def _against_then(self, row: int, look: Look, limit: str, canary: Reading, _baseline: Reading) -> Finding:
        assert self._edges is not None
        there = bool(self._frozen.limits) and bool(self._frozen.there[row])
        worst = int(self._frozen.worst[row]) if there else -1
        each = self._edges.row(row)[worst]
        mine, status = canary.over(each.high, self._gate.metric.quantile), look.status_of(row)
        says = f"{self._slower_than(each)}: canary {say.events(mine)}"
        if there:
            top = float(self._frozen.limits[worst][row])
            says += f" against at most {say.percent(top)} on the baseline's last window"
        evidence, odds = evidence_of(float(look.log_e[row])), float(look.odds[row])
        convicts = f"; {say.convicts(evidence, self._alpha, odds)}"
        return Finding(
            status, limit, says if status is Status.PASS else says + convicts, look.by_of(row), mine, Counted(),
            evidence=evidence, odds=odds, harmless=bool(look.harmless[row]),
        )  # fmt: skip

    def _needed(self, row: int, canary: Reading, baseline: Reading) -> float | None:
        if not (canary.requests and baseline.requests) or self._evidence is None or self._proof_edges is None:
            return None
        share = canary.requests / (canary.requests + baseline.requests)
        longest = 0.0
        beta = self._gate.levels.beta
        proofs = self._evidence.log_proofs_at(np.array([row]))[:, 0]
        for each, log_proof in zip(self._proof_edges.row(row), proofs, strict=True):
            over, limit = baseline.above(each.low) or 0.0, baseline.above(each.high) or 0.0
            total = requests_to_prove_ratio(
                share, over / baseline.requests, 1.0, beta, true=limit / over if over else 1.0
            )
            needed = still_needed(total, canary.requests, float(log_proof), beta)
            if needed is None:
                return None
            longest = max(longest, needed)
        return longest
