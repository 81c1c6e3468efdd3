"""One rollout in one target: its file, its state folder, its ledger, its world."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_canary import guard
from pytest_canary import world as worlds
from pytest_canary.command.root import root_of
from pytest_canary.command.say import say
from pytest_canary.errors import Busy, SpecError, UsageError
from pytest_canary.ports import Fact, Ledger, Shared, World
from pytest_canary.spec import Spec, is_ours, load

SAY_SECONDS = 10.0
LEFT = re.compile(r", (\d+ s) left$")


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

    def pytest(self, image: str) -> str:
        """The command that ships ``image`` here."""
        words = ["pytest", os.path.relpath(self.spec.folder), f"--image={image}", f"--canary-target={self.spec.target}"]
        named = {"--state": "--canary-state", "--set": "--canary-set"}
        return shlex.join([*words, *(named.get(word, word) for word in self.options)])

    def ledger(self) -> Any:
        """The ledger, not held by anybody yet."""
        return worlds.ledger_of(self.spec, self.state)

    @contextmanager
    def held(self, verb: str) -> Iterator[Hand]:
        """Hold the rollout and connect its world on demand; raises Busy when a run holds it."""
        ledger, run = self.ledger(), f"{verb}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
        patience = 0.0 if verb == "guard" else self.spec.document.drain_timeout + guard.RESTORE_SECONDS
        try:
            guard.acquire(ledger, run, worlds.clock_of(self.spec), patience, Ticker())
        except Busy as error:
            hint = f"to end it: `{self.command('abort')}`"
            if error.run.startswith(guard.NAME):
                hint = "it is putting a dead run right; if it hangs, kill that pid and type this again"
            raise Busy(f"{self}: {error}; {hint}", run=error.run) from error
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
            # Synthetic users belong to a run; that their prompts are gone must not keep anybody from putting it right.
            self._world = worlds.connect(replace(spec, load=None), shared, self.place.answer, counted=False)
            facts = self.facts()
            for adapter in self._world.adapters:
                adapter.recover(facts)
        return self._world

    @property
    def lasting(self) -> bool:
        """Whether what runs there serves users between rollouts, and is nothing of ours to stop."""
        return self.world().platform.lasting

    def stop_world(self) -> None:
        """Stop every adapter, the last started first, and end the chapter."""
        for adapter in reversed(self.world().adapters):
            adapter.stop()
        self.end_chapter()

    def forget_world(self) -> None:
        """Connect anew when it is asked for next."""
        if self._world is not None:
            with suppress(Exception):
                self._world.probe.close()
        self._world = None

    def close(self) -> None:
        """Let go of connections and of the rollout."""
        self.forget_world()
        self._ledger.release()


class Ticker:
    """Says what is waited for, at most once in ten seconds, and what users have ``meanwhile``."""

    def __init__(self, meanwhile: str = "") -> None:
        self._said, self._meanwhile = time.monotonic(), f"; {meanwhile}" if meanwhile else ""

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now - self._said >= SAY_SECONDS:
            self._said = now
            said = LEFT.sub(r", at most \1 more", text)
            say(f"  ... waiting for {said}{self._meanwhile}")


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
    options += [word for plugin in given.plugin for word in ("-p", plugin)]
    root = root_of(spec.folder)
    return Place(spec, root, worlds.state_folder(root, given.state, spec), tuple(options))


def _load(file: Path, given: argparse.Namespace) -> Spec:
    try:
        return load(file, target=given.target, overrides=given.set, simulated=getattr(given, "simulated", False))
    except SpecError as error:
        said = str(error).replace("--canary-target", "--target")
        whole = str(file) in said or said.startswith("--")
        raise SpecError(said if whole else f"{os.path.relpath(file.parent)}/{said}") from error


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
