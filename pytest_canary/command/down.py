"""Stop a world that goes on serving."""

from __future__ import annotations

import argparse
from contextlib import suppress

from pytest_canary.command.facts import told
from pytest_canary.command.place import Hand, Place
from pytest_canary.command.say import say
from pytest_canary.errors import CanaryError, Exit, UsageError


def down(place: Place, given: argparse.Namespace) -> int:
    """Stop everything that the facts tell of, and forget it."""
    del given
    with place.held("down") as hand:
        if hand.lasting:
            raise UsageError(
                f"{place}: what runs there serves users and is not ours to stop; to put right what a dead run left: "
                f"`{place.command('recover')}`"
            )
        facts = hand.facts()
        if not facts:
            say(f"{place}: nothing is serving, there is nothing to stop")
            return Exit.PROMOTED
        now = told(facts)
        what = _stable(hand) if now.serves or now.left else ""
        hand.stop_world()
        if now.serves or now.left:
            ended = f"; run {now.run} had not ended" if now.left else ""
            say(f"{place}: stopped {what or 'what was serving'}{ended}; the next run starts the target anew")
        else:
            say(f"{place}: nothing was left serving; run {now.run} {now.end}")
    return Exit.PROMOTED


def _stable(hand: Hand) -> str:
    with suppress(CanaryError):
        return str(hand.world().platform.stable())
    return ""
