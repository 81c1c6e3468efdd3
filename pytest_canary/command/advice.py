"""``pytest-canary power --catch 'error_rate x2' --within 30m``: a first stage that does it with the fewest users."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import replace

from pytest_canary.command.say import say
from pytest_canary.errors import Exit, UsageError
from pytest_canary.gates import Gate
from pytest_canary.power.advice import SURE, First, candidates, never
from pytest_canary.power.cells import Cell, Progress, Setting, played
from pytest_canary.power.summary import Line, line_of
from pytest_canary.verdict import share_alpha

WITHIN = 1800.0
TRIES = 3
MORE = 1.5
"""So many times as many requests where the simulation finds less than the closed form expected."""
_CATCH = re.compile(r"(?P<gate>[\w.]+)\s*[x×*]\s*(?P<size>\d+(?:\.\d+)?)")
_TIME = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|m|h|min)?")
_UNITS: Mapping[str, float] = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def advise(setting: Setting, given: argparse.Namespace, progress: Progress) -> int:
    """Find a first stage, check it by simulation, and print what to write; exit status 1 where nothing will do."""
    gate, size = _wanted(given.catch, setting)
    within = _seconds(given.within)
    cell, traffic = Cell(gate.name, size), setting.scene.traffic
    now = _played(setting, cell, progress, given.workers)
    say(f"{cell} is to be stopped nine times in ten within {within / 60:g} min, at {traffic.rate:g} requests/s")
    say(f"as it is: {_told(now)}")
    limit = gate.limits.ratio
    if limit is not None and size <= limit:
        say(f"{gate.name} allows {limit:g}x: a build that is x{size:g} passes, whatever its stages are")
        return Exit.ROLLED_BACK
    for first in candidates(gate, traffic, size, within):
        found = _checked(setting, first, cell, within, progress, given.workers)
        if found is not None:
            chosen, line = found
            say(f"with fewest users: {_told(line)}")
            say(f"write: stages: [{chosen}, {', '.join(_ladder(chosen, setting))}]")
            return Exit.PROMOTED
    say(never(gate, traffic, size, within))
    return Exit.ROLLED_BACK


def _checked(
    setting: Setting, first: First, cell: Cell, within: float, progress: Progress, workers: int | None
) -> tuple[First, Line] | None:
    """``first``, or one with more requests, that the simulation confirms; None where the time is not enough."""
    for _ in range(TRIES):
        line = _played(replace(setting, plan=first.plan(setting.plan)), cell, progress, workers)
        in_time = line.minutes_p90 is not None and line.minutes_p90 * 60 <= within
        if line.stopped >= SURE and in_time:
            return first, line
        first = First(first.share, round(first.requests * MORE), round(first.seconds * MORE))
        if first.seconds > within:
            return None
    return None


def _played(setting: Setting, cell: Cell, progress: Progress, workers: int | None) -> Line:
    return line_of(cell, played(setting, [cell], progress, workers)[cell], setting.plan)


def _told(line: Line) -> str:
    minutes = "" if line.minutes_median is None else f", after {line.minutes_median:.1f} min (median)"
    return (
        f"stopped in {100 * line.stopped:.1f} % of {line.started} rollouts{minutes}; {line.exposed_median:,.0f} users "
        f"meet it (median), nine in ten times at most {line.exposed_p90:,.0f}"
    )


def _ladder(first: First, setting: Setting) -> list[str]:
    return [f"{100 * stage.weight:g}" for stage in setting.plan.stages if stage.weight > first.share]


def _wanted(text: str | None, setting: Setting) -> tuple[Gate, float]:
    gates = {gate.name: gate for gate in share_alpha(setting.plan.gates) if not gate.metric.probed}
    found = _CATCH.fullmatch((text or "").strip())
    if found is None or found["gate"] not in gates or float(found["size"]) <= 1:
        raise UsageError(
            f"--catch {text!r}: expected a gate and how many times worse, such as '{next(iter(gates))} x2'"
        )
    return gates[found["gate"]], float(found["size"])


def _seconds(text: str | None) -> float:
    if text is None:
        return WITHIN
    found = _TIME.fullmatch(text.strip())
    if found is None or not float(found["number"]):
        raise UsageError(f"--within {text!r}: expected a time such as 30m")
    return float(found["number"]) * _UNITS[found["unit"] or "s"]
