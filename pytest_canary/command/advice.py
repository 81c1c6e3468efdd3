"""``pytest-canary power --catch 'error_rate x2' --within 30m``: the stages that do it with the fewest users."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, inf

from pytest_canary.command.place import Place
from pytest_canary.command.say import say
from pytest_canary.command.written import PATIENCE, listed, snippet, written
from pytest_canary.errors import Exit, UsageError
from pytest_canary.gates import Action, Gate
from pytest_canary.power.advice import SURE
from pytest_canary.power.cells import Cell, Progress, Setting, played
from pytest_canary.power.ended import How
from pytest_canary.power.ladders import SHARES, Ladder, Search, Step
from pytest_canary.power.summary import Line, line_of
from pytest_canary.verdict import share_alpha

WITHIN = 1800.0
SURER = (SURE, 0.95, 0.98, 0.995)
"""How surely the closed form has to find it, step by step, where the simulation finds it less often than expected."""
MORE = (1.0, 1.25, 1.6, 2.0)
"""So many times the traffic that the closed form asks for is tried."""
NEAR = 4 / 3
"""The closed form holds for sizes from so many times the limit on: nearer to it, a gate doubts whether it is worse."""
_CATCH = re.compile(r"(?P<gate>[\w.]+)\s*[x×*]\s*(?P<size>\d+(?:\.\d+)?)")
_TIME = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|min|m|h)?")
_UNITS: Mapping[str, float] = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

With = Callable[[str], Setting]
"""The setting of the same rollout with other ``stages``, written as YAML."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the simulation says of some stages."""

    stages: tuple[str, ...]
    """As they are written; none for those of the file."""
    line: Line
    in_time: float
    """Share of the rollouts that were stopped within the time."""
    users: float
    """Who meet it, on average."""

    @property
    def does(self) -> bool:
        """Whether that is often enough."""
        return self.in_time >= SURE

    def __str__(self) -> str:
        line = self.line
        minutes = "" if line.minutes_median is None else f", after {line.minutes_median:.1f} min (median)"
        return (
            f"stopped in time in {100 * self.in_time:.1f} % of {line.started} rollouts{minutes}; "
            f"{line.exposed_median:,.0f} users meet it (median), nine in ten times at most {line.exposed_p90:,.0f}"
            + (f"; {absent:,} of {line.rollouts:,} do not start" if (absent := line.rollouts - line.started) else "")
        )


def advise(place: Place, setting: Setting, of: With, given: argparse.Namespace, progress: Progress) -> int:
    """Find stages, check them by simulation, and print what to write; exit status 1 where nothing will do."""
    gate, size = _wanted(given.catch, setting)
    within = _seconds(given.within)
    cell = Cell(gate.name, size)
    search = Search(gate, setting.scene.traffic, size, within - setting.plan.poll_seconds, setting.plan.stages)

    def check(setting: Setting, stages: tuple[str, ...] = ()) -> Found:
        return _checked(setting, stages, cell, within, progress, given.workers)

    def tried(ladder: Ladder) -> Found:
        stages = written(ladder, place.spec)
        return check(of(listed(stages)), stages)

    say(f"{cell} is to be stopped nine times in ten within {within / 60:g} min, at {search.traffic.rate:g} requests/s")
    if setting.plan.calibration:
        say(f"calibration: {setting.plan.calibration}")
    now = check(setting)
    say(f"as it is: {now}")
    limit = gate.limits.ratio
    if limit is not None and size <= limit:
        say(f"{gate.name} allows {limit:g}x: a build that is x{size:g} passes, whatever its stages are")
        return Exit.ROLLED_BACK
    best, missed = _best(search, tried)
    if (best is None and now.does) or (best is not None and now.does and now.users <= best.users):
        say("no other stages do it with fewer users: nothing has to be written")
        return Exit.PROMOTED
    if best is not None:
        say(f"with fewest users: {best}")
        say(f"a good build then: {_good(of(listed(best.stages)), progress, given.workers)}")
        for text in snippet(place, best.stages):
            say(text)
        return Exit.PROMOTED
    for text in _never(search, within, setting, missed, check, limit):
        say(text)
    return Exit.ROLLED_BACK


def _best(search: Search, tried: Callable[[Ladder], Found]) -> tuple[Found | None, Found | None]:
    """The ladder that the simulation confirms with the fewest users; else None, and the best that it does not."""
    missed: Found | None = None
    if not search.known:
        for share in (one for one in search.shares() if one >= SHARES[0]):
            found = tried(Ladder((Step(share, ceil(search.within), 1),), inf))
            if found.does:
                return found, None
            missed = found if missed is None or found.in_time > missed.in_time else missed
        return None, missed
    near = search.gate.limits.ratio is not None and search.size < NEAR * search.gate.limits.ratio
    for sure in SURER[-1:] if near else SURER:  # the formula promises too much near the limit: one try is enough
        asked = [search.best(sure), *([] if near else [search.best(sure, most=1)])]
        ladders = {one.steps: one for one in asked if one is not None}
        if not ladders:
            break
        all_found = [tried(one) for one in ladders.values()]
        if doing := [one for one in all_found if one.does]:
            return min(doing, key=lambda one: one.users), None
        missed = max([*all_found, *([missed] if missed else [])], key=lambda one: one.in_time)
    return None, missed


def _good(setting: Setting, progress: Progress, workers: int | None) -> str:
    """What the stages mean for those who ship a build that is no worse."""
    setting = replace(setting, rollouts=setting.each)
    line = line_of(Cell(), played(setting, [Cell()], progress, workers)[Cell()], setting.plan)
    minutes = line.minutes_median
    takes = "never promoted" if minutes is None else f"promoted after {minutes:.1f} min (median)"
    return f"{takes}, rolled back in {100 * line.stopped:.1f} % of {line.started} rollouts"


def _checked(
    setting: Setting, stages: tuple[str, ...], cell: Cell, within: float, progress: Progress, workers: int | None
) -> Found:
    ended = played(setting, [cell], progress, workers)[cell]
    began = ended.how != How.NOT_STARTED
    timely = ended.stopped & began & (ended.seconds <= within)
    number = max(int(began.sum()), 1)
    users = float(ended.exposed[began].mean()) if began.any() else inf
    return Found(stages, line_of(cell, ended, setting.plan), float(timely.sum()) / number, users)


def _never(
    search: Search, within: float, setting: Setting, missed: Found | None, check: Callable[..., Found],
    limit: float | None,
) -> Iterator[str]:  # fmt: skip
    """What to say where no stages of the grid do it: how near they come, and what traffic would."""
    rate, minutes = search.traffic.rate, within / 60
    if missed is not None:
        yield f"no stages do it: the best, {listed(missed.stages)}, are {missed}"
    if limit is not None and search.size < NEAR * limit:
        yield (
            f"x{search.size:g} is near the limit of {limit:g}x, so that a gate rightly doubts whether it is worse; "
            f"from x{NEAR * limit:g} on it is surer, or write `{search.gate.name}: {{ratio: ...}}` below {limit:g}"
        )
        return
    share, seconds = search.soonest()
    if seconds == inf:
        yield f"nothing is known in advance of {search.gate.name}; try sizes with `--gate {search.gate.name}`"
        return
    if missed is None:
        yield (
            f"no share of {rate:g} requests/s finds it in {minutes:g} min: {100 * share:g} % of the traffic takes "
            f"{seconds / 60:,.0f} min ({seconds * rate * share:,.0f} canary requests)"
        )
    yield _wanting(search, setting, check)


def _wanting(search: Search, setting: Setting, check: Callable[..., Found]) -> str:
    """The traffic at which a first stage would do it, tried by simulation."""
    least = max(search.traffic_needed(), search.traffic.rate)
    for factor in MORE:
        traffic = replace(search.traffic, rate=least * factor)
        ladder = replace(search, traffic=traffic).best(most=1)
        if ladder is None or traffic.rate <= search.traffic.rate:
            continue
        scene = replace(setting.scene, traffic=traffic)
        own = setting.plan.stages[0]
        step = ladder.steps[0]
        first = replace(
            own, weight=step.share, hold_seconds=step.seconds, min_requests=step.requests,
            deadline_seconds=None if own.deadline_seconds is None else PATIENCE * step.seconds,
        )  # fmt: skip
        later = (stage for stage in setting.plan.stages if stage.weight > step.share)
        stages = tuple(replace(stage, index=index) for index, stage in enumerate([first, *later]))
        found = check(replace(setting, scene=scene, plan=replace(setting.plan, stages=stages)))
        if found.does:
            return (
                f"it would take about {traffic.rate:,.0f} requests/s: {100 * step.share:g} % of them for "
                f"{step.seconds:.0f} s, {found}"
            )
    return f"it would take more than {least * MORE[-1]:,.0f} requests/s, or a longer `--within`"


def _wanted(text: str | None, setting: Setting) -> tuple[Gate, float]:
    gates = {gate.name: gate for gate in share_alpha(setting.plan.gates) if not gate.metric.probed}
    found = _CATCH.fullmatch((text or "").strip())
    if found is None or found["gate"] not in gates or float(found["size"]) <= 1:
        told = f"--catch {text!r}" if text is not None else "--within alone"
        raise UsageError(
            f"{told}: expected `--catch` with a gate ({', '.join(gates)}) and how many times worse, such as "
            f"'{next(iter(gates))} x2'"
        )
    gate = gates[found["gate"]]
    if gate.action is not Action.ROLLBACK:
        raise UsageError(
            f"--catch {text!r}: {gate.name} only alerts, it stops no build; leave its `action` out to let it stop one"
        )
    return gate, float(found["size"])


def _seconds(text: str | None) -> float:
    if text is None:
        return WITHIN
    found = _TIME.fullmatch(text.strip())
    if found is None or not float(found["number"]):
        raise UsageError(f"--within {text!r}: expected a time such as 30m")
    return float(found["number"]) * _UNITS[found["unit"] or "s"]
