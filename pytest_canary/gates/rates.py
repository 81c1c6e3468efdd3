"""A rate that may be worse than the baseline's only by so much."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np

from pytest_canary.gates import sentences as say
from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.finding import Finding, evidence_of, still_needed
from pytest_canary.gates.frozen import Frozen, highest
from pytest_canary.gates.look import FAIL as FAILS
from pytest_canary.gates.look import NO_DATA, PASS, Look, unharmed
from pytest_canary.gates.noise import below_floor
from pytest_canary.gates.opinion import SecondOpinion
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.side import Side, alike
from pytest_canary.gates.values import By, Counted, Decide, Gate, Limits, Status
from pytest_canary.gates.window import Window
from pytest_canary.stats.grid import Array
from pytest_canary.stats.planner import requests_to_prove_ratio
from pytest_canary.stats.rate import bounds, odds_of_difference
from pytest_canary.stats.ratio import Counts
from pytest_canary.stats.rows import Flags, Index, Rows


def events_of(side: Side) -> Array:
    """What counts as an event in a rate."""
    return side.events


class RelativeRate(Rows):
    """One relative limit (``ratio`` or ``delta``) on a rate, kept over the whole rollout."""

    PARTS = ("_evidence", "_opinion", "_frozen")

    def __init__(self, kind: str, gate: Gate, alpha: float, stages: int, batch: int = 1) -> None:
        self._kind, self._gate, self._alpha, self._levels = kind, gate, alpha, gate.levels
        self._batch = batch
        self._evidence = RateEvidence(
            alpha, stages, gate.catastrophe, batch, levels=gate.levels, phi=gate.design_effect
        )
        self._opinion = SecondOpinion(stages, gate.levels, batch)
        self._frozen = Frozen((), alpha, batch)
        self._limit, self._margin = 0.0, 0.0
        self._compared = True
        self._rollout = (Side.nothing(batch), Side.nothing(batch))

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        self._batch, self._rollout = rows.size, (self._rollout[0].keep(rows), self._rollout[1].keep(rows))

    def capture(self, baseline: Side) -> list[str | None]:
        """Learn what is normal before the ramp; says what is wrong when the gate lies below the noise."""
        if self._evidence.lane:
            requests = np.where(baseline.requests > 0, baseline.requests, 1.0)
            self._evidence.lane.expect(np.where(baseline.requests > 0, baseline.events / requests, 0.0))
        ratio = self._gate.limits.ratio if self._kind == "ratio" else None
        if not baseline.replicas:
            return [None] * self._batch
        return [below_floor(baseline.row(row), ratio, self._gate) for row in range(self._batch)]

    def normal(self, baseline: Side, where: Flags | None) -> None:
        """Add one poll of the baseline from before the ramp."""
        self._evidence.normal(baseline.requests, baseline.events, where)

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there."""
        self._limit = (limits.ratio if self._kind == "ratio" else limits.delta) or 0.0
        proves = self._kind == "ratio" and self._limit > 0
        self._margin = 1 + (self._limit - 1) * window.allowance if proves else 1.0
        self._compared = window.compared
        self._evidence.start_stage(self._margin, window.hold_seconds)
        self._opinion.start_stage(window.hold_seconds)
        if not window.compared:
            top = highest(window.frozen.requests, window.frozen.events, self._gate.design_effect)
            known = not np.isnan(top).all()
            allowed = (top * self._limit if self._kind == "ratio" else top + self._limit,) if known else ()
            self._frozen = Frozen(allowed, self._alpha, self._batch, phi=self._gate.design_effect)

    def alone(self, canary: Side, where: Flags | None) -> None:
        """Add one poll of the canary."""
        self._evidence.alone(canary.requests, canary.events, where)
        if not self._compared:
            self._frozen.update(canary.requests, [canary.events] * len(self._frozen.limits), where)

    def compare(self, canary: Side, baseline: Side, at: Array, where: Flags | None) -> None:
        """Add what both sides counted since the last comparison, which ended at ``at``."""
        counts = [Counts(mine.requests, mine.events, b.requests, b.events) for mine, b in alike(canary, baseline)]
        self._evidence.compare(counts, at, guard=~self._opinion.asked, where=where)
        self._opinion.add(canary, baseline, events_of, at, where)
        if self._gate.decide is Decide.ESTIMATE:
            self._rollout = (self._rollout[0] + canary.onward(), self._rollout[1] + baseline.onward())

    # -- found, in all rollouts ------------------------------------------------------------------------------------

    def failing(self, canary: Side, baseline: Side, _served: Flags) -> Flags:
        """Whether it fails now."""
        if not self._compared:
            return self._frozen.convicts | self._evidence.broken(compared=False)
        broken, convicted = self._grounds(canary, baseline)
        return broken | convicted & self._opinion.agrees

    def _grounds(self, canary: Side, baseline: Side) -> tuple[Flags, Flags]:
        """Whether it is plainly broken, and whether totals speak against it."""
        broken = self._evidence.broken(self._compared, self._opinion.agrees)
        if self._gate.decide is Decide.ESTIMATE:
            over = np.any([self._over(*sides) for sides in ((canary, baseline), self._rollout)], axis=0)
            return broken, self._evidence.harmful() & over
        return broken, self._evidence.convicts_at(lambda rows: self._odds(rows, canary, baseline))

    def look(self, canary: Side, baseline: Side, served: Flags, rows: Index) -> Look:
        """What this stage's counts and the evidence so far say, in ``rows``."""
        return self._now(canary, baseline, rows) if self._compared else self._then(canary, served, rows)

    def _now(self, canary: Side, baseline: Side, rows: Index) -> Look:
        found, there = Look.undecided(self._batch), (canary.requests > 0) & (baseline.requests > 0)
        broken, convicted = self._grounds(canary, baseline)
        found.log_e[rows] = self._evidence.worse.log_e_at(rows)
        found.odds[rows] = self._odds(rows, canary, baseline)
        found.put(self._proved(canary, baseline, rows), PASS, By.PROOF)
        found.put(~there, NO_DATA)
        ground = By.ESTIMATE if self._gate.decide is Decide.ESTIMATE else By.EVIDENCE
        found.put(convicted & self._opinion.agrees, FAILS, ground)
        found.put(broken, FAILS, By.CATASTROPHE)
        found.held = convicted & ~self._opinion.agrees
        found.harmless = there & (self._opinion.clears | unharmed(found.log_e, found.odds, self._alpha))
        return found

    def _then(self, canary: Side, served: Flags, rows: Index) -> Look:
        found, there = Look.undecided(self._batch), canary.requests > 0
        found.log_e = self._frozen.log_e
        found.odds = self._frozen.odds(canary.requests, [canary.events] * len(self._frozen.limits), rows)
        found.put(served, PASS, By.NOT_COMPARED)
        found.put(~there, NO_DATA)
        found.put(self._evidence.broken(compared=False), FAILS, By.CATASTROPHE)
        found.put(self._frozen.convicts, FAILS, By.EVIDENCE)
        found.harmless = there & unharmed(found.log_e, found.odds, self._alpha)
        return found

    def _over(self, canary: Side, baseline: Side) -> Flags:
        """Whether the estimate lies over the limit."""
        there = (canary.requests > 0) & (baseline.requests > 0)
        mine, theirs = (side.events / np.where(there, side.requests, 1.0) for side in (canary, baseline))
        limit = theirs * self._limit if self._kind == "ratio" else theirs + self._limit
        return there & (mine > limit)

    def _odds(self, rows: Index, canary: Side, baseline: Side) -> Array:
        if self._kind == "ratio":
            return self._evidence.posterior.odds_at(rows, self._limit)
        sides = zip(*(counts[rows].tolist() for counts in _counts(canary, baseline)), strict=True)
        return np.array([odds_of_difference((n, k), (m, j), self._limit) if n and m else 0.0 for n, k, m, j in sides])

    def _proved(self, canary: Side, baseline: Side, rows: Index) -> Flags:
        found, beta = np.zeros(self._batch, dtype=bool), self._levels.beta
        if self._kind == "ratio":
            found[rows] = self._evidence.proof.log_e_at(rows) >= log(1 / beta)
            return found
        sides = zip(rows.tolist(), *(counts[rows].tolist() for counts in _counts(canary, baseline)), strict=True)
        for row, n, k, m, j in sides:
            found[row] = bounds(n, k, beta / 2)[1] <= bounds(m, j, beta / 2)[0] + self._limit
        return found

    # -- said, of one of them --------------------------------------------------------------------------------------

    def finding(self, row: int, look: Look, canary: Reading, baseline: Reading) -> Finding:
        """``look`` in words."""
        said = self._against_now if self._compared else self._against_then
        return said(row, look, canary, baseline)

    def _against_now(self, row: int, look: Look, canary: Reading, baseline: Reading) -> Finding:
        mine, theirs = canary.as_rate(), baseline.as_rate()
        ratio, times = say.times_worse(mine, theirs)
        low, high = self._evidence.posterior.interval()
        interval = float(low[row]), float(high[row])
        evidence, odds = evidence_of(float(look.log_e[row])), float(look.odds[row])
        says = (
            f"canary {say.events(mine)} against baseline {say.events(theirs)}: {times} ({say.span(interval)}), limit "
            f"{self._words}; {say.convicts(evidence, self._evidence.alpha, odds)}{self._why(row, look)}"
        )
        return Finding(
            look.status_of(row), f"{self._kind} <= {self._limit:g}", says, look.by_of(row), mine, theirs, ratio,
            interval, evidence, odds, harmless=bool(look.harmless[row]), needed=self._needed(row, canary, baseline),
        )  # fmt: skip

    def _why(self, row: int, look: Look) -> str:
        status, by = look.status_of(row), look.by_of(row)
        if by is By.CATASTROPHE:
            return f"; {self._broken(row)}"
        if status is Status.FAIL:
            return say.replicas(self._opinion.of(row))
        if by is By.PROOF:
            return f"; proved to be within {self._proved_words}"
        return say.replicas(self._opinion.of(row)) if status is Status.UNDECIDED and look.held[row] else ""

    def _against_then(self, row: int, look: Look, canary: Reading, _baseline: Reading) -> Finding:
        mine, status, by = canary.as_rate(), look.status_of(row), look.by_of(row)
        evidence, odds = evidence_of(float(look.log_e[row])), float(look.odds[row])
        finding = Finding(
            status, f"{self._kind} <= {self._limit:g}", f"canary {say.events(mine)}", by, mine, Counted(),
            evidence=evidence, odds=odds, harmless=bool(look.harmless[row]),
        )  # fmt: skip
        limits = self._frozen.limits if self._frozen.there[row] else []
        allowed = "".join(
            f" against at most {say.percent(float(limit[row]))}, which is the limit {self._words} on the baseline's "
            f"last window; {say.convicts(evidence, self._alpha, odds)}"
            for limit in limits
        )
        if by is By.CATASTROPHE:
            return replace(finding, says=f"{finding.says}: {self._broken(row)}")
        if status is Status.NO_DATA:
            return finding
        if status is Status.PASS:
            return replace(finding, says=finding.says + (allowed or ", and no baseline was seen"))
        return replace(finding, says=finding.says + allowed)

    @property
    def _words(self) -> str:
        return f"{self._limit:g}x" if self._kind == "ratio" else f"+{say.percent(self._limit)}"

    @property
    def _proved_words(self) -> str:
        return f"{self._margin:g}x, what this stage must prove" if self._margin > self._limit else "the limit"

    def _broken(self, row: int) -> str:
        assert self._evidence.lane is not None
        return f"plainly broken, fails more than {say.percent(self._evidence.lane.limit_of(row))} of its requests"

    def _needed(self, row: int, canary: Reading, baseline: Reading) -> float | None:
        if self._kind != "ratio" or not (canary.requests and baseline.requests):
            return None
        together = canary.requests + baseline.requests
        rate = (canary.events + baseline.events) / together
        total = requests_to_prove_ratio(canary.requests / together, rate, self._margin, self._levels.beta)
        return still_needed(total, canary.requests, float(self._evidence.proof.log_e[row]), self._levels.beta)


def _counts(canary: Side, baseline: Side) -> tuple[Array, Array, Array, Array]:
    return canary.requests, canary.events, baseline.requests, baseline.events
