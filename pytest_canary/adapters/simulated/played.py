"""What a scene counts, as a metric source: the draws of one rollout, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, Protocol

from pytest_canary.adapters.simulated.future import Future
from pytest_canary.ports import Asked, Clock, Fact, Foreseen, Histogram, Revision, Role, Sample, Shared
from pytest_canary.simulation.draws import ROLES, Drawn, Draws, Part
from pytest_canary.simulation.layout import OUTCOMES, Layout
from pytest_canary.simulation.scene import Scene

SCENE = "scene"
"""The handle of what is played."""
WORLD = "memory"
"""The handle of the world whose weights are followed."""


@dataclass(frozen=True, slots=True)
class Play:
    """A scene, the seed of its chance, and which build has the injections."""

    scene: Scene
    seed: int
    image: str


class Places(Protocol):
    """Who stands for which role, with which share."""

    places: dict[Role, Revision]
    shares: dict[Role, float]


class Stage(Protocol):
    """A world in memory."""

    lock: RLock
    state: Places
    counters: list[Any]
    asked: dict[str, float]


class PlayedMetrics:
    """:class:`~pytest_canary.ports.MetricSource` of a scene; it counts whenever somebody looks or the shares change."""

    interval_seconds = 0.0

    def __init__(self, play: Play, stage: Stage, clock: Clock) -> None:
        self._play, self._stage, self._clock = play, stage, clock
        self._draws = Draws(play.scene, [play.seed])
        self._until = clock.now()
        self._counted: Drawn | None = None
        self._future: Future | None = None
        self._known = self._now_known
        """On what the future was built."""
        self._who: dict[Role, tuple[str, str]] = {}
        self._first: str | None = None
        stage.counters.append(self._count)

    @classmethod
    def of(cls, shared: Shared) -> PlayedMetrics:
        """The metric source of the target that ``shared`` belongs to."""
        return cls(shared.handles[SCENE], shared.handles[WORLD], shared.clock)

    def check(self) -> Sequence[str]:
        return []

    def recover(self, facts: Sequence[Fact]) -> None:
        """Nothing is left of a simulation."""

    def start(self) -> None:
        """Nothing to bring up."""

    def stop(self) -> None:
        """Nothing: what was counted stays."""

    def explain(self, role: Role) -> Mapping[str, Asked]:
        """As the port has it: nobody is asked."""
        del role
        traffic = self._play.scene.traffic
        counters = ["requests", *traffic.outcomes, *traffic.parts, *traffic.sums]
        names = [f"counters.{name}" for name in counters] + [f"histograms.{name}" for name in traffic.values]
        names += [f"gauges.{name}" for name in traffic.gauges]
        return dict.fromkeys(names, Asked("", by="the simulation"))

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        with self._stage.lock:
            self._count()
            asked = [role for role in roles if role in self._who]
            if self._counted is None:
                self._counted = self._draws.nothing()
            return {role: told(self._draws.layout, self._counted, role, self._until) for role in asked}

    def ahead(self, roles: Sequence[Role], times: Sequence[float]) -> Mapping[Role, Foreseen]:
        """As :class:`~pytest_canary.ports.Foresees` has it; where pods are told apart, nothing is."""
        with self._stage.lock:
            self._catch_up(self._clock.now(), too=False)
            if self._counted is None or self._draws.layout.pods > 1:
                return {}
            places, asked = self._stage.state.places, [role for role in roles if role in self._who]
            found = self._future.at(times) if self._future is not None else None
            if found is None:
                self._let_go()
                parts = {role: self._part(role, self._stage.state.shares[role]) for role in places}
                self._future = Future(self._draws, parts, self._counted, self._until)
                self._known = self._now_known
                found = self._future.at(times)
            if found is None:
                return {}
            layout = self._draws.layout
            return {role: foreseen(layout, found, role, times) for role in asked}

    def _count(self) -> None:
        """Let everything happen that has happened until now, at the shares of that time."""
        now, state = self._clock.now(), self._stage.state
        self._catch_up(now, too=True)
        if self._future is not None and self._until == now:
            return
        self._let_go()
        seconds, self._until = now - self._until, now
        self._look_who_is_there()
        if seconds <= 0 or not state.places:
            return
        parts = {role: self._part(role, state.shares[role]) for role in state.places}
        drawn = self._draws.draw(seconds, parts)
        if self._counted is None:
            self._counted = drawn
        else:
            self._counted.add(drawn)

    @property
    def _now_known(self) -> tuple[Mapping[Role, Revision], Mapping[Role, float], Mapping[str, float]]:
        """All that what is counted depends on besides time and chance."""
        state = self._stage.state
        return dict(state.places), dict(state.shares), dict(self._stage.asked)

    def _catch_up(self, now: float, *, too: bool) -> None:
        """What was foreseen until ``now`` has happened, unless something else has."""
        if self._future is not None:
            if self._known != self._now_known:
                self._let_go()
                return
            self._future.pass_by(now, too=too)
            self._counted, self._until = self._future.counted, self._future.until

    def _let_go(self) -> None:
        """Go on without what was foreseen from here on."""
        if self._future is not None:
            self._draws, self._counted, self._future = self._future.left(), self._future.counted.copy(), None

    def _look_who_is_there(self) -> None:
        """New processes are cold, and count from nothing."""
        places = self._stage.state.places
        for role, revision in places.items():
            self._first = self._first or revision.pin
            if self._who.get(role) != revision.key:
                self._who[role] = revision.key
                self._draws.renew(role)
                if self._counted is not None:
                    self._counted.forget(ROLES.index(role))
            self._draws.warmed(role, self._stage.asked.get(revision.pin, 0.0))
        for role in [role for role in self._who if role not in places]:
            del self._who[role]

    def _part(self, role: Role, share: float) -> Part:
        revision = self._stage.state.places[role]
        return Part(share, changed=revision.image == self._play.image, young=revision.pin != self._first)


def told(layout: Layout, drawn: Drawn, role: Role, at: float) -> Sample:
    """What ``role`` has counted in the first rollout of ``drawn``, as :meth:`Layout.read` has it for all of them.

    Plain numbers: a poll of one rollout costs a tenth of what arrays of one would.
    """
    place = ROLES.index(role)
    counts, sums = drawn.counts[0, place].tolist(), drawn.sums[0, place].tolist()
    gauges = dict(zip(layout.traffic.gauges, drawn.gauges[0, place].tolist(), strict=True))
    counters, histograms = _told(layout, counts, sums)
    for name, (histogram, whole) in layout.traffic.sums.items():
        if histogram in histograms:
            counters[name] = histograms[histogram].total if whole else histograms[histogram].number
    replicas = {}
    if layout.pods > 1:
        pods = [(number, *_told(layout, counts, sums, number)) for number in range(layout.pods)]
        replicas = {f"{role}-{number}": Sample(at, one, more) for number, one, more in pods if one["requests"]}
    return Sample(at, counters, histograms, replicas, gauges)


def _told(
    layout: Layout, counts: list[list[int]], sums: list[float], pod: int | None = None
) -> tuple[dict[str, float], dict[str, Histogram]]:
    """Counters and histograms of a role, or of one of its pods."""
    counters: dict[str, float] = {}
    histograms: dict[str, Histogram] = {}
    for one in layout.families:
        if pod is not None and not one.apart:
            continue
        row = layout.starts[one.name] + (pod or 0)
        block, total = counts[row], sums[row]
        if one.apart and pod is None:
            rows = slice(row, row + layout.pods)
            block, total = [sum(column) for column in zip(*counts[rows], strict=True)], sum(sums[rows])
        if one.bounds:
            values = tuple([count * one.each for count in block[: len(one.bounds) + 1]])
            histograms[one.name] = Histogram(one.bounds, values, total)
        if one.name == OUTCOMES:
            counters["requests"] = float(sum(block))
        for name, (columns, each) in one.counters.items():
            counters[name] = each * sum([block[column] for column in columns])
    return counters, histograms


def foreseen(layout: Layout, drawn: Drawn, role: Role, times: Sequence[float]) -> Foreseen:
    """What ``role`` will have counted at each of ``times``, as :func:`told` has it."""
    place = ROLES.index(role)
    counts = layout.read(drawn.counts[:, place], drawn.sums[:, place], drawn.gauges[:, place])
    counters = {name: column.tolist() for name, column in counts.counters.items()}
    return Foreseen(times, told(layout, drawn, role, times[0]), counters, counts.table[:, len(counters) :])
