"""Revisions as processes on this machine, one each."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_canary.adapters.local.builds import Builds
from pytest_canary.adapters.local.health import HOST, ask_model, ask_ready
from pytest_canary.adapters.local.options import LocalOptions, fill
from pytest_canary.adapters.local.targets import announce
from pytest_canary.adapters.processes import Process, find, free_port, launch
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Change, Fact, Readiness, Revision, Shared

PORT_TAKEN = re.compile(r"address (is )?already in use|EADDRINUSE", re.IGNORECASE)
PORTS_TRIED = 3
FRESH_SECONDS = 5.0
HUNG_SECONDS = 2.0
"""A stable build that answers nobody and does nothing for so long is started anew."""
LOOK_SECONDS = 0.05
FORGOTTEN = "local-stopped"
"""The fact after which the next world begins with the stable build of the rollout.yaml again."""


@dataclass
class Running:
    """A revision, the process that it is, and the port it listens on."""

    revision: Revision
    process: Process
    port: int
    attempt: int = 1


class LocalPlatform:
    """Starts builds as processes in their own sessions, with logs and pid files in the rollout's state folder."""

    Options = LocalOptions
    lasting = False

    def __init__(self, options: LocalOptions, shared: Shared) -> None:
        self._options = options
        self._shared = shared
        self._folder = shared.state / "processes"
        self._builds = Builds(options, shared.service, shared.home)
        self._running: dict[str, Running] = {}
        self._stable: Revision | None = None
        self._remembered: Revision | None = None

    @classmethod
    def connect(cls, options: LocalOptions, shared: Shared) -> LocalPlatform:
        """The platform of one target; starts nothing."""
        return cls(options, shared)

    def check(self) -> Sequence[str]:
        missing = []
        if not sys.platform.startswith("linux"):
            missing.append(f"the local platform needs Linux (/proc), this is {sys.platform}; choose another target")
        if not Path("/bin/sh").exists():
            missing.append("the local platform needs /bin/sh; install a shell")
        argv = fill(self._options.command, {"python": sys.executable})
        if "{" not in argv[0] and self._builds.program(argv) is None:
            missing.append(f"no program {argv[0]!r} on PATH; install it or correct platform.local.command")
        return missing

    def recover(self, facts: Sequence[Fact]) -> None:
        began_with = None
        for fact in facts:
            if fact.kind == "stable":
                self._remembered = Revision.from_data(fact.data)
            elif fact.kind == "deploy":
                # The rollout.yaml may name another by now; users are to have the one that was proven.
                began_with = Revision.from_data(fact.data["stable"])
            elif fact.kind == FORGOTTEN:
                self._remembered = began_with = None
            elif fact.kind == "process":
                self._take_hold(fact)
        self._remembered = self._remembered or began_with
        last = self._remembered or Revision(self._options.image(self._shared.service), "")
        for pin, running in self._running.items():
            # The first that was started: a canary of the same image, whose code has changed, came later.
            same = (running.revision.image, running.revision.change) == (last.image, last.change)
            same = same and not running.revision.copy and self._remembered is None
            if (pin == last.pin or same) and running.process.ended() is None:
                self._stable = running.revision
                break

    def start(self) -> None:
        stable, clock = self.stable(), self._shared.clock
        self._end_if_hung(stable)
        self.deploy(stable)
        until = clock.now() + self._options.start_seconds
        while not (now := self.ready(stable)).ready:
            if now.hopeless or clock.now() >= until:
                late = "" if now.hopeless else f"not ready after {self._options.start_seconds:g} s: "
                raise AdapterError(f"the stable build {stable} cannot serve: {late}{now.why}")
            clock.sleep(LOOK_SECONDS)

    def _end_if_hung(self, revision: Revision) -> None:
        """End a build that runs already and answers nobody because it does nothing at all."""
        held, clock = self._running.get(revision.pin), self._shared.clock
        if held is None or held.process.ended() or ask_ready(held.port, self._options.ready).ready:
            return
        if held.process.hangs(clock, HUNG_SECONDS):
            self._shared.note("cut", what=str(revision), pid=held.process.pid, after_seconds=HUNG_SECONDS)
            held.process.end(clock, 0.0)

    def stop(self) -> None:
        known = self._running or self._stable or self._remembered
        self._stable = self._remembered = None
        try:
            if known:
                self._shared.note(FORGOTTEN)
        finally:  # a ledger that cannot be written is no reason to leave processes behind
            for running in self._running.values():
                running.process.ask_to_end()
            for running in list(self._running.values()):
                self.remove(running.revision)

    def stable(self) -> Revision:
        if self._stable is None:
            first = Revision(self._options.image(self._shared.service), "")
            last = self._remembered or first
            # Its code may have changed since it ran; what starts now is what the pin has to name.
            self._stable = self._builds.resolve(last.image, last.change)
        return self._stable

    def previous(self) -> Revision | None:
        """Nobody keeps more than a history, and that is not ours."""
        return None

    def resolve(self, image: str, change: Change) -> Revision:
        return self._builds.resolve(image, change)

    def deploy(self, revision: Revision) -> None:
        if (revision.change.replicas or 1) != 1:
            self.scale(revision, revision.change.replicas or 1)
        held = self._running.get(revision.pin)
        if held is None or held.process.ended():
            self._launch(revision, attempt=1)

    def scale(self, revision: Revision, replicas: int) -> None:
        if replicas != 1:
            raise AdapterError(f"{revision}: {replicas} replicas asked, the local platform runs one; set replicas: 1")

    def grow(self, revision: Revision, share: float) -> None:
        """Nothing: one copy is all there is."""

    def strays(self) -> Sequence[Revision]:
        """Nothing says of itself what it is."""
        return ()

    def copies(self, revision: Revision) -> frozenset[str] | None:
        """Nobody counts them apart."""
        del revision
        return None

    def hurt(self, revision: Revision) -> str:
        """That its process has ended: where it counts itself what is judged, nobody else would tell."""
        held = self._running.get(revision.pin)
        return _ending(held.process) if held is not None else ""

    def ready(self, revision: Revision) -> Readiness:
        held = self._held(revision)
        end = _ending(held.process)
        if not end:
            return ask_ready(held.port, self._options.ready)
        # The port was free when it was chosen; as a client's own port, say, it may have been taken a moment later.
        if held.attempt < PORTS_TRIED and PORT_TAKEN.search(_tail(held.process.log)):
            self._launch(revision, held.attempt + 1)
            return Readiness(False, f"port {held.port} was taken, starting on another")
        return Readiness(False, f"{revision} {end}", hopeless=True)

    def address(self, revision: Revision) -> str:
        return f"http://{HOST}:{self._held(revision).port}"

    def model(self, revision: Revision) -> str | None:
        return ask_model(self._held(revision).port)

    def promote(self, canary: Revision) -> Revision:
        self._held(canary)
        self._shared.note("stable", **canary.to_data())
        self._stable = canary
        return canary

    def remove(self, revision: Revision) -> None:
        held = self._running.get(revision.pin)
        if held is None:
            return
        seconds = self._options.stop_seconds
        unhurt = held.process.end(self._shared.clock, seconds)
        del self._running[revision.pin]
        self._announce()
        if not unhurt:
            self._shared.note("cut", what=str(revision), pid=held.process.pid, after_seconds=seconds)

    def _held(self, revision: Revision) -> Running:
        held = self._running.get(revision.pin)
        if held is None:
            raise AdapterError(f"{revision} does not run here; deploy it first")
        return held

    def _launch(self, revision: Revision, attempt: int) -> None:
        port = free_port()
        name = f"{self._shared.service}-{revision.pin}"
        pidfile, log = self._folder / f"{name}.pid", self._folder / f"{name}.log"
        argv = self._builds.argv(revision, port)
        self._shared.note(
            "process",
            name=name,
            pidfile=str(pidfile),
            log=str(log),
            address=f"http://{HOST}:{port}",
            port=port,
            argv=argv,
            **revision.to_data(),
        )
        env = self._builds.env(revision)
        process = launch(argv, pidfile=pidfile, log=log, cwd=self._shared.home, env=env)
        self._running[revision.pin] = Running(revision, process, port, attempt)
        self._announce()

    def _announce(self) -> None:
        places = {f"{HOST}:{held.port}": held.revision.tag for held in self._running.values()}
        announce(self._shared.state, self._shared.service, places)

    def _take_hold(self, fact: Fact) -> None:
        data = fact.data
        revision = Revision.from_data(data)
        fresh = abs(self._shared.clock.wall() - fact.at) < FRESH_SECONDS
        process = find(
            Path(data["pidfile"]), Path(data["log"]), clock=self._shared.clock, patience=1.0 if fresh else 0.0
        )
        held = self._running.get(revision.pin)
        if process is not None and (held is None or not held.process.child):
            self._running[revision.pin] = Running(revision, process, int(data["port"]))


def _ending(process: Process) -> str:
    """How ``process`` has ended, and its last words; empty while it runs."""
    end = process.ended()
    if not end:
        return ""
    last = process.last_line()
    return f"ended with {end}{f': {last}' if last else ''}; its log: {process.log}"


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-4000:]
    except OSError:
        return ""
