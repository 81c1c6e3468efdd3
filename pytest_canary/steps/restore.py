"""Put right what a dead run left, from its facts and the ports alone; may itself be killed and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_canary.ports import Fact, Revision, Role, World
from pytest_canary.steps.deploy import Tick
from pytest_canary.steps.rollback import Drained, cut, drain

OWN_KINDS = frozenset({"run", "deploy", "weights", "retire", "settled", "unsettled"})
"""Facts about one run; all others are the adapters' and hold as long as the world does."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run that ended without settling: what it shipped, and the build that was stable when it began."""

    run: str
    image: str
    keep: bool
    stable: Revision | None
    canary: Revision | None
    control: Revision | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put right."""

    left: Unfinished
    stable: Revision
    removed: tuple[Revision, ...]
    drained: Drained

    @property
    def promoted(self) -> bool:
        """Whether the dead run had already handed over: then its canary is the stable build, and stays so."""
        return self.left.canary is not None and self.stable.pin == self.left.canary.pin

    def __str__(self) -> str:
        gone = ", ".join(map(str, self.removed)) or "nothing else was running"
        return f"run {self.left.run} had not ended: 100 % on {self.stable} again, removed {gone}; {self.drained}"


def unfinished(facts: Sequence[Fact]) -> Unfinished | None:
    """Return the run that ``facts`` tell the beginning of but not the end, if any."""
    begun: Fact | None = None
    stable = canary = control = None
    for fact in facts:
        if fact.kind == "run":
            begun, stable, canary, control = fact, None, None, None
        elif fact.kind == "settled":
            begun = None
        elif fact.kind == "deploy":
            canary = Revision.from_data(fact.data["canary"])
            stable = Revision.from_data(fact.data["stable"])
            control = Revision.from_data(fact.data["control"]) if "control" in fact.data else None
    if begun is None:
        return None
    data = begun.data
    return Unfinished(data.get("run", "?"), data.get("image", "?"), bool(data.get("keep")), stable, canary, control)


def restore(world: World, left: Unfinished, drain_seconds: float, tick: Tick) -> Restored:
    """Give the stable build all traffic, drain and remove whatever else the dead run had started.

    The adapters must have recovered already.  The ``stable`` fact is the point of no return of a promotion: before it
    the old build is put back, after it the new one stays.
    """
    world.platform.start()
    stable = world.platform.stable()
    world.router.start()
    if left.canary is not None and stable.pin == left.canary.pin:
        # It died between the hand-over and the end of the old build, which may still be answering.
        drain(world.router, Role.BASELINE, world.clock, drain_seconds, tick)
    world.router.attach(Role.BASELINE, stable, world.platform.address(stable))
    cut(world.router, world.clock)
    drained = drain(world.router, Role.CANARY, world.clock, drain_seconds, tick)
    world.router.detach(Role.CANARY)
    if left.control is not None:
        drain(world.router, Role.CONTROL, world.clock, drain_seconds, tick)
        world.router.detach(Role.CONTROL)
    others = tuple(r for r in (left.canary, left.control, left.stable) if r is not None and r.pin != stable.pin)
    for revision in others:
        world.platform.remove(revision)
    return Restored(left, stable, others, drained)
