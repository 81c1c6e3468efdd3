"""Bring up the stable world, and the canary beside it at zero traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pytest_canary.errors import AdapterError, NotStarted
from pytest_canary.ports import Clock, Platform, Revision, Role, World

Tick = Callable[[str], None]
"""Called while a step waits, with what is waited for."""

PACE_SECONDS = 0.1


def wait_ready(platform: Platform, revision: Revision, clock: Clock, seconds: float, tick: Tick) -> float:
    """Wait until ``revision`` is ready and return the seconds it took.

    Raises:
        NotStarted: it is not ready after ``seconds``, or can never be.

    """
    start = clock.now()
    while True:
        state = platform.ready(revision)
        waited = clock.now() - start
        if state.ready:
            return waited
        if state.hopeless:
            raise NotStarted(f"{revision.image} did not come up: {state.why}")
        if waited >= seconds:
            raise NotStarted(
                f"{revision.image} is not ready after {seconds:g} s: {state.why}; "
                "mend the build, or raise `ready_timeout`"
            )
        tick(f"{revision.image} to be ready: {state.why or 'starting'}, {seconds - waited:.0f} s left")
        clock.sleep(PACE_SECONDS)


def open_world(world: World) -> Revision:
    """Start whatever the target needs, with 100 % on the stable build, and return that build.

    Raises:
        NotStarted: the stable build or the router did not come up.

    """
    try:
        world.platform.start()
        stable = world.platform.stable()
        world.router.start()
        world.router.attach(Role.BASELINE, stable, world.platform.address(stable))
        world.router.set_weights({Role.BASELINE: 1.0})
        world.source.start()
        if world.users:
            world.users.start()
            world.users.enter(world.router.address())
    except AdapterError as error:
        raise NotStarted(f"the target did not start: {error}") from error
    return stable


def control_of(stable: Revision, canary: Revision) -> Revision:
    """A copy of ``stable``, with as many replicas as ``canary``."""
    change = replace(stable.change, replicas=canary.change.replicas)
    return replace(stable, change=change, copy="control", place="")


def deploy(world: World, role: Role, revision: Revision, ready_seconds: float, tick: Tick) -> float:
    """Start ``revision`` at zero traffic, let it stand for ``role``, and return the seconds until it was ready."""
    try:
        world.platform.deploy(revision)
        seconds = wait_ready(world.platform, revision, world.clock, ready_seconds, tick)
        world.router.attach(role, revision, world.platform.address(revision))
    except AdapterError as error:
        raise NotStarted(f"{revision} could not be deployed: {error}") from error
    return seconds
