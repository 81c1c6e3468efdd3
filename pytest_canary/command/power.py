"""How often the gates of a rollout stop a good build, and how soon a bad one: ``pytest-canary power``."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pytest_canary.command.advice import advise
from pytest_canary.command.bar import Bar
from pytest_canary.command.marks import Declared, asking_for_stage, declared_in, unread_in
from pytest_canary.command.place import Place
from pytest_canary.command.say import say
from pytest_canary.errors import Exit, UsageError
from pytest_canary.gates import Action
from pytest_canary.plan import Plan, make_plan
from pytest_canary.power.cells import Cell, Setting, played
from pytest_canary.power.prelude import prelude_of, shared_of
from pytest_canary.power.require import Judged, Requirement, parse
from pytest_canary.power.summary import Line, line_of
from pytest_canary.power.table import table
from pytest_canary.power.unplayed import one_by_one, unplayed
from pytest_canary.scenario import scenario_of, simulable
from pytest_canary.spec import Spec, load
from pytest_canary.standin import MADE_UP

MOST, LARGEST = 1_000_000, 1e6
"""Rollouts of one kind, and times worse: what is more was a slip of the finger."""
PICTURES = (".svg", ".html", ".htm")
SIZES = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)


def options(command: argparse.ArgumentParser) -> None:
    """What may be typed."""
    command.add_argument("--rollouts", metavar="N", type=_number, default=1000, help="rollouts of a good build (1000)")
    command.add_argument("--each", metavar="N", type=_number, help="of each worse build (a fifth of that)")
    command.add_argument("--seed", metavar="N", type=_seed, default=1, help="of the first; the others count on (1)")
    command.add_argument("--gate", metavar="NAME", action="append", default=[], help="only this gate's regressions")
    command.add_argument(
        "--sizes", metavar="LIST", type=_sizes, default=SIZES, help="how many times worse (1.2,1.5,2,3,5,10,20)"
    )
    command.add_argument("--workers", metavar="N", type=_number, help="processes; one per core when left out")
    command.add_argument("--json", metavar="FILE", help="write everything there; - is the terminal")
    command.add_argument("--picture", metavar="FILE", help="draw it there, as .svg or .html")
    command.add_argument(
        "--require", metavar="WHAT", action="append", default=[],
        help="'false_rollback<=1%%', 'caught(error_rate x2)>=90%%', 'exposed(error_rate x2)<=600', 'minutes<=40'; the "
        "exit code is 1 where one does not hold",
    )  # fmt: skip
    command.add_argument("--catch", metavar="WHAT", help="advise how to catch 'error_rate x2' ...")
    command.add_argument("--within", metavar="TIME", help="... in so much time (30m)")


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 1 to {MOST:,}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number, 0 or more")
    return int(text)


def _sizes(text: str) -> tuple[float, ...]:
    try:
        sizes = tuple(float(word.strip().lstrip("x")) for word in text.replace(" ", ",").split(",") if word.strip())
    except ValueError:
        sizes = ()
    if not sizes or not all(1 < size <= LARGEST for size in sizes):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected numbers above 1, such as 1.5,2,3")
    return tuple(dict.fromkeys(sizes))


def power(place: Place, given: argparse.Namespace) -> int:
    """Play the rollout many times and print what its gates do; changes nothing."""
    setting, unread = setting_of(place, given.rollouts, given.seed, given.each)
    gates = [gate.name for gate in setting.plan.gates if not gate.metric.probed]
    if not gates:
        raise UsageError(f"{place.spec.where('gates')}: no gate is declared that could be played")
    required = parse(given.require, gates)
    _refuse_unwritable(given)
    if given.catch or given.within:
        _refuse_beside_advice(given)
        with Bar() as bar:
            return advise(place, setting, lambda stages: _with(place, given, stages), given, bar)
    chosen = _chosen(given.gate, gates)
    cells = list(dict.fromkeys([Cell(), *(Cell(gate, size) for gate in chosen for size in given.sizes)]))
    cells += [one.cell for one in required if one.cell not in cells]
    quiet = given.json == "-"
    if not quiet:
        _said_before(place, setting, unread)
    began = time.monotonic()
    with Bar() as bar:
        ended = played(setting, cells, bar, given.workers)
    lines = {cell: line_of(cell, of, setting.plan) for cell, of in ended.items()}
    judged = [one.judged(lines) for one in required]
    if not quiet:
        _say_all(place, setting, list(lines.values()), judged, time.monotonic() - began)
    _leave(place, given, setting, list(lines.values()), judged)
    holds = all(one.holds for one in judged) and lines[Cell()].minutes_median is not None
    return Exit.PROMOTED if holds else Exit.ROLLED_BACK


def _with(place: Place, given: argparse.Namespace, stages: str) -> Setting:
    """The same with other stages: read as if they were written in the file."""
    spec = place.spec
    overrides = [*spec.overrides, f"stages={stages}"]
    spec = load(spec.path, target=spec.target, overrides=overrides, simulated=True)
    return setting_of(replace(place, spec=spec), given.rollouts, given.seed, given.each)[0]


def _refuse_beside_advice(given: argparse.Namespace) -> None:
    """Advice has no table: what is asked of one would be left out silently."""
    words = {"--require": given.require, "--json": given.json, "--picture": given.picture, "--gate": given.gate}
    if asked := [word for word, value in words.items() if value]:
        raise UsageError(f"{asked[0]}: is about the table, which `--catch` does not print; type the one or the other")


def _refuse_unwritable(given: argparse.Namespace) -> None:
    """Said before minutes are spent on what could not be kept."""
    for word, name in (("--json", given.json), ("--picture", given.picture)):
        if not name or (word, name) == ("--json", "-"):
            continue
        file = Path(name)
        if word == "--picture" and file.suffix not in PICTURES:
            raise UsageError(f"{word} {name}: expected a file that ends in {' or '.join(PICTURES)}")
        if file.is_dir():
            raise UsageError(f"{word} {name}: is a folder, expected a file such as {file / 'power'}{_suffix(word)}")
        if not file.parent.is_dir():
            raise UsageError(f"{word} {name}: there is no folder {file.parent}; make it, or name another file")
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise UsageError(f"{word} {name}: cannot be written; name another file")


def _suffix(word: str) -> str:
    return ".json" if word == "--json" else ".svg"


def _chosen(asked: Sequence[str], gates: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in gates:
            raise UsageError(f"--gate {name}: no such gate is played, expected one of {', '.join(gates)}")
    return list(asked or gates)


def setting_of(place: Place, rollouts: int, seed: int, each: int | None = None) -> tuple[Setting, list[str]]:
    """What is played: the plan as pytest would make it, its scene and its prelude; and gates that are not."""
    spec = place.spec
    declared, tests = declared_in(spec.folder), asking_for_stage(spec.folder)
    if tests and not spec.document.gates and not any(one.kind == "gate" and one.options for one in declared):
        raise UsageError(
            f"{spec.where('gates')}: no gate is declared, and the bodies of tests ({', '.join(tests[:3])}) are not "
            f"played; type `pytest {os.path.relpath(spec.folder)} --canary-simulate`, which runs them, or declare one, "
            "such as `gates: {error_rate: {ratio: 1.5}}`"
        )
    plan = plan_of(spec, declared)
    scenario = scenario_of(spec, plan, seed=seed)
    plan = replace(plan, simulated=str(scenario))
    prelude = prelude_of(spec, plan, scenario, shared_of(spec, place.state))
    checks = [one.where for one in declared if one.kind == "check"]
    lines = list(unplayed(plan, checks, tests, rebuilds=spec.rebuilds))
    lines += [f"{one.where}: a gate that is not written out in plain values" for one in declared if not one.written]
    lines += unread_in(spec.folder)
    return Setting(plan, scenario.scene, prelude, seed, rollouts, each or max(rollouts // 5, 1)), lines


def plan_of(spec: Spec, declared: Sequence[Declared]) -> Plan:
    """The plan of the rollout with the gates that its file and its tests declare."""
    marked = [
        ((one.metric,), one.options, one.where) for one in declared if one.kind == "gate" and one.options is not None
    ]
    plan = make_plan(spec, rollout=spec.path.name, image=f"{spec.service}:{MADE_UP}", marked=marked)
    return simulable(replace(plan, keep=False, build=(), refuse_rejected=False))


def _said_before(place: Place, setting: Setting, unread: Sequence[str]) -> None:
    plan, traffic = setting.plan, setting.scene.traffic
    ladder = ", ".join(f"{stage} for {stage.hold_seconds:g} s" for stage in plan.stages)
    say(
        f"{place}: {setting.rollouts:,} rollouts of a good build, {setting.each:,} of each worse one; "
        f"{traffic.rate:g} requests/s, poll {plan.poll_seconds:g} s"
    )
    say(f"stages {ladder}")
    for line in unread:
        say(f"not played: {line}")
    if silent := [gate.name for gate in plan.gates if gate.action is not Action.ROLLBACK]:
        say(f"only alert, and stop no build: {', '.join(silent)}")
    if plan.calibration:
        say(f"calibration: {plan.calibration}")
    if slow := one_by_one(plan.gates):
        say(f"played one by one, so slower: {', '.join(slow)}")
    say("")


def _say_all(place: Place, setting: Setting, lines: Sequence[Line], judged: Sequence[Judged], seconds: float) -> None:
    for text in table(lines):
        say(text)
    good = lines[0]
    if good.minutes_median is None:
        say("")
        say(f"this plan can never pass at this traffic: {_why_never(good)}")
    if judged:
        say("")
    for one in judged:
        say(f"{'ok     ' if one.holds else 'FAILED '} {one.says}")
    if _errors_come_together(setting) and _too_often(setting.plan, good, judged):
        say("")
        say(
            "errors that come together roll back good builds; levels that keep that rare on your own traffic: "
            f"{place.command('calibrate')}"
        )
    whole = sum(line.rollouts for line in lines)
    say("")
    say(
        f"{whole:,} rollouts in {seconds:.0f} s, seeds from {setting.seed} on; one of them, with all that was said: "
        f"pytest {os.path.relpath(setting.plan.folder)} --canary-simulate={setting.seed}"
    )


def _errors_come_together(setting: Setting) -> bool:
    """Whether ``simulate:`` has what `calibrate` measures, and no calibration has raised any gate for it."""
    told = setting.scene.traffic.dependence
    return bool(told.bursts or told.clumps > 1) and not any(gate.calibrated for gate in setting.plan.gates)


def _too_often(plan: Plan, good: Line, judged: Sequence[Judged]) -> bool:
    """Whether good builds are stopped more often than was required; or, clear of chance, than the gates promise."""
    promised = sum(gate.alpha for gate in plan.gates if gate.action is Action.ROLLBACK)
    missed = any(one.requirement.what == "false_rollback" and not one.holds for one in judged)
    return missed or good.low > promised


def _why_never(good: Line) -> str:
    if good.refused:
        return good.refused[0][0]
    if good.blamed:
        return f"every good build is stopped, {100 * good.blamed[0][1]:.0f} % of them by {good.blamed[0][0]}"
    return "no rollout started"


def _leave(
    place: Place, given: argparse.Namespace, setting: Setting, lines: Sequence[Line], judged: Sequence[Judged]
) -> None:
    if given.json:
        text = json.dumps(_data(place, setting, lines, judged), indent=2)
        if given.json == "-":
            say(text)
        else:
            Path(given.json).write_text(text + "\n")
    if given.picture:
        from pytest_canary.power.picture import page, picture

        draw = picture if Path(given.picture).suffix == ".svg" else page
        Path(given.picture).write_text(draw(lines, f"{place}: what is stopped, and after how many users"), "utf-8")


def _data(place: Place, setting: Setting, lines: Sequence[Line], judged: Sequence[Judged]) -> dict[str, Any]:
    plan = setting.plan
    return {
        "version": 1,
        "service": plan.service,
        "target": plan.target,
        "rollouts": setting.rollouts,
        "each": setting.each,
        "seed": setting.seed,
        "requests_per_second": setting.scene.traffic.rate,
        "stages": [str(stage) for stage in plan.stages],
        "lines": [asdict(line) for line in lines],
        "required": [{"text": one.requirement.text, "holds": one.holds, "says": one.says} for one in judged],
        "command": place.command("power"),
    }


__all__ = ["Requirement", "options", "plan_of", "power", "setting_of"]
