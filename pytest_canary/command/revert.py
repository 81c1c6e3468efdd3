"""An emergency, not a canary: straight back to the last good build, weight first."""

from __future__ import annotations

import argparse

from pytest_canary.command.facts import told
from pytest_canary.command.place import Hand, Place, Ticker
from pytest_canary.command.recover import heal
from pytest_canary.command.say import say
from pytest_canary.errors import AdapterError, CanaryError, Exit, NotRestored, UsageError
from pytest_canary.ports import Revision, Role, World
from pytest_canary.report import history
from pytest_canary.report.words import duration
from pytest_canary.steps.deploy import wait_ready
from pytest_canary.steps.promote import hand_over, retire
from pytest_canary.steps.rollback import cut, unload


def revert(place: Place, given: argparse.Namespace) -> int:
    """Give all traffic to the build that was good before the present one, then drain and remove the present one."""
    with place.held("revert") as hand:
        now = told(hand.facts())
        if not now.keep:
            left = f"; run {now.run} has not ended: `{place.command('recover')}`" if now.left else ""
            raise UsageError(
                f"{place}: nothing serves here that could be reverted; with `keep: true` a world goes on serving{left}"
            )
        if now.left is not None:
            say(f"{place}: {heal(hand, now.left)}")
        bad = hand.world().platform.stable()
        good = history.before(place.state, bad.pin)
        if good is None:
            raise UsageError(
                f"{place}: {bad} serves, and {place.state / history.FILE} knows no good build before it; "
                "roll out an image that was good: `pytest ... --image=...`"
            )
        _go_back(hand, bad, good, given.reason or "reverted by hand")
    return Exit.PROMOTED


def _go_back(hand: Hand, bad: Revision, good: Revision, reason: str) -> None:
    place, world, began = hand.place, hand.world(), hand.clock.now()
    hand.note("run", run=hand.run, image=good.image, target=place.spec.target, keep=True)
    hand.note("deploy", canary=good.to_data(), stable=bad.to_data())
    stable = _shift(hand, bad, good)
    seconds = hand.clock.now() - began
    say(f"{place}: {stable} has all the traffic, {duration(seconds)} after you asked")
    hand.note("retire", pin=bad.pin)
    try:
        drained = retire(world, bad, stable, place.spec.document.drain_timeout, Ticker())
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


def _shift(hand: Hand, bad: Revision, good: Revision) -> Revision:
    """All traffic to ``good``, which is started only when it does not run any more."""
    place, world = hand.place, hand.world()
    try:
        if not _runs(world, good):
            world.platform.deploy(good)
            wait_ready(world.platform, good, hand.clock, place.spec.document.ready_timeout, Ticker())
        world.router.start()
        world.router.attach(Role.CANARY, good, world.platform.address(good))
        hand.note("weights", canary=1.0)
        stable = hand_over(world, good)
        hand.note("stable", **stable.to_data())
        return stable
    except (CanaryError, OSError) as error:
        _stay(hand, good)
        raise NotRestored(f"{place}: {good} could not take over: {error}; {bad} still serves") from error


def _stay(hand: Hand, good: Revision) -> None:
    """Leave the present build with all the traffic; what cannot be put right now is left to ``recover``."""
    try:
        cut(hand.world().router, hand.clock)
        unload(hand.world(), Role.CANARY, good)
        hand.note("settled", run=hand.run, end="not reverted")
    except (CanaryError, OSError) as error:
        say(f"  {error}; type `{hand.place.command('recover')}`")


def _runs(world: World, revision: Revision) -> bool:
    try:
        return world.platform.ready(revision).ready
    except AdapterError:
        return False
