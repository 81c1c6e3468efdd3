"""Raises what a gate asks for until pseudo-canaries are rolled back seldom enough, by whichever knob is cheaper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from pytest_canary.calibrated import Share, raised
from pytest_canary.calibration.noise import noise_of
from pytest_canary.calibration.result import Found, Measured, false_of, share_of
from pytest_canary.gates import Decide, Gate, Kind
from pytest_canary.plan import Plan
from pytest_canary.play import Cast, History, Played, cast, play, regression, worse
from pytest_canary.stats.replicas import FEWEST, choices
from pytest_canary.verdict import share_alpha

PHIS = (1.4, 2.0, 3.0, 4.5, 6.5, 10.0, 15.0, 22.0, 33.0)
"""Design effects that are tried, and ..."""
REPLICAS = (20.0, 50.0, 100.0, 300.0, 1000.0, 3000.0)
"""... thresholds of the evidence of replicas; ``statistics-2.md`` 3; or ..."""
BOTH = ((1.4, 20.0), (2.0, 50.0), (3.0, 100.0), (4.5, 300.0), (6.5, 300.0), (10.0, 1000.0), (15.0, 1000.0))
"""... both: where replicas hold a conviction back, a stage waits for its deadline unless the totals are doubted too."""
ON_OTHERS = 2
"""On other plays than those by which levels were chosen, so many times as many may be rolled back."""
INJECTED = 100
"""Plays with an injected regression, at most."""

Setting = tuple[float, float]
"""Design effect, and evidence that is asked of replicas."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """How a calibration is made: so many ``plays``, of which at most the share ``allowed`` may be rolled back."""

    plays: int = 400
    allowed: float = 0.01
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """All gates, and false rollbacks by any of them, before and after."""

    found: tuple[Found, ...]
    before: Share
    after: Share
    cast: Cast
    left_out: tuple[tuple[str, str], ...] = ()
    """Gates that were not played, and why not."""


def calibrate(plan: Plan, history: History, asked: Asked, tell: Tell = lambda _: None) -> Result:
    """Measure every gate of ``plan`` on ``history``, and find the levels that keep false rollbacks rare.

    Levels are chosen on one draw of plays; what is reported of them is measured on another.  ``tell`` hears what is
    under way.

    Raises:
        UsageError: fewer than two replicas, or less than one rollout's length.

    """
    rng = np.random.default_rng(asked.seed)
    chosen, fresh = (cast(plan, history, asked.plays, rng) for _ in range(2))
    why = {gate.name: unplayable(gate, history) for gate in plan.gates}
    gates = [gate for gate in share_alpha(plan.gates) if not why[gate.name]]
    knobs = [_Knobs(plan, gate, history, (chosen, fresh), asked, rng) for gate in gates]
    for knob in knobs:
        tell(knob.gate.name)
        knob.choose()
    _together(knobs, asked)
    tell("all gates again, on other plays")
    checked = [(knob, knob.on_others(knob.floor), knob.on_others(knob.setting)) for knob in knobs]
    found = tuple(_found(knob, before, after, history, chosen) for knob, before, after in checked)
    left_out = tuple((name, text) for name, text in why.items() if text)
    return Result(found, false_of([b for _, b, _ in checked]), false_of([a for _, _, a in checked]), chosen, left_out)


def unplayable(gate: Gate, history: History) -> str:
    """Why ``gate`` cannot be played on ``history``; empty where it can."""
    metric = gate.metric
    if metric.probed:
        return "counted by probes, which no history holds"
    if metric.kind is Kind.GAUGE:
        return "a gauge has no sample size"
    if gate.by:
        return f"compared by {', '.join(gate.by)}, and the history does not count by labels"
    counted = bool(metric.counted) and all(name in history.counters for name in metric.counted)
    if not counted and metric.histogram not in history.histograms:
        return f"the history does not count {' and '.join(metric.counted) or metric.histogram}"
    return ""


def _together(knobs: Sequence[_Knobs], asked: Asked) -> None:
    """Raise further while all gates together roll back too often: the one that does so alone most often first."""
    while knobs:
        stopped = np.array([knob.played(knob.setting).stopped for knob in knobs])
        if stopped.any(axis=0).sum() <= floor(asked.allowed * asked.plays):
            return
        alone = [int((one & (stopped.sum(axis=0) == 1)).sum()) for one in stopped]
        for nth in np.argsort(alone)[::-1]:
            if stopped[nth].any() and knobs[nth].further():
                break
        else:
            return


class _Knobs:
    """One gate, and what it does at each of its settings."""

    def __init__(
        self, plan: Plan, gate: Gate, history: History, casts: tuple[Cast, Cast], asked: Asked,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.gate, self._plan, self._history, self._asked = gate, plan, history, asked
        self._cast, self._others = casts
        self.floor: Setting = (gate.design_effect, gate.levels.replicas)
        self.setting = self.floor
        self.enough = True
        self._known: dict[Setting, Played] = {}
        self._checked: dict[Setting, Played] = {}
        self._caught: dict[Setting, Played] = {}
        self._times = regression(gate, history)
        self._worse = worse(history, gate.metric, self._times, rng) if self._times else None

    @property
    def times(self) -> float | None:
        """How many times worse the injected build is."""
        return self._times

    @property
    def ladders(self) -> list[list[Setting]]:
        """Settings above the floor: of the design effect, and of the replicas and of both where these are asked."""
        phi, replicas = self.floor
        weighed = self.gate.decide in (Decide.EVIDENCE, Decide.ESTIMATE) and self.gate.metric.kind is not Kind.GAUGE
        if not weighed:
            return []
        phis = [(one * phi, replicas) for one in PHIS]
        counts = self._cast.replicas
        asks = replicas > 1 and any(choices(p.canaries, counts - p.canaries) >= FEWEST for p in self._cast.parts)
        if not asks or self.gate.metric.kind is Kind.MEAN:
            return [phis]
        alone = [(phi, one) for one in REPLICAS if one > replicas]
        return [phis, alone, [(one * phi, other) for one, other in BOTH if other > replicas]]

    def on(self, cast: Cast, setting: Setting, canary: History | None = None, *, at_most: int | None = None) -> Played:
        """What the gate at ``setting`` makes of ``cast``."""
        return play(self._plan, raised(self.gate, *setting), self._history, cast, canary, at_most=at_most)

    def played(self, setting: Setting) -> Played:
        """What it makes of the plays by which levels are chosen; not all of it where it rolls back too many."""
        if setting not in self._known:
            self._known[setting] = self.on(self._cast, setting, at_most=self._allowed)
        return self._known[setting]

    def on_others(self, setting: Setting) -> Played:
        """What it makes of as many other plays."""
        if setting not in self._checked:
            self._checked[setting] = self.on(self._others, setting)
        return self._checked[setting]

    @property
    def _allowed(self) -> int:
        return floor(self._asked.allowed * self._asked.plays)

    def caught(self, setting: Setting) -> Played | None:
        """What it makes of injected regressions; None where none can be injected."""
        if self._worse is None:
            return None
        if setting not in self._caught:
            self._caught[setting] = self.on(self._cast.first(INJECTED), setting, self._worse)
        return self._caught[setting]

    def choose(self) -> None:
        """The cheapest of the ladders, each climbed no higher than does."""
        if self._lasts(self.floor):
            return
        ways = [self._least(ladder) for ladder in self.ladders if ladder]
        fitting = [way for way in ways if self._lasts(way)]
        self.enough = bool(fitting)
        if fitting:
            self.setting = min(fitting, key=self._cost)
        elif ways:
            self.setting = min(ways, key=lambda way: self.on_others(way).stops)

    def further(self) -> bool:
        """Turn the knob one further; False at its end."""
        for ladder in self.ladders:
            above = [way for way in ladder if way[0] >= self.setting[0] and way[1] >= self.setting[1]]
            above = [way for way in above if way != self.setting]
            if above and (self.setting == self.floor or self.setting in ladder):
                self.setting = above[0]
                return True
        return False

    def _rare(self, setting: Setting) -> bool:
        return self.played(setting).stops <= self._allowed

    def _lasts(self, setting: Setting) -> bool:
        """Whether it is rare on other plays as well."""
        return self._rare(setting) and self.on_others(setting).stops <= ON_OTHERS * self._allowed

    def _least(self, ladder: Sequence[Setting]) -> Setting:
        """The first rung that is enough, found by halving, and from there up; the last where none is."""
        low, high = 0, len(ladder) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._rare(ladder[middle]) else (middle + 1, high)
        return next((rung for rung in ladder[low:] if self._lasts(rung)), ladder[-1])

    def _cost(self, setting: Setting) -> float:
        """Requests that an injected regression reaches."""
        played = self.caught(setting)
        return float(played.exposed.mean()) if played is not None else 0.0


def _found(knob: _Knobs, before: Played, after: Played, history: History, cast: Cast) -> Found:
    phi, replicas = knob.setting
    return Found(
        knob.gate, phi, replicas, _measured(knob, knob.floor, before), _measured(knob, knob.setting, after),
        noise_of(knob.gate, history, cast), knob.enough, before.refused, before.why,
    )  # fmt: skip


def _measured(knob: _Knobs, setting: Setting, false: Played) -> Measured:
    caught = knob.caught(setting)
    share = share_of(false.stops, false.plays - false.refused)
    if caught is None:
        return Measured(share)
    return Measured(share, knob.times, float(caught.stopped.mean()), float(caught.exposed.mean()))
