"""One rollout in one target: its file, its state folder, its ledger, its world."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_canary import world as worlds
from pytest_canary.command.root import root_of
from pytest_canary.command.say import say
from pytest_canary.errors import Busy, SpecError, UsageError
from pytest_canary.ports import Fact, Ledger, Shared, World
from pytest_canary.spec import Spec, is_ours, load


@dataclass(frozen=True)
class Place:
    """What a command is about."""

    spec: Spec
    root: Path
    state: Path
    options: tuple[str, ...] = ()
    """What was typed besides the path, and has to be typed again."""
    answer: worlds.Answer = worlds.nobody
    """Who brings adapters of the project's own."""

    def __str__(self) -> str:
        return f"{self.spec.service} on {self.spec.target}"

    def command(self, verb: str) -> str:
        """``pytest-canary VERB`` for this place, ready to be pasted."""
        path = os.path.relpath(self.spec.path)
        return shlex.join(["pytest-canary", verb, path, "--target", self.spec.target, *self.options])

    def ledger(self) -> Any:
        """The ledger, not held by anybody yet."""
        return worlds.ledger_of(self.state)

    @contextmanager
    def held(self, verb: str) -> Iterator[Hand]:
        """Hold the rollout and connect its world on demand; raises Busy when a run holds it."""
        ledger, run = self.ledger(), f"{verb}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
        try:
            ledger.acquire(run)
        except Busy as error:
            raise Busy(f"{self}: {error}; to end it: `{self.command('abort')}`") from error
        hand = Hand(self, ledger, run)
        try:
            yield hand
        finally:
            hand.close()


class Hand:
    """A held rollout: its facts, and its world once it is asked for."""

    def __init__(self, place: Place, ledger: Ledger, run: str) -> None:
        self.place, self.run = place, run
        self._ledger = ledger
        self.clock = worlds.clock_of(place.spec)
        self._world: World | None = None

    def facts(self) -> Sequence[Fact]:
        """The present chapter of the ledger."""
        return self._ledger.read()

    def note(self, kind: str, **data: Any) -> None:
        """Write a fact before the act it names."""
        self._ledger.append(Fact(kind, self.clock.wall(), data))

    def end_chapter(self) -> None:
        """Put all facts away: nothing is left that they speak of."""
        self._ledger.close_chapter(())

    def world(self) -> World:
        """The adapters, connected, with a hold on whatever the facts tell of."""
        if self._world is None:
            spec = self.place.spec
            shared = Shared(spec.service, self.clock, self.place.state, spec.folder, self.run, self.note)
            self._world = worlds.connect(spec, shared, self.place.answer)
            facts = self.facts()
            for adapter in self._world.adapters:
                adapter.recover(facts)
        return self._world

    def stop_world(self) -> None:
        """Stop every adapter, the last started first, and end the chapter."""
        for adapter in reversed(self.world().adapters):
            adapter.stop()
        self.end_chapter()

    def close(self) -> None:
        """Let go of connections and of the rollout."""
        if self._world is not None:
            with suppress(Exception):
                self._world.probe.close()
        self._ledger.release()


class Ticker:
    """Says what is waited for, at most once in ten seconds."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now - self._said >= 10:
            self._said = now
            say(f"  ... {text}")


def choose(given: argparse.Namespace) -> Place:
    """The place that the arguments mean.

    Raises:
        UsageError: there is none, or there are several; the text has the commands to type.

    """
    files = _files(given.path)
    service = getattr(given, "service", None)
    specs = [_load(file, given) for file in files] if service or len(files) == 1 else []
    if service:
        specs = [spec for spec in specs if spec.service == service]
        files = [spec.path for spec in specs]
    if len(files) != 1:
        raise UsageError(_which(files, service, given))
    spec, options = specs[0], [*(("--state", given.state) if given.state else ())]
    options += [word for override in given.set for word in ("--set", override)]
    root = root_of(spec.folder)
    return Place(spec, root, worlds.state_folder(root, given.state, spec), tuple(options))


def _load(file: Path, given: argparse.Namespace) -> Spec:
    try:
        return load(file, target=given.target, overrides=given.set)
    except SpecError as error:
        said = str(error).replace("--canary-target", "--target")
        raise SpecError(said if str(file) in said else f"{os.path.relpath(file.parent)}/{said}") from error


def _files(path: str | None) -> list[Path]:
    here = Path(path) if path else Path()
    if path and not here.exists():
        raise UsageError(f"{path}: not found; name the folder of a rollout.yaml, such as rollouts/gateway")
    if here.is_file():
        found = [here]
    elif (here / "rollout.yaml").is_file():
        found = [here / "rollout.yaml"]
    else:
        below = here if path else here / "rollouts"
        found = sorted({*here.glob("*/rollout.yaml"), *below.rglob("rollout.yaml")})
    return [file.resolve() for file in found if is_ours(file)]


def _which(files: Sequence[Path], service: str | None, given: argparse.Namespace) -> str:
    if not files:
        what = f"no rollout.yaml of the service {service!r}" if service else "no rollout.yaml with a `service:`"
        return f"found {what} in {given.path or 'rollouts/ and this folder'}; name its folder"
    words = ["pytest-canary", given.command, *([service] if service else [])]
    commands = "; ".join(shlex.join([*words, os.path.relpath(file)]) for file in files)
    return f"found {len(files)} rollouts, type one of: {commands}"
