"""The stable build of a target as its metric source counts it, while nothing is rolled out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pytest_canary import world as worlds
from pytest_canary.command.place import Place
from pytest_canary.errors import CanaryError, NoData, UsageError
from pytest_canary.ports import Role, Sample, Shared, World


class Stable:
    """Whom to ask about the stable build; it is looked at and not touched."""

    def __init__(self, place: Place, world: World) -> None:
        self._place, self._world, self._begun = place, world, False
        self.clock = world.clock

    @property
    def source(self) -> Any:
        """The metric source, and whatever else it can do."""
        return self._world.source

    def sample(self) -> Sample:
        """What it has counted until now, replica by replica.

        Raises:
            NoData: the source does not answer, or knows nothing of it; AdapterError: it does not run; UsageError: it
                is not counted by replica.

        """
        self._begin()
        found: Sample | None = self.source.poll([Role.BASELINE]).get(Role.BASELINE)
        if found is None:
            raise NoData("nothing runs here before a run, so there is no stable build to ask about")
        if not found.replicas:
            raise UsageError(
                "the metrics source does not count by replica, so no replica can play the canary; use prometheus or "
                "scrape, with a profile that names `replica`"
            )
        return found

    def _begin(self) -> None:
        """Take hold of what an earlier run has left serving, and tell the source whose series are the stable build's.

        Where nothing serves between runs, the target itself says which series are whose.
        """
        if self._begun:
            return
        facts = self._place.ledger().read()
        for adapter in self._world.adapters if facts else ():
            adapter.recover(facts)
        if self._world.platform.lasting:
            stable = self._world.platform.stable()
            self._world.router.attach(Role.BASELINE, stable, self._world.platform.address(stable))
        self._begun = True


@contextmanager
def stable_of(place: Place, verb: str) -> Iterator[Stable]:
    """The stable build of ``place``, and at the end nobody is asked any more."""
    clock = worlds.clock_of(place.spec)
    shared = Shared(place.spec.service, clock, place.state, place.spec.folder, run=verb)
    world = worlds.connect(place.spec, shared, place.answer)
    try:
        yield Stable(place, world)
    finally:
        _let_go(world)


def _let_go(world: World) -> None:
    for adapter in world.adapters if world.platform.lasting else (world.source,):
        with suppress(CanaryError):
            adapter.stop()
    with suppress(CanaryError):
        world.probe.close()
