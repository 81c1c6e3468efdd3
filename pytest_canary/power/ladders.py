"""Which stages catch a regression in time with the fewest users: a closed form over a small grid of ladders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, inf

from pytest_canary.gates import Gate
from pytest_canary.plan import Stage
from pytest_canary.power.advice import SURE, Information, information
from pytest_canary.simulation.traffic import Traffic

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
MOST = 3
"""Stages that are advised at most: more of them buy a few per cent of the users for twice the time."""
ALIKE = 1.03
"""Ladders within so much of the fewest users are as good; then the one with fewer stages is."""
_PARTS = {1: 1, 2: 10, 3: 5}
"""How finely the time is shared out among so many stages."""
_POINTS = 12
"""At so many moments of a stage it is asked how many rollouts still go on."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage that is advised."""

    share: float
    seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class Ladder:
    """Stages that are advised, and what the closed form expects of them."""

    steps: tuple[Step, ...]
    users: float
    """Who meet the regression, on average, at these stages and at those of the plan that follow."""

    @property
    def seconds(self) -> float:
        """How long they are held together."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True)
class Search:
    """What is to be caught: a build ``size`` times as bad in what ``gate`` counts, within so many seconds."""

    gate: Gate
    traffic: Traffic
    size: float
    within: float
    own: tuple[Stage, ...]
    """The stages of the plan: those with a larger share than the last one that is advised follow it."""

    def told(self, share: float) -> Information:
        """What a canary with this share of the traffic tells in one second."""
        return information(self.gate, self.traffic, share, self.size) * (self.traffic.rate * share)

    def shares(self) -> list[float]:
        """From which stages are made: a few, and those that the plan has."""
        return sorted({*SHARES, *(stage.weight for stage in self.own if stage.weight < 1)})

    @property
    def known(self) -> bool:
        """Whether the closed form has anything to say."""
        return any(self.told(share).mean > 0 for share in SHARES)

    def best(self, sure: float = SURE, most: int = MOST) -> Ladder | None:
        """The ladder of at most so many stages that finds it in time so surely, with the fewest users."""
        found = list(self.ladders(sure, most))
        if not found:
            return None
        fewest = min(one.users for one in found)
        return min((one for one in found if one.users <= fewest * ALIKE), key=lambda one: (len(one.steps), one.users))

    def ladders(self, sure: float, most: int = MOST) -> Iterator[Ladder]:
        """All of the grid that find it in time."""
        told = {share: self.told(share) for share in self.shares()}
        for many in range(1, most + 1):
            for shares in combinations(told, many):
                for parts in _split(_PARTS[many], many):
                    each = [part / _PARTS[many] for part in parts]
                    whole = Information(0.0, 0.0)
                    for share, part in zip(shares, each, strict=True):
                        whole += told[share] * part
                    seconds = whole.requests(self.gate.alpha, sure)
                    if seconds <= self.within:
                        yield self._ladder(shares, [part * seconds for part in each])

    def _ladder(self, shares: Sequence[float], seconds: Sequence[float]) -> Ladder:
        steps = [
            Step(share, ceil(held), max(ceil(held * self.traffic.rate * share), 1))
            for share, held in zip(shares, seconds, strict=True)
        ]
        return Ladder(tuple(steps), self.users(steps))

    def users(self, steps: Sequence[Step]) -> float:
        """How many meet it, on average: the sum over all stages of those who come while it has not been found."""
        later = [stage for stage in self.own if stage.weight > (steps[-1].share if steps else 0.0)]
        course = [(step.share, float(step.requests)) for step in steps]
        course += [(stage.weight, self._requests(stage)) for stage in later]
        known, left, met = Information(0.0, 0.0), 1.0, 0.0
        for share, requests in course:
            told = information(self.gate, self.traffic, share, self.size) * (requests / _POINTS)
            for _ in range(_POINTS if told.mean > 0 else 1):
                before, known = left, known + told
                left = 1 - known.found(self.gate.alpha)
                met += requests * (before + left) / 2 / (_POINTS if told.mean > 0 else 1)
        return met

    def _requests(self, stage: Stage) -> float:
        return max(float(stage.min_requests), stage.hold_seconds * self.traffic.rate * stage.weight)

    def traffic_needed(self) -> float:
        """Requests per second at which the best share finds it in time; infinite where nothing is known."""
        seconds = min(self.told(share).requests(self.gate.alpha) for share in self.shares())
        return self.traffic.rate * seconds / self.within

    def soonest(self) -> tuple[float, float]:
        """The share that finds it soonest, and after how many seconds nine in ten times; infinite: nothing is known."""
        times = {share: self.told(share).requests(self.gate.alpha) for share in self.shares()}
        share = min(times, key=lambda one: times[one])
        return share, times.get(share, inf)


def _split(parts: int, among: int) -> Iterator[tuple[int, ...]]:
    """All ways to share out ``parts`` such that everybody has one."""
    if among == 1:
        yield (parts,)
        return
    for first in range(1, parts - among + 2):
        for rest in _split(parts - first, among - 1):
            yield (first, *rest)
