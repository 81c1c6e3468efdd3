"""An emergency, not a canary: straight back to the last good build, weight first."""

from __future__ import annotations

import argparse
from dataclasses import replace

from pytest_canary.command.facts import told
from pytest_canary.command.place import Hand, Place, Ticker
from pytest_canary.command.recover import heal
from pytest_canary.command.say import say
from pytest_canary.errors import AdapterError, CanaryError, Exit, NotRestored, UsageError
from pytest_canary.ports import Revision, Role, World
from pytest_canary.report import history
from pytest_canary.report.words import duration
from pytest_canary.steps.deploy import wait_ready
from pytest_canary.steps.promote import retire, settle_anew
from pytest_canary.steps.rollback import Drained, drain, give_back, unload


def revert(place: Place, given: argparse.Namespace) -> int:
    """Give all traffic to the build that was good before the present one, then drain and remove the present one."""
    with place.held("revert") as hand:
        now = told(hand.facts())
        if not (now.keep or hand.lasting):
            left = f"; run {now.run} has not ended: `{place.command('recover')}`" if now.left else ""
            raise UsageError(
                f"{place}: nothing serves here that could be reverted; with `keep: true` a world goes on serving{left}"
            )
        if now.left is not None:
            say(f"{place}: {heal(hand, now.left, 'pytest-canary revert')}")
        bad = hand.world().platform.stable()
        good = history.before(place.state, bad.pin) or _before(hand)
        if good is None:
            raise UsageError(
                f"{place}: {bad} serves, and {place.state / history.FILE} knows no good build before it; "
                f"roll out an image that was good: `{place.pytest(f'{place.spec.service}:GOOD')}`"
            )
        _go_back(hand, bad, replace(good, place=""), given.reason or "reverted by hand")
    return Exit.PROMOTED


def _before(hand: Hand) -> Revision | None:
    """What the platform remembers, unless it is what was reverted or rolled back here: that is not gone back to."""
    before = hand.world().platform.previous()
    if before is None or history.rejected(hand.place.state, replace(before, place="").pin):
        return None
    return before


def _go_back(hand: Hand, bad: Revision, good: Revision, reason: str) -> None:
    place, began = hand.place, hand.clock.now()
    hand.note("run", run=hand.run, image=good.image, target=place.spec.target, keep=True)
    hand.note("deploy", canary=good.to_data(), stable=bad.to_data())
    stable = _shift(hand, bad, good, began)
    hand.note("retire", pin=bad.pin)
    try:
        drained = _retire(hand, bad, good, stable)
    except CanaryError as error:
        raise NotRestored(
            f"{place}: {stable} has all the traffic, but {bad} could not be removed: {error}; "
            f"type `{place.command('recover')}`"
        ) from error
    finally:
        history.add(
            place.state,
            history.Remembered(
                hand.run, history.REVERTED, reason, hand.clock.wall(), bad.image, stable=stable, canary=bad
            ),
        )
    hand.note("settled", run=hand.run, end=history.REVERTED, why=reason)
    say(f"  {bad} removed; {drained}")


def _shift(hand: Hand, bad: Revision, good: Revision, began: float) -> Revision:
    """All traffic to ``good``, which is started only when it does not run any more; return what is stable then."""
    place, world, timeout = hand.place, hand.world(), hand.place.spec.document.ready_timeout
    try:
        if not _runs(world, good):
            world.platform.deploy(good)
            world.platform.grow(good, 1.0)
            wait_ready(world.platform, good, hand.clock, timeout, Ticker(f"{bad.image} serves meanwhile"))
        world.router.start()
        world.router.attach(Role.BASELINE, bad, world.platform.address(bad))
        world.router.attach(Role.CANARY, good, world.platform.address(good))
        hand.note("weights", canary=1.0)
        world.router.set_weights({Role.CANARY: 1.0})
        say(f"{place}: {good} has all the traffic, {duration(hand.clock.now() - began)} after you asked")
        if not bad.place:
            stable = world.platform.promote(good)
            hand.note("stable", **stable.to_data())
            return stable
        stable = replace(good, place=bad.place)
        hand.note("stable", **stable.to_data())  # from here on whoever takes over goes on, not back
        return settle_anew(world, good, timeout, Ticker(f"a copy of {good.image} serves meanwhile"))
    except (CanaryError, OSError) as error:
        _stay(hand, good)
        raise NotRestored(f"{place}: {good} could not take over: {error}; {bad} still serves") from error


def _retire(hand: Hand, bad: Revision, good: Revision, stable: Revision) -> Drained:
    """Let go what is not needed any more: the bad build, or the copy that stood in for a stable one started anew."""
    world, timeout = hand.world(), hand.place.spec.document.drain_timeout
    if not bad.place:
        return retire(world, bad, stable, timeout, Ticker())
    drained = drain(world.router, Role.CANARY, world.clock, timeout, Ticker())
    unload(world, Role.CANARY, good)
    return drained


def _stay(hand: Hand, good: Revision) -> None:
    """Leave the present build with all the traffic; what cannot be put right now is left to ``recover``."""
    try:
        if kept := give_back(hand.world(), good):
            raise NotRestored(kept)
        unload(hand.world(), Role.CANARY, good)
        hand.note("settled", run=hand.run, end="not reverted")
    except (CanaryError, OSError) as error:
        say(f"  {error}; type `{hand.place.command('recover')}`")


def _runs(world: World, revision: Revision) -> bool:
    try:
        return world.platform.ready(revision).ready
    except AdapterError:
        return False
