"""Records what the stable build counts, replica by replica, without any rollout."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pytest_canary.command.made import plan_of
from pytest_canary.command.place import Place
from pytest_canary.command.say import say
from pytest_canary.command.stable import Stable, stable_of
from pytest_canary.errors import Exit, NoData, UsageError
from pytest_canary.ports import Role
from pytest_canary.recording import Poll, Recording
from pytest_canary.spec import units

SAY_SECONDS = 600.0
SILENT = 12
"""Polls without an answer, one after the other, after which nobody is there any more."""


def record(place: Place, given: argparse.Namespace) -> int:
    """Poll the stable build for a while; what was counted is in the file whenever it ends."""
    seconds, every = _seconds(given.duration, "--for"), _seconds(given.every, "--every") if given.every else 0.0
    plan = plan_of(place)
    path = Path(given.to) if given.to else _path(place)
    if path.exists():
        raise UsageError(f"{path}: is there already; name another file with --to")
    with stable_of(place, "record") as stable:
        first = stable.sample()
        every = every or max(plan.poll_seconds, stable.source.interval_seconds or 0.0)
        recording = Recording(path)
        recording.begin(plan, "record", stable.clock.now(), stable.clock.wall())
        say(f"{place}: records {len(first.replicas)} replicas every {every:g} s into {path}; Ctrl-C ends it")
        polls = _poll(stable, recording, seconds, every)
    say(f"{path}: {polls} polls; type `{place.command('calibrate')} --from {path}`")
    return Exit.PROMOTED


def _poll(stable: Stable, recording: Recording, seconds: float, every: float) -> int:
    """Until the time is up or somebody ends it; returns how many polls were written."""
    clock, polls, silent = stable.clock, 0, 0
    began = said = clock.now()
    try:
        while clock.now() - began <= seconds:
            due = clock.now() + every
            try:
                sample, silent = stable.sample(), 0
            except NoData as error:
                silent += 1
                if silent >= SILENT:
                    raise NoData(f"{error}; {polls} polls are in {recording.path}") from error
            else:
                recording.write_sample(clock.now(), -1, {Role.BASELINE: sample}, Poll.BASELINE)
                polls += 1
            if clock.now() - said >= SAY_SECONDS:
                said = clock.now()
                say(f"  ... {polls} polls, {(said - began) / 60:.0f} min")
            clock.sleep(due - clock.now())
    except KeyboardInterrupt:
        say("ended; what was counted until now is in the file")
    return polls


def _path(place: Place) -> Path:
    when = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return place.state / "recordings" / f"stable-{when}.jsonl"


def _seconds(text: str, option: str) -> float:
    try:
        return units.duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: found {text!r}, expected {error}") from None
