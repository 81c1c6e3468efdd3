"""Weight first, then wait for what is in flight, then remove; every part may be repeated."""

from __future__ import annotations

from dataclasses import dataclass

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from pytest_canary.errors import AdapterError, NotRestored
from pytest_canary.ports import Clock, Platform, Readiness, Revision, Role, Router, World
from pytest_canary.steps.deploy import PACE_SECONDS, Tick

CUT_TRIES = 5
PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Drained:
    """What was in flight when the weight was gone, how long it took to end, and what had to be cut."""

    in_flight: int
    seconds: float
    cut: int
    unknown: str = ""
    """Why the router could not say at the end what was in flight; empty when it could."""

    def __str__(self) -> str:
        if self.unknown:
            return f"the router could not say what was in flight, waited {self.seconds:.1f} s"
        cut = f", {self.cut} cut" if self.cut else ""
        return f"{self.in_flight} in flight, drained in {self.seconds:.1f} s{cut}"


def cut(router: Router, clock: Clock) -> None:
    """Give the baseline all the traffic, now.

    Raises:
        NotRestored: the router refused five times in a row.

    """
    tries = Retrying(
        retry=retry_if_exception_type(AdapterError),
        stop=stop_after_attempt(CUT_TRIES),
        wait=wait_fixed(0.2),
        sleep=clock.sleep,
        reraise=True,
    )
    try:
        tries(router.set_weights, {Role.BASELINE: 1.0})
    except AdapterError as error:
        raise NotRestored(f"the canary's weight could not be set to 0: {error}") from error


def silent(platform: Platform, revision: Revision) -> str:
    """Why no copy of ``revision`` would answer users, in one line; empty while one would, or while nobody can tell."""
    try:
        names = platform.copies(revision)
        now = Readiness(True) if names else platform.ready(revision)
    except AdapterError:
        return ""
    # Where copies have no names, one that is merely late is not gone.
    return "" if now.ready or (names is None and not now.hopeless) else now.why or f"{revision} is not ready"


def unserved(world: World) -> str:
    """Why nobody would answer users at the stable build; empty while somebody would, or while nobody can tell."""
    try:
        return silent(world.platform, world.platform.stable())
    except AdapterError:
        return ""


def shelter(world: World, canary: Revision | None) -> str:
    """Send all users to ``canary`` where nobody answers at the stable build and somebody does there; say why, if so.

    A build that failed a gate answers most of them; a build without copies answers none.
    """
    stable = world.platform.stable()
    why = silent(world.platform, stable)
    if not why or canary is None or silent(world.platform, canary):
        return ""
    world.router.set_weights({Role.CANARY: 1.0})
    return f"nobody answers at {stable}: {why}; {canary} does and has all traffic until somebody looks"


def give_back(world: World, canary: Revision | None) -> str:
    """Give the stable build all traffic, unless users are better off elsewhere: :func:`shelter` says why then.

    Raises:
        NotRestored: the router refused five times in a row.

    """
    try:
        why = shelter(world, canary)
    except AdapterError:  # the platform or the router is silent, which says nothing about the build
        why = ""
    if not why:
        cut(world.router, world.clock)
    return why


def drain(router: Router, role: Role, clock: Clock, seconds: float, tick: Tick) -> Drained:
    """Wait until nothing of ``role`` is in flight, at most ``seconds``; whatever is left then is cut, and counted.

    As long as the router cannot say, something may be in flight.
    """
    start, first = clock.now(), 0
    while True:
        left, unknown = _in_flight(router, role)
        first = max(first, left)
        waited = clock.now() - start
        if waited >= seconds or not (left or unknown):
            return Drained(first, waited, left, unknown)
        number = "an unknown number of" if unknown else left
        tick(f"{number} requests in flight on the {role} to end, {seconds - waited:.0f} s left")
        clock.sleep(PACE_SECONDS / 2)


def _in_flight(router: Router, role: Role) -> tuple[int, str]:
    try:
        return router.in_flight(role), ""
    except AdapterError as error:
        return 0, str(error)


def revive(world: World) -> Revision:
    """Start anew what users depend on and what has died or hangs, the stable build and the router; return that build.

    What lives stays as it is; shares of traffic do not change.
    """
    world.platform.start()
    stable = world.platform.stable()
    world.router.start()
    world.router.attach(Role.BASELINE, stable, world.platform.address(stable))
    return stable


def serves(world: World, stable: Revision) -> None:
    """See that the build that has all the traffic can answer; a moment's silence is forgiven.

    Raises:
        NotRestored: it cannot.

    """
    until = world.clock.now() + PATIENCE_SECONDS
    while not (now := world.platform.ready(stable)).ready:
        if now.hopeless or world.clock.now() >= until:
            raise NotRestored(f"{stable} has all the traffic and cannot answer: {now.why}")
        world.clock.sleep(PACE_SECONDS)


def unload(world: World, role: Role, revision: Revision) -> None:
    """Take the drained ``revision`` out of the router, where it stands for ``role``, and stop it."""
    world.router.detach(role)
    world.platform.remove(revision)
