"""Make the proven canary the stable build, and let the old one finish."""

from __future__ import annotations

from pytest_canary.ports import Revision, Role, World
from pytest_canary.steps.deploy import Tick, wait_ready
from pytest_canary.steps.rollback import Drained, drain


def hand_over(world: World, canary: Revision) -> Revision:
    """Give ``canary`` all traffic, make it the stable revision and let it stand for the baseline from here on."""
    world.router.set_weights({Role.CANARY: 1.0})
    return world.platform.promote(canary)


def settle_anew(world: World, proven: Revision, ready_seconds: float, tick: Tick) -> Revision:
    """Start ``proven``, which has all traffic, anew as the stable build, and give it the traffic; nobody judges it.

    Raises:
        NotStarted: the new processes do not become ready; ``proven`` keeps all traffic.

    """
    drain(world.router, Role.BASELINE, world.clock, ready_seconds, tick)
    stable = world.platform.promote(proven)
    wait_ready(world.platform, stable, world.clock, ready_seconds, tick)
    world.router.attach(Role.BASELINE, stable, world.platform.address(stable))
    world.router.set_weights({Role.BASELINE: 1.0})
    return stable


def retire(world: World, old: Revision, stable: Revision, drain_seconds: float, tick: Tick) -> Drained:
    """Drain the ``old`` build, put ``stable`` in its place and stop the old one.

    ``stable`` serves all along: only the name of its role changes.
    """
    drained = drain(world.router, Role.BASELINE, world.clock, drain_seconds, tick)
    world.router.attach(Role.BASELINE, stable, world.platform.address(stable))
    world.router.set_weights({Role.BASELINE: 1.0})
    world.router.detach(Role.CANARY)
    world.platform.remove(old)
    return drained
