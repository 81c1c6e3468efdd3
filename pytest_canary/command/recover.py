"""Put right what a killed run left."""

from __future__ import annotations

import argparse

from pytest_canary.command.facts import Told, told
from pytest_canary.command.place import Hand, Place, Ticker
from pytest_canary.command.say import say
from pytest_canary.errors import CanaryError, Exit, LedgerError, NotRestored, UsageError
from pytest_canary.outcome import End
from pytest_canary.report import history
from pytest_canary.steps.restore import Unfinished, restore, untold

BY = "pytest-canary recover"


def recover(place: Place, given: argparse.Namespace) -> int:
    """Give the stable build all traffic, remove the canary, and stop the world unless it is kept.  Safe to repeat."""
    del given
    with place.held("recover") as hand:
        now = told(hand.facts())
        if now.left is not None:
            say(f"{place}: {heal(hand, now.left, BY)}")
        elif hand.lasting and (left := untold(strays := hand.world().platform.strays())):
            say(f"{place}: no fact tells of {', '.join(map(str, strays))}, which runs all the same")
            say(f"  {heal(hand, left, BY)}")
        elif now.serves or not now.run:
            say(f"{place}: nothing to recover" + (f"; it goes on serving {now.stable or ''}" if now.serves else ""))
        else:
            say(f"{place}: nothing to recover; {remembered(hand, now, BY)}")
        if hand.facts() and not now.keep:
            hand.stop_world()  # a kill can come after the end of a run and before its world has stopped
        elif now.left is not None and not hand.lasting:
            say(f"  it goes on serving; to stop it: {place.command('down')}")
    return Exit.PROMOTED


def heal(hand: Hand, left: Unfinished, by: str, *, by_hand: bool = True) -> str:
    """Restore, write that it is settled and ``by`` whom, and say what was done.

    Raises:
        NotRestored: it could not be put right; the text says what to look at and what to type.

    """
    place = hand.place
    try:
        restored = restore(hand.world(), left, place.spec.document.drain_timeout, Ticker(), by_hand=by_hand)
    except UsageError:
        raise
    except CanaryError as error:
        look = f"look at {place.spec.document.runbook}, " if place.spec.document.runbook else ""
        raise NotRestored(
            f"{place}: run {left.run} ({left.image}) could not be put right: {error}; {look}"
            f"type `{place.command('recover')}` again, {_else(hand)}"
        ) from error
    end = End.PROMOTED if restored.promoted else End.ROLLED_BACK
    try:
        hand.note("settled", run=left.run, end=end, by=by, stable=restored.stable.to_data())
        history.put_right(place.state, restored, by, hand.clock.wall())
    except (LedgerError, OSError) as error:  # what is not written down is done again by the next who looks
        return f"{restored}; it could not be written down: {error}"
    return str(restored)


def _else(hand: Hand) -> str:
    """What else there is to do."""
    if hand.lasting:
        return "or put it back by hand: docs/on-call.md"
    return f"or take the whole world down with `{hand.place.command('down')}`"


def remembered(hand: Hand, now: Told, by: str) -> str:
    """See that history knows how the run ended, which may have died between its end and its last line; say the end."""
    state = hand.place.state
    if now.end and all(line.run != now.run for line in history.read(state)):
        why = f"{now.why or now.end} (the run died before its report was written; found by {by})"
        at = hand.clock.wall()
        history.add(state, history.Remembered(now.run, now.end, why, at, now.image, "", (), now.stable, now.canary))
    return f"run {now.run} {now.end}"
