"""Put right what a killed run left."""

from __future__ import annotations

import argparse

from pytest_canary.command.facts import told
from pytest_canary.command.place import Hand, Place, Ticker
from pytest_canary.command.say import say
from pytest_canary.errors import CanaryError, Exit, NotRestored, UsageError
from pytest_canary.outcome import End
from pytest_canary.report import history
from pytest_canary.steps.restore import Unfinished, restore


def recover(place: Place, given: argparse.Namespace) -> int:
    """Give the stable build all traffic, remove the canary, and stop the world unless it is kept.  Safe to repeat."""
    del given
    with place.held("recover") as hand:
        now = told(hand.facts())
        if now.left is not None:
            say(f"{place}: {heal(hand, now.left)}")
        elif now.serves or not now.run:
            say(f"{place}: nothing to recover" + (f"; it goes on serving {now.stable or ''}" if now.serves else ""))
        else:
            say(f"{place}: nothing to recover; run {now.run} {now.end}")
        if hand.facts() and not now.keep:
            hand.stop_world()  # a kill can come after the end of a run and before its world has stopped
        elif now.left is not None:
            say(f"  it goes on serving; to stop it: {place.command('down')}")
    return Exit.PROMOTED


def heal(hand: Hand, left: Unfinished) -> str:
    """Restore, write that it is settled, and say what was done.

    Raises:
        NotRestored: it could not be put right; the text says what to look at and what to type.

    """
    place = hand.place
    try:
        restored = restore(hand.world(), left, place.spec.document.drain_timeout, Ticker())
    except UsageError:
        raise
    except CanaryError as error:
        look = f"look at {place.spec.document.runbook}, " if place.spec.document.runbook else ""
        raise NotRestored(
            f"{place}: run {left.run} ({left.image}) could not be put right: {error}; {look}"
            f"type `{place.command('recover')}` again, or take the whole world down with `{place.command('down')}`"
        ) from error
    by = "pytest-canary recover"
    end = End.PROMOTED if restored.promoted else End.ROLLED_BACK
    hand.note("settled", run=left.run, end=end, by=by, stable=restored.stable.to_data())
    history.put_right(place.state, restored, by, hand.clock.wall())
    return str(restored)
