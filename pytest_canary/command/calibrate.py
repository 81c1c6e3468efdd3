"""Measures a plan's false rollbacks on the stable build's own history, and writes what keeps them rare."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from math import inf
from typing import TYPE_CHECKING, Any

from pytest_canary import calibrated
from pytest_canary.command.made import plan_of
from pytest_canary.command.place import Place
from pytest_canary.command.say import complain, say
from pytest_canary.errors import Exit, NoData, UsageError
from pytest_canary.plan import Plan, calibration_file, stages_digest
from pytest_canary.spec import units
from pytest_canary.world import clock_of

if TYPE_CHECKING:  # numpy loads when something is calibrated, not with every command
    from pytest_canary.command.past import Past

FEWEST = 20
"""Plays below which a rate cannot be told."""


def calibrate(place: Place, given: argparse.Namespace) -> int:
    """Play pseudo-canaries through the plan, print what they met, and write the file that runs use."""
    from pytest_canary import calibration
    from pytest_canary.command.told import lines_of

    entry = place.spec.document.calibration
    if not entry.used:
        where = place.spec.where("calibration")
        raise UsageError(f"{where}: `calibration` is off, so no run would use what is measured; take it out")
    asked = calibration.Asked(given.plays, _share(given.allowed), given.seed)
    if not 0 < given.hours < inf:
        raise UsageError(f"--hours: found {given.hours:g}, expected a number above 0")
    if given.seed < 0:
        raise UsageError(f"--seed: found {given.seed}, expected a whole number, 0 or more")
    if given.plays < FEWEST:
        raise UsageError(f"--plays: found {given.plays}, expected at least {FEWEST}; fewer say nothing about a rate")
    plan = plan_of(place)
    if not plan.gates:
        raise UsageError(f"{place.spec.where('gates')}: no gate is declared, so there is nothing to calibrate")
    path = calibration_file(place.spec)
    if not given.dry_run:
        calibrated.writable(path)
    try:
        past = _past(place, plan, given)
    except NoData as error:
        return complain(error, Exit.ROLLED_BACK)
    many = past.history.replicas
    said = f"{_hours(past.history.seconds)} of {many} replica{'' if many == 1 else 's'} ({past.source})"
    say(f"{place}: plays {asked.plays} pseudo-canaries on {said}")
    result = calibration.calibrate(plan, past.history, asked, lambda what: say(f"  ... {what}"))
    doubts = calibration.doubts_of(past.history, result.cast, plan.gates)
    stages = stages_digest(place.spec, plan.stages)
    file = calibration.as_file(
        result.found, result.before, result.after, at=clock_of(place.spec).wall(), of=said, stages=stages, doubts=doubts
    )
    if given.json:
        say(json.dumps({"service": plan.service, "target": plan.target, **_told(file, result)}, indent=1))
    else:
        for line in (*lines_of(result, past.history), *(f"doubt: {doubt}" for doubt in doubts)):
            say(line)
    if given.dry_run:
        say("nothing was written (--dry-run)")
        return Exit.PROMOTED
    calibrated.write(path, place.spec.target, file)
    say(f"written to {os.path.relpath(path)}; runs use it for {entry.max_age / 86400:g} days")
    return Exit.PROMOTED


def _past(place: Place, plan: Plan, given: argparse.Namespace) -> Past:
    from pytest_canary.command.past import Past, from_recordings, from_source

    files = [file for each in given.recordings for file in each]
    past = from_recordings(files, plan) if files else from_source(place, plan, given.hours)
    times = max(round(plan.poll_seconds / past.history.step_seconds), 1)
    return Past(past.history.coarser(times), past.source)


def _told(file: calibrated.Calibration, result: Any) -> dict[str, Any]:
    caught = {
        one.gate.name: {
            "times": one.after.times,
            "caught": one.after.caught,
            "exposed": one.after.exposed,
            "exposed_before": one.before.exposed,
        }
        for one in result.found
    }
    return {**asdict(file), "injected": caught}


def _hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _share(text: str) -> float:
    try:
        return units.share(text)
    except ValueError as error:
        raise UsageError(f"--allowed: found {text!r}, expected {error}") from None
