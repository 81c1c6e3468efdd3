"""Arguments of the console command, and what its exit codes are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from pytest_canary import __version__
from pytest_canary.command import (
    abort,
    calibrate,
    check,
    convert,
    down,
    guard,
    power,
    record,
    recover,
    revert,
    status,
)
from pytest_canary.command.conftests import lenders, with_conftests
from pytest_canary.command.place import Place, choose
from pytest_canary.command.say import complain
from pytest_canary.errors import Busy, CanaryError, Exit, Missing, UsageError

VERBS: Mapping[str, tuple[Callable[[Place, argparse.Namespace], int], str]] = {
    "status": (status.status, "say who holds a rollout, what serves, and how the last one ended; changes nothing"),
    "check": (check.check, "ask the metric source whether it has what every gate needs; changes nothing"),
    "calibrate": (calibrate.calibrate, "measure false rollbacks on the stable build's own history, and keep them rare"),
    "record": (record.record, "record what the stable build counts, replica by replica, to calibrate on it"),
    "recover": (recover.recover, "put right what a killed run left: all traffic on the stable build, the canary gone"),
    "abort": (abort.abort, "cut a live run from another terminal: its canary loses its traffic at once"),
    "revert": (revert.revert, "emergency: go straight back to the last good build, without a canary"),
    "down": (down.down, "stop a world that goes on serving (`keep: true`)"),
    "power": (power.power, "play the rollout a thousand times: how often a good build is stopped, how soon a bad one"),
    "guard": (guard.guard, "stand beside a run and put things right when it dies; every run starts its own"),
}

NEED_NO_WORLD = frozenset({"status", "abort", "power"})
CHANGE_NOTHING = frozenset({"status", "check", "power", "convert", "calibrate", "record"})
SIMULATED = frozenset({"power"})
"""Need nothing of the target, not even its variables."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not done, 2 interrupted, 4 usage, 70 a human must look."""
    given = _parser().parse_args(argv)
    try:
        return _do(given)
    except (UsageError, Missing, Busy) as error:
        return complain(error, Exit.USAGE)
    except (CanaryError, OSError) as error:
        return complain(error, Exit.ROLLED_BACK if given.command in CHANGE_NOTHING else Exit.NOT_RESTORED)
    except Exception as error:
        said = f"{type(error).__name__}: {error}".partition("\n")[0]
        code = Exit.ROLLED_BACK if given.command in CHANGE_NOTHING else Exit.NOT_RESTORED
        return complain(f"{said}; a file of its state may be damaged, see docs/commands.md", code)
    except KeyboardInterrupt:
        return complain(f"interrupted; type `{given.command}` again, it is safe to repeat", Exit.INTERRUPTED)


def _do(given: argparse.Namespace) -> int:
    if given.command == "convert":  # files of another system: no rollout is asked for
        return convert.convert(given)
    verb, _ = VERBS[given.command]
    place = choose(given)
    if given.command in NEED_NO_WORLD or not lenders(place.root, place.spec.folder):
        return verb(place, given)
    return with_conftests(
        place.root, place.spec.folder, given.plugin, lambda answer: verb(replace(place, answer=answer), given)
    )


class _Parser(argparse.ArgumentParser):
    """Ends with our code for wrong usage; argparse's own, 2, means interrupted here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument(
        "path", nargs="?", help="folder of a rollout, or its rollout.yaml; found when there is only one"
    )
    common.add_argument(
        "--target",
        "--canary-target",
        metavar="NAME",
        help="the target of rollout.yaml; its default_target when left out",
    )
    common.add_argument("--state", metavar="DIR", help="where ledgers are kept, if pytest had --canary-state")
    common.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="what pytest had as --canary-set"
    )
    common.add_argument(
        "-p", dest="plugin", metavar="NAME", action="append", default=[], help="what pytest had as -p, for conftest.py"
    )
    parser = _Parser(prog="pytest-canary", description="What is done to a rollout by hand.")
    parser.add_argument("--version", action="version", version=f"pytest-canary {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, says) in VERBS.items():
        command = commands.add_parser(
            name, help=says, description=f"{says[0].upper()}{says[1:]}.", parents=_first(name, common)
        )
        if name in ("abort", "revert"):
            command.add_argument("--reason", metavar="TEXT", default="", help="why; it stands in the report")
        if name == "power":
            power.options(command)
        command.set_defaults(simulated=name in SIMULATED)
        if name == "abort":
            command.add_argument(
                "--wait", metavar="SECONDS", type=float, default=120.0, help="how long the run may take to end (120)"
            )
        if name in ("calibrate", "record"):
            _about_history(command, name)
        if name == "guard":
            command.add_argument("--run", metavar="NAME", required=True, help="the run that is watched")
            command.add_argument("--pid", type=int, default=0, help="its process; nothing is done while that is alive")
            says = "a run that is not heard of for so long loses its traffic (20)"
            command.add_argument("--silent", metavar="SECONDS", type=float, default=20.0, help=says)
    says = convert.SAYS
    convert.add_arguments(commands.add_parser("convert", help=says, description=f"{says[0].upper()}{says[1:]}."))
    return parser


def _about_history(command: argparse.ArgumentParser, name: str) -> None:
    if name == "record":
        command.add_argument("--for", dest="duration", metavar="TIME", default="24h", help="how long, such as 4h (24h)")
        command.add_argument("--every", metavar="TIME", help="how often; the plan's `poll` when left out")
        command.add_argument("--to", metavar="FILE", help="where to; among the recordings of the target when left out")
        return
    says = "recordings to learn from; what the metrics source remembers when left out"
    command.add_argument("--from", dest="recordings", metavar="FILE", nargs="+", action="append", default=[], help=says)
    command.add_argument("--hours", type=float, default=24.0, help="how far back a metrics source is asked (24)")
    command.add_argument("--plays", type=int, default=400, help="pseudo-canaries for each gate and level (400)")
    command.add_argument("--seed", type=int, default=0, help="of all that is drawn (0)")
    command.add_argument("--allowed", metavar="SHARE", default="1%", help="false rollbacks that are rare enough (1%%)")
    command.add_argument("--json", action="store_true", help="print what was found as JSON")
    command.add_argument("--dry-run", action="store_true", help="write nothing")


def _first(name: str, common: _Parser) -> list[_Parser]:
    """What comes before the path: revert names the service, so that nothing else is ever taken back."""
    if name != "revert":
        return [common]
    service = _Parser(add_help=False)
    service.add_argument("service", help="the service to take back")
    return [service, common]
