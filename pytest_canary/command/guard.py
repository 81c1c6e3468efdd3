"""Stand beside a run and put things right when it dies; started by the run itself."""

from __future__ import annotations

import argparse
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from pytest_canary import guard as guards
from pytest_canary import world as worlds
from pytest_canary.command.abort import wish
from pytest_canary.command.facts import told
from pytest_canary.command.place import Hand, Place
from pytest_canary.command.recover import heal, remembered
from pytest_canary.command.say import say
from pytest_canary.errors import Busy, CanaryError, Exit, LedgerError
from pytest_canary.ports import Fact, Shared
from pytest_canary.report import history
from pytest_canary.steps.rollback import give_back

TRIES = 5
TRY_SECONDS = 2.0
REMEMBER_SECONDS = 0.5
"""How often the facts are read while the run is alive: its state folder may be gone when they are needed."""


def guard(place: Place, given: argparse.Namespace) -> int:
    """Wait until the run ``given.run`` has ended; if it did not settle, restore, and stop a world that is not kept."""
    spec = place.spec
    clock = worlds.clock_of(spec)
    # What is loaded now need not be found when it is needed: the package may have been replaced by then.
    worlds.connect(spec, Shared(spec.service, clock, place.state, spec.folder, given.run), place.answer, counted=False)
    _log(f"{guards.WATCHING} {given.run} of {place}")
    with ExitStack() as held:
        hands: list[Hand] = []
        known: Sequence[Fact] = ()
        alive, due = _process(given.pid), 0.0

        def take() -> bool:
            nonlocal known, due
            if alive():
                if clock.now() >= due:
                    known, due = _facts(place) or known, clock.now() + REMEMBER_SECONDS
                return False
            try:
                hands.append(held.enter_context(place.held("guard")))
            except Busy as busy:
                return busy.run != given.run and _succeeded(place, given.run)
            return True

        guards.stand(take, lambda: _heard(place), lambda seconds: _silent(place, seconds), given.silent, clock)
        if not hands:
            _log("another run has taken over")
            return Exit.PROMOTED
        _write_again(hands[0], known)
        return _settle(hands[0])


def _process(pid: int) -> Callable[[], bool]:
    """Whether the process that has ``pid`` now is alive, whatever has its pid later; with no pid nobody is."""
    try:
        handle = os.pidfd_open(pid) if pid else -1
    except OSError:
        handle = -1
    return lambda: handle >= 0 and not select.select([handle], [], [], 0)[0]


def _facts(place: Place) -> Sequence[Fact]:
    try:
        return tuple(place.ledger().read())
    except LedgerError:
        return ()


def _write_again(hand: Hand, known: Sequence[Fact]) -> None:
    """Put back the facts that were there while the run was alive, where its ledger was emptied or taken away since."""
    try:
        lost = not hand.facts() and bool(known)
    except LedgerError:
        lost = bool(known)
        if lost:
            hand.end_chapter()
    if lost:
        _log("the ledger was emptied or damaged, going by what it said before")
        for fact in known:
            hand.note(fact.kind, **fact.data)


def _succeeded(place: Place, run: str) -> bool:
    """Whether a later run has begun, which has put right what ``run`` left and has a guard of its own."""
    return told(place.ledger().read()).run not in ("", run)


def _heard(place: Place) -> object:
    try:
        return place.ledger().holder()
    except LedgerError:
        return None


def _silent(place: Place, seconds: float) -> bool:
    """Nobody watches the canary any more: take its traffic, and leave the rest to the run, should it ever wake up."""
    why = f"the guard heard nothing of the run for {seconds:.0f} s (stopped?)"
    hand = Hand(place, place.ledger(), guards.NAME)
    try:
        left = told(hand.facts()).left
        if left is not None:
            wish(place, why)
            kept = give_back(hand.world(), left.canary)
            _log(f"{why}: {kept or 'all traffic to the stable build'}, and asked it to roll back")
    except (CanaryError, OSError) as error:
        _log(f"{why}: {error}")
        return False
    return True


def _settle(hand: Hand) -> int:
    """Put right what is unfinished, if anything; what fails is tried again."""
    for tried in range(1, TRIES + 1):
        try:
            now = told(hand.facts())
            said = (
                heal(hand, now.left, history.GUARD, by_hand=False) if now.left else remembered(hand, now, history.GUARD)
            )
            if hand.facts() and not now.keep:
                hand.stop_world()
                said += "" if hand.lasting else "; then stopped the target, which was not to be kept"
            _log(said)
            return Exit.PROMOTED
        except CanaryError as error:
            _log(f"try {tried} of {TRIES}: {error}")
            hand.forget_world()
            hand.clock.sleep(TRY_SECONDS)
    return Exit.NOT_RESTORED


def _log(text: object) -> None:
    say(f"{time.strftime('%H:%M:%S')} {text}")
