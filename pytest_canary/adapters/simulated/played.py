"""What a scene counts, as a metric source: the draws of one rollout, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, Protocol

from pytest_canary.ports import Asked, Clock, Fact, Histogram, Revision, Role, Sample, Shared
from pytest_canary.simulation.draws import ROLES, Drawn, Draws, Part
from pytest_canary.simulation.layout import Counts
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
            told = self._draws.read(self._counted, asked)
            return {role: self._sample(role, counts) for role, counts in told.items()}

    def _count(self) -> None:
        """Let everything happen that has happened until now, at the shares of that time."""
        now, state = self._clock.now(), self._stage.state
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

    def _look_who_is_there(self) -> None:
        """New processes are cold, and count from nothing."""
        places = self._stage.state.places
        for role, revision in places.items():
            self._first = self._first or revision.pin
            before = self._who.get(role)
            if before != revision.key:
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

    def _sample(self, role: Role, counts: Counts) -> Sample:
        replicas = {
            f"{role}-{number}": _sample(self._until, pod)
            for number, pod in enumerate(counts.pods)
            if pod.counters["requests"][0]
        }
        return _sample(self._until, counts, replicas)


def _sample(at: float, counts: Counts, replicas: Mapping[str, Sample] | None = None) -> Sample:
    return Sample(
        at,
        {name: float(count[0]) for name, count in counts.counters.items()},
        {
            name: Histogram(told.bounds, tuple(told.counts[0].tolist()), float(told.total[0]))
            for name, told in counts.histograms.items()
        },
        replicas or {},
        {name: float(value[0]) for name, value in counts.gauges.items()},
    )
