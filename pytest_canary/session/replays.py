"""`--canary-replay`: recordings in the place of a rollout; one line, and one row in JUnit, for each."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_canary.errors import Exit, PlanError, SpecError, UsageError
from pytest_canary.outcome import Row
from pytest_canary.plan import Plan, make_plan
from pytest_canary.replay import Now, Played, Player, marked
from pytest_canary.session.collection import Home, Phase, declared_name, phase_of, stage_of
from pytest_canary.session.junit import report_row
from pytest_canary.session.playback import Playback
from pytest_canary.session.reels import Reel
from pytest_canary.spec import Spec, load

if TYPE_CHECKING:
    from pytest_canary.session.conductor import Conductor
    from pytest_canary.session.live import Live

EXPECTED: dict[str, Callable[[Played], bool]] = {
    "same": lambda played: played.same,
    "promoted": lambda played: played.now is Now.PROMOTED,
    "rolled-back": lambda played: played.now in (Now.ROLLED_BACK, Now.NOT_STARTED),
}
"""What ``--canary-replay-expect`` may say."""
UNSET = re.compile(r"the variable (\w+) is not set")


def recordings(named: Sequence[str], folder: Path) -> list[Path]:
    """The files that were ``named``; of a folder those in it, or below it in folders called ``recordings``.

    Raises:
        UsageError: there is none.

    """
    found = list[Path]()
    for name in named:
        path = folder / name
        if path.is_dir():
            inside = [] if (path / "recordings").is_dir() else list(path.glob("*.jsonl"))  # beside it lies the ledger
            inside = inside or list(path.glob("**/recordings/*.jsonl"))
            below = sorted(inside, key=_oldest_first)
            if not below:
                raise UsageError(f"--canary-replay: {name} holds no recording, expected files such as RUN.jsonl")
            found += below
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(
                f"--canary-replay: found no file {name}, expected a recording of a run, or a folder of them"
            )
    return found


@dataclass
class _Tests:
    """What of a rollout's tests is asked of recordings."""

    run: list[pytest.Item]
    left_out: list[pytest.Item]

    @classmethod
    def of(cls, items: Sequence[pytest.Item]) -> _Tests:
        """Nobody is there who could answer a test that asks the canary itself, or was warmed."""
        own = [item for item in items if not declared_name(item) and phase_of(item) >= Phase.WARM]
        asks = [item for item in own if {"canary", "warmup"} & set(getattr(item, "fixturenames", ()))]
        return cls([item for item in own if item not in asks], [item for item in asks if stage_of(item)])


def _oldest_first(path: Path) -> tuple[Path, str]:
    """Two runs of one second are `NAME.jsonl` and `NAME-2.jsonl`, which whole file names would turn round."""
    return path.parent, path.stem


class Replays:
    """Runs in the place of pytest's own loop over tests."""

    def __init__(self, config: pytest.Config, conductor: Conductor) -> None:
        self.config, self._conductor = config, conductor
        self._unreadable = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Replay every recording that was named."""
        if session.testsfailed or self.config.option.collectonly or not self._conductor.roster.homes:
            return None
        folder = self.config.invocation_params.dir
        try:
            paths = recordings(self.config.getoption("canary_replay"), folder)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
        for nth, path in enumerate(paths):
            reel = Reel(self._conductor.console, path)
            try:
                self._replay(session, path, reel)
            except KeyboardInterrupt:
                left = f"; {more} more were not replayed" if (more := len(paths) - nth - 1) else ""
                self._conductor.console.said(f"replay {path.stem}: ended by Ctrl-C at {reel.share:.0%} of it{left}")
                raise
        return True

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A file that cannot be read is bad input."""
        if self._unreadable:
            session.exitstatus = Exit.USAGE

    def _replay(self, session: pytest.Session, path: Path, reel: Reel) -> None:
        began, node = time.monotonic(), next(iter(self._conductor.roster.homes.values())).node
        unreadable = False
        try:
            home, played = self._played(session, path, reel)
            node, line, good = home.node, played.line, self._expected(played)
        except (UsageError, OSError) as error:
            line, good, unreadable = " ".join(str(error).split("\n")), False, True
            self._unreadable = True
        expected = "" if good or unreadable else f"expected {self.config.getoption('canary_replay_expect')}: "
        self._conductor.console.said(f"replay {expected}{line}")
        report_row(self.config, node, Row(f"replay[{path.stem}]", good, line, time.monotonic() - began))

    def _expected(self, played: Played) -> bool:
        expected = self.config.getoption("canary_replay_expect")
        return expected is None or EXPECTED[expected](played)

    def _played(self, session: pytest.Session, path: Path, reel: Reel) -> tuple[Home, Played]:
        shown = _shown(path, self.config.invocation_params.dir)
        recording = marked(shown, reel)
        home = self._home(shown, recording.header.service)
        items = [item for item in session.items if self._conductor.roster.home_of(item) is home]
        tests = _Tests.of(items)
        plan, notes = self._plan(home, recording.header.target, [item for item in items if item not in tests.left_out])
        player = Player(recording, plan, notes + _left_out(tests.left_out))
        playback = Playback(session, home, player, tests.run)
        self._conductor.live = cast("Live", playback)
        try:
            with self._conductor.console.muted():
                return home, player.play(playback.tests)
        finally:
            self._conductor.live = None
            session._setupstate.teardown_exact(None)

    def _home(self, path: Path, service: str) -> Home:
        homes = list(self._conductor.roster.homes.values())
        fitting = [home for home in homes if home.spec and home.spec.service == service]
        if not service and len(homes) == 1:
            return homes[0]
        if len(fitting) != 1:
            known = ", ".join(home.spec.service for home in homes if home.spec)
            raise UsageError(
                f"{path}:1: found a recording of {service or 'no service'}, and rollouts of {known}; name the folder "
                'of the one you mean, or write "service" into the first line'
            )
        return fitting[0]

    def _plan(self, home: Home, target: str, items: Sequence[pytest.Item]) -> tuple[Plan, tuple[str, ...]]:
        """Today's plan for the target in which was recorded, where the file still has it."""
        spec, notes = home.spec, tuple[str, ...]()
        assert spec is not None
        if target not in ("", spec.target) and not self.config.getoption("canary_target"):
            if target in spec.targets:
                spec = self._of_target(home, target)
            else:
                notes = (f"target {target} is not in {home.node}: the gates of {spec.target} were asked",)
        mine = [item for item in items if stage_of(item) and not declared_name(item)]
        marks = [(mark.args, mark.kwargs, item.nodeid) for item in mine for mark in item.iter_markers("gate")]
        required = [item.nodeid for item in mine if item.get_closest_marker("advisory") is None]
        try:
            return make_plan(spec, rollout=home.node, image=None, marked=marks, required_tests=required), notes
        except (PlanError, SpecError) as error:
            raise UsageError(str(error)) from error

    def _of_target(self, home: Home, target: str) -> Spec:
        """Variables of the environment that a replay has no use for, such as addresses, need not be set."""
        assert home.spec is not None
        overrides, known = self.config.getoption("canary_set"), dict(environ)
        try:
            return load(home.spec.path, target=target, overrides=overrides, environ=known)
        except SpecError as error:
            unset = UNSET.findall(str(error))
            if len(unset) != len(str(error).splitlines()):
                raise
            known |= dict.fromkeys(unset, "replayed")
            return load(home.spec.path, target=target, overrides=overrides, environ=known)


def _left_out(items: Sequence[pytest.Item]) -> tuple[str, ...]:
    names = list(dict.fromkeys(getattr(item, "originalname", item.name) for item in items))
    if not names:
        return ()
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (f"{names[0]}{more} asks the canary itself and was left out",)


def _shown(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) and Path.cwd() == folder else path


def register(config: pytest.Config, conductor: Any) -> None:
    """Take the place of the loop over tests, where recordings are named."""
    config.pluginmanager.register(Replays(config, conductor), "canary-replays")
