"""Arguments of the console command, and what its exit codes are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from pytest_canary import __version__
from pytest_canary.command import abort, down, recover, revert, status
from pytest_canary.command.conftests import lenders, with_conftests
from pytest_canary.command.place import Place, choose
from pytest_canary.command.say import complain
from pytest_canary.errors import Busy, CanaryError, Exit, Missing, UsageError

VERBS: Mapping[str, tuple[Callable[[Place, argparse.Namespace], int], str]] = {
    "status": (status.status, "say who holds a rollout, what serves, and how the last one ended; changes nothing"),
    "recover": (recover.recover, "put right what a killed run left: all traffic on the stable build, the canary gone"),
    "abort": (abort.abort, "cut a live run from another terminal: its canary loses its traffic at once"),
    "revert": (revert.revert, "emergency: go straight back to the last good build, without a canary"),
    "down": (down.down, "stop a world that goes on serving (`keep: true`)"),
}

NEED_NO_WORLD = frozenset({"status", "abort"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not done, 2 interrupted, 4 usage, 70 a human must look."""
    given = _parser().parse_args(argv)
    try:
        return _do(given)
    except (UsageError, Missing, Busy) as error:
        return complain(error, Exit.USAGE)
    except (CanaryError, OSError) as error:
        return complain(error, Exit.ROLLED_BACK if given.command == "status" else Exit.NOT_RESTORED)
    except KeyboardInterrupt:
        return complain(f"interrupted; type `{given.command}` again, it is safe to repeat", Exit.INTERRUPTED)


def _do(given: argparse.Namespace) -> int:
    verb, _ = VERBS[given.command]
    place = choose(given)
    if given.command in NEED_NO_WORLD or not lenders(place.root, place.spec.folder):
        return verb(place, given)
    return with_conftests(place.root, place.spec.folder, lambda answer: verb(replace(place, answer=answer), given))


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
    common.add_argument("--target", metavar="NAME", help="the target of rollout.yaml; its default_target when left out")
    common.add_argument("--state", metavar="DIR", help="where ledgers are kept, if pytest had --canary-state")
    common.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="what pytest had as --canary-set"
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
        if name == "abort":
            command.add_argument(
                "--wait", metavar="SECONDS", type=float, default=120.0, help="how long the run may take to end (120)"
            )
    return parser


def _first(name: str, common: _Parser) -> list[_Parser]:
    """What comes before the path: revert names the service, so that nothing else is ever taken back."""
    if name != "revert":
        return [common]
    service = _Parser(add_help=False)
    service.add_argument("service", help="the service to take back")
    return [service, common]
