"""The stable build of a target as its metric source counts it, while nothing is rolled out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pytest_canary import world as worlds
from pytest_canary.command.place import Place
from pytest_canary.errors import CanaryError, NoData, UsageError
from pytest_canary.ports import Clock, Role, Sample, Shared, World


@dataclass(frozen=True, slots=True)
class Stable:
    """Whom to ask about the stable build."""

    source: Any
    """A metric source, and whatever else it can do."""
    clock: Clock

    def sample(self) -> Sample:
        """What it has counted until now, replica by replica.

        Raises:
            NoData: the source does not answer, or knows nothing of it; UsageError: it does not count by replica.

        """
        found: Sample | None = self.source.poll([Role.BASELINE]).get(Role.BASELINE)
        if found is None:
            raise NoData("nothing runs here before a run, so there is no stable build to ask about")
        if not found.replicas:
            raise UsageError(
                "the metrics source does not count by replica, so no replica can play the canary; use prometheus or "
                "scrape, with a profile that names `replica`"
            )
        return found


@contextmanager
def stable_of(place: Place, verb: str) -> Iterator[Stable]:
    """The stable build of ``place``, to be looked at and not touched."""
    clock = worlds.clock_of(place.spec)
    shared = Shared(place.spec.service, clock, place.state, place.spec.folder, run=verb)
    world = worlds.connect(place.spec, shared, place.answer)
    try:
        if world.platform.lasting:  # elsewhere a target says itself which series are whose
            stable = world.platform.stable()
            world.router.attach(Role.BASELINE, stable, world.platform.address(stable))
        yield Stable(world.source, clock)
    finally:
        _let_go(world)


def _let_go(world: World) -> None:
    for adapter in world.adapters if world.platform.lasting else (world.source,):
        with suppress(CanaryError):
            adapter.stop()
    with suppress(CanaryError):
        world.probe.close()
