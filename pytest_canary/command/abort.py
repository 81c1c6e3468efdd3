"""Cut a live run from another terminal."""

from __future__ import annotations

import argparse
import os
import time

from pytest_canary.command.facts import told
from pytest_canary.command.place import Place
from pytest_canary.command.say import complain, say
from pytest_canary.errors import Exit
from pytest_canary.outcome import End
from pytest_canary.report import history

FILE = "abort"
"""The run's watcher looks for this name in the state folder, several times a second."""
LOOK_SECONDS = 0.1


def abort(place: Place, given: argparse.Namespace) -> int:
    """Ask the run to cut and roll back, wait until it has, and print how it ended."""
    ledger = place.ledger()
    holder = ledger.holder()
    if not holder:
        return _nobody(place)
    if not place.state.is_dir():
        return complain(
            f"{place}: {holder} was started elsewhere, from another checkout or machine; "
            f"type `{place.command('abort')}` there, or "
            "end its process: it rolls back",
            Exit.USAGE,
        )
    remembered = len(history.read(place.state))
    path = place.state / FILE
    wish(place, f"aborted by hand ({given.reason or 'no reason given'})")
    say(f"{place}: asked {holder} to cut its canary and roll back, waiting at most {given.wait:g} s")
    until = time.monotonic() + given.wait
    while ledger.holder():
        if time.monotonic() >= until:
            return complain(
                f"{place}: {holder} has not ended after {given.wait:g} s; the wish stands in {path} and is followed as "
                f"soon as it can be; see `{place.command('status')}`, or end the process and type "
                f"`{place.command('recover')}`",
                Exit.ROLLED_BACK,
            )
        time.sleep(LOOK_SECONDS)
    path.unlink(missing_ok=True)
    return _ended(place, remembered)


def wish(place: Place, reason: str) -> None:
    """Ask the run that is alive to cut and roll back; aside and renamed: who finds the file finds the reason in it."""
    path = place.state / FILE
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(" ".join(reason.split()) + "\n", encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _nobody(place: Place) -> int:
    left = told(place.ledger().read()).left
    if left is None:
        say(f"{place}: nobody runs, there is nothing to abort")
        return Exit.PROMOTED
    return complain(
        f"{place}: nobody runs, but run {left.run} ({left.image}) has not ended and its canary may still have "
        f"traffic; type `{place.command('recover')}`",
        Exit.NOT_RESTORED,
    )


def _ended(place: Place, remembered: int) -> int:
    new = history.read(place.state)[remembered:]
    if told(place.ledger().read()).left is not None:
        return _nobody(place)
    if not new:
        say(f"{place}: the run ended before any user met its canary")
        return Exit.PROMOTED
    last = new[-1]
    line = f"{place}: {last.image} {last.end}: {last.why}" + (f" (report: {last.report})" if last.report else "")
    if last.end == End.NOT_RESTORED:
        return complain(f"{line}; type `{place.command('recover')}`", Exit.NOT_RESTORED)
    if last.end == End.PROMOTED:
        return complain(f"{line}; too late to abort, to go back: {_revert(place)}", Exit.ROLLED_BACK)
    say(line)
    return Exit.PROMOTED


def _revert(place: Place) -> str:
    return f"`{place.command('revert').replace('revert', f'revert {place.spec.service}', 1)}`"
