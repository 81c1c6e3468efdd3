"""Who holds a rollout, what serves, and how the last one ended."""

from __future__ import annotations

import argparse

from pytest_canary.command.facts import Told, told
from pytest_canary.command.place import Place
from pytest_canary.command.say import say
from pytest_canary.errors import Exit
from pytest_canary.report import history


def status(place: Place, given: argparse.Namespace) -> int:
    """Print what the ledger says, without taking the lock."""
    del given
    ledger = place.ledger()
    holder, now = ledger.holder(), told(ledger.read())
    say(f"{place}: " + (f"held by {holder}" if holder else "nobody holds it"))
    for line in _lines(place, now, running=bool(holder)):
        say(f"  {line}")
    earlier = history.read(place.state)
    if earlier:
        last = earlier[-1]
        report = f" (report: {last.report})" if last.report else ""
        say(f"  last: {last.image or last.canary} {last.end} on {last.when}: {last.why}{report}")
    elif not now.run:
        say(f"  nothing was rolled out here yet; facts are kept in {place.state}")
    return Exit.PROMOTED


def _lines(place: Place, now: Told, *, running: bool) -> list[str]:
    guard = [f"guard: {now.guard}"] if now.guard else []
    if now.left is not None and running:
        share = now.weights or "no traffic moved yet"
        return [f"running: {now.run} ships {now.image}; {share}", *guard, f"to end it: {place.command('abort')}"]
    if now.left is not None:
        share = f"; last shares: {now.weights}" if now.weights else ""
        return [
            f"unfinished: {now.run} shipped {now.image} and did not end{share}",
            *guard,
            f"to put it right: {place.command('recover')}",
        ]
    if now.serves:
        build = f" with {now.stable}" if now.stable else ""
        return [f"serving{build} since {now.run} {now.end} (keep)", f"to stop it: {place.command('down')}"]
    return []
