"""Processes that outlive the one that started them and can be found again: what ``local`` and ``envoy`` both use.

A process is started through a launcher that writes its own line of ``/proc/self/stat`` to a pid file and then becomes
the program, so the pid file is there before the program runs, whatever happens to the one who started it.  A process
is ours only if pid *and* start time agree: pids are reused, the pair is not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pytest_canary.errors import AdapterError
from pytest_canary.ports import Clock

LAUNCHER = 'cd "$1" && read -r line < /proc/self/stat && printf "%s\\n" "$line" > "$2" && shift 2 && exec "$@"'
LOOK_SECONDS = 0.02
MARK = "PYTEST_CANARY_PROCESS"
"""Names its pid file in the environment of a process, by which it is found when that file is gone."""


class Stat(NamedTuple):
    """The fields of ``/proc/<pid>/stat`` that tell one process from another."""

    pid: int
    state: str
    session: int
    started: int
    """Clock ticks between the start of the machine and that of the process."""
    worked: int
    """Clock ticks that it has spent on a processor."""

    @property
    def stopped(self) -> bool:
        """Whether a signal or a debugger has halted it."""
        return self.state in "Tt"

    @property
    def over(self) -> bool:
        """Whether it has ended and only its parent has not noticed yet."""
        return self.state in "ZXx"


def parse(line: str) -> Stat | None:
    """A line of ``/proc/<pid>/stat``; the program's name may hold spaces and brackets.  None for anything else."""
    head, bracket, tail = line.rpartition(")")
    fields = tail.split()
    try:
        worked = int(fields[11]) + int(fields[12])
        return Stat(int(head.split()[0]), fields[0], int(fields[3]), int(fields[19]), worked) if bracket else None
    except (IndexError, ValueError):
        return None


def look(pid: int | str) -> Stat | None:
    """What runs under ``pid`` now; None when nothing does."""
    try:
        return parse(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    except OSError:
        return None


@dataclass
class Process:
    """A program in its own session, known by pid and start time."""

    pid: int
    started: int
    pidfile: Path
    log: Path
    child: bool = False
    """Whether this very process started it, and so learns its exit status."""
    _end: str = field(default="", repr=False)

    def ended(self) -> str | None:
        """How it ended, such as ``exit status 3`` or ``signal SIGKILL``; None while it runs."""
        if not self._end:
            self._end = self._reap() if self.child else self._gone()
        return self._end or None

    def _reap(self) -> str:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has collected the status
            return self._gone()
        if not pid:
            return ""
        code = os.waitstatus_to_exitcode(status)
        return f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def _gone(self) -> str:
        now = look(self.pid)
        return "" if now and now.started == self.started and not now.over else "an unknown status"

    def hangs(self, clock: Clock, seconds: float) -> bool:
        """Whether it is halted, or does nothing at all for ``seconds``.

        One that only does not answer may have too much to do; to end that would drop what it is at.
        """
        first = self._work()
        until = clock.now() + seconds
        while self.ended() is None:
            now = look(self.pid)
            if now is not None and now.stopped:
                return True
            if self._work() != first:
                return False
            if clock.now() >= until:
                return True
            clock.sleep(LOOK_SECONDS)
        return False

    def _work(self) -> int:
        return sum(stat.worked for stat in map(look, self._session()) if stat)

    def last_line(self) -> str:
        """The last line of its log that is not empty."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def ask_to_end(self) -> None:
        """SIGTERM to it and to what it has started."""
        if not self.ended():
            self._signal(signal.SIGTERM)

    def end(self, clock: Clock, seconds: float) -> bool:
        """SIGTERM, wait at most ``seconds``, then SIGKILL; False when it had to be killed.  Safe to repeat."""
        self.ask_to_end()
        until = clock.now() + seconds
        while self._running():
            if clock.now() >= until:
                self._signal(signal.SIGKILL)
                break
            clock.sleep(LOOK_SECONDS)
        else:
            self.pidfile.unlink(missing_ok=True)
            return True
        for _ in range(250):
            if not self._running():
                self.pidfile.unlink(missing_ok=True)
                return False
            clock.sleep(LOOK_SECONDS)
        raise AdapterError(f"process {self.pid} ({self.pidfile}) is still there after SIGKILL; look at it with `ps`")

    def _running(self) -> bool:
        return not self.ended() or any(self._session())

    def _signal(self, what: signal.Signals) -> None:
        for pid in self._session():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)

    def _session(self) -> list[int]:
        """The pids that live in its session; its number is not given away before the last of them has gone."""
        leader = look(self.pid)
        if leader and leader.started != self.started:
            return []
        seen = (look(entry) for entry in os.listdir("/proc") if entry.isdigit())
        return [stat.pid for stat in seen if stat and stat.session == self.pid and not stat.over]


def launch(argv: Sequence[str], *, pidfile: Path, log: Path, cwd: Path, env: Mapping[str, str]) -> Process:
    """Start ``argv`` in its own session (Ctrl-C does not reach it), with its output in ``log``.

    The caller writes what it is about to start to the ledger first.  A program that does not exist ends at once with
    exit status 127 and says so in its log.
    """
    for path in (pidfile, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    pidfile.unlink(missing_ok=True)
    pid = os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", "-c", LAUNCHER, "launcher", str(cwd), str(pidfile.absolute()), *argv],
        {**env, MARK: str(pidfile.absolute())},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    )
    born = look(pid)
    return Process(pid, born.started if born else -1, pidfile, log, child=True)


def find(pidfile: Path, log: Path, *, clock: Clock, patience: float = 0.0) -> Process | None:
    """The process that ``pidfile`` names, if it is alive and the same one; None otherwise.

    ``patience`` seconds are spent on a pid file that is not written yet: its starter may have died a moment ago.
    """
    until = clock.now() + patience
    while not (born := _read(pidfile) or _marked(pidfile)):
        if clock.now() >= until:
            return None
        clock.sleep(LOOK_SECONDS)
    process = Process(born.pid, born.started, pidfile, log)
    return None if process.ended() else process


def _read(pidfile: Path) -> Stat | None:
    try:
        return parse(pidfile.read_text(errors="replace"))
    except OSError:
        return None


def _marked(pidfile: Path) -> Stat | None:
    """The process that was started with ``pidfile``, by its environment; its children lead no session."""
    mark = f"{MARK}={pidfile.absolute()}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # somebody else's, or gone
            continue
        stat = look(entry.name) if marked else None
        if stat is not None and stat.session == stat.pid and not stat.over:
            return stat
    return None


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now; somebody may take it before it is used."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.bind((host, 0))
        return int(one.getsockname()[1])
