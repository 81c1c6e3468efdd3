"""Put right what a dead run left, from its facts and the ports alone; may itself be killed and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_canary.errors import NotRestored
from pytest_canary.ports import Fact, Revision, Role, World
from pytest_canary.steps.deploy import Tick
from pytest_canary.steps.rollback import Drained, cut, drain, revive, silent

OWN_KINDS = frozenset({"run", "pins", "deploy", "weights", "promoting", "retire", "settled", "unsettled"})
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


def untold(strays: Sequence[Revision]) -> Unfinished | None:
    """Return the run that must have started ``strays``, of which no fact tells; None where there are none."""
    canary = next((each for each in strays if not each.copy), None)
    control = next((each for each in strays if each.copy), None)
    return Unfinished("that nobody knows of", strays[0].image, True, None, canary, control) if strays else None


def kept(facts: Sequence[Fact]) -> bool:
    """Whether a world was left serving on purpose, by the last run that ``facts`` tell of."""
    runs = [fact for fact in facts if fact.kind == "run"]
    return bool(runs and runs[-1].data.get("keep")) and any(fact.kind == "settled" for fact in facts)


def restore(world: World, left: Unfinished, drain_seconds: float, tick: Tick, *, by_hand: bool = False) -> Restored:
    """Give the stable build all traffic, drain and remove whatever else the dead run had started.

    The adapters must have recovered already.  The ``stable`` fact is the point of no return of a promotion: before it
    the old build is put back, after it the new one stays.  What somebody else has put in the stable place meanwhile is
    taken only ``by_hand``.

    Raises:
        NotRestored: the canary answers, and what stands in the stable place is neither build.

    """
    world.router.start()
    if left.canary is not None and world.platform.stable().key == left.canary.key:
        # It died between the hand-over and the end of the old build, which may still be answering.
        drain(world.router, Role.BASELINE, world.clock, drain_seconds, tick)
    stable = revive(world)
    if not by_hand:
        _must_be_known(world, left, stable)
    cut(world.router, world.clock)
    drained = drain(world.router, Role.CANARY, world.clock, drain_seconds, tick)
    world.router.detach(Role.CANARY)
    if left.control is not None:
        drain(world.router, Role.CONTROL, world.clock, drain_seconds, tick)
        world.router.detach(Role.CONTROL)
    others = tuple(r for r in (left.canary, left.control, left.stable) if r is not None and r.key != stable.key)
    for revision in others:
        world.platform.remove(revision)
    return Restored(left, stable, others, drained)


def _must_be_known(world: World, left: Unfinished, stable: Revision) -> None:
    known = {one.pin for one in (left.stable, left.canary) if one is not None}
    if left.stable is None or left.canary is None or stable.pin in known or silent(world.platform, left.canary):
        return
    raise NotRestored(
        f"somebody else has let {stable} run in the stable place, which nobody has seen serve; {left.canary} keeps its "
        "traffic: put back what was there, or type `pytest-canary recover` to give all traffic to what is there now"
    )
