"""One gate at any of its levels: how many pseudo-canaries it rolls back, and what a regression costs there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from pytest_canary.calibrated import raised
from pytest_canary.gates import Decide, Gate, Kind
from pytest_canary.plan import Plan
from pytest_canary.play import Cast, History, Played, play, regression, worse
from pytest_canary.stats.replicas import FEWEST, choices

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


class Knobs:
    """One gate, and what it does at each of its settings."""

    def __init__(
        self, plan: Plan, gate: Gate, history: History, casts: tuple[Cast, Cast], asked: Asked, tell: Tell
    ) -> None:
        self.gate, self._plan, self._history, self._asked, self._tell = gate, plan, history, asked, tell
        self._cast, self._others = casts
        self.floor: Setting = (gate.design_effect, gate.levels.replicas)
        self.setting = self.floor
        self.enough = True
        self._known: dict[Setting, Played] = {}
        self._checked: dict[Setting, Played] = {}
        self._caught: dict[Setting, Played] = {}
        self.times = regression(gate, history)
        """How many times worse the injected build is; None where nothing is injected."""

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
            self._tell(f"{self.gate.name} with phi {setting[0]:g} and replicas {setting[1]:g}")
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
        if self.times is None:
            return None
        if setting not in self._caught:
            bad = worse(self._history, self.gate.metric, self.times, np.random.default_rng(self._asked.seed))
            self._caught[setting] = self.on(self._cast.first(INJECTED), setting, bad)
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
