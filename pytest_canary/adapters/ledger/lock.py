"""The lock of one rollout: the kernel lets go of it when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_canary.adapters.ledger.files import make_folder, one_line
from pytest_canary.adapters.processes import look
from pytest_canary.errors import Busy

TRIES = 5
TRY_SECONDS = 0.02
"""Whoever only asks who holds the lock has it for an instant; that must not turn a run away."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a rollout; ``since`` is wall time, seconds since 1970."""

    run: str = "?"
    pid: int = 0
    since: float = 0.0
    renewed: float = 0.0
    """Wall time at which it last said that it is alive."""
    started: int = 0
    """When its process began, as /proc tells it; with the pid, that is one process and no other.  0 if not known."""

    @property
    def gone(self) -> bool:
        """Whether its process has ended; what it has forked may hold the lock all the same."""
        if not self.started:
            return False
        now = look(self.pid)
        return now is None or now.started != self.started or now.over

    def __str__(self) -> str:
        return f"run {self.run}, pid {self.pid}, since {time.strftime('%H:%M:%S', time.localtime(self.since))}"


class _Left(Exception):
    """The lock is held by what a dead process has forked, and was put aside."""


class Lock:
    """One file, locked whole; its text says who has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._run = ""

    def take(self, run: str) -> None:
        """Hold the lock for ``run``; raises Busy, or LedgerError when the file cannot be made."""
        if self._handle is not None and self._run == run:
            return
        with one_line("write", self._path):
            make_folder(self._path.parent)
            handle = self._open()
            try:
                own = look("self")
                holder = Holder(run, os.getpid(), time.time(), started=own.started if own else 0)
                name = json.dumps(asdict(holder)).encode()
                os.pwrite(handle, name, 0)  # over the last one: that needs no room on a disk that is full
                os.ftruncate(handle, len(name))
            except BaseException:
                os.close(handle)
                raise
        self._handle, self._run = handle, run

    def _open(self) -> int:
        """The file that is at the path, locked; one that was taken away meanwhile is nobody's lock."""
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._wait_for(handle)
                if self._is_at_path(handle):
                    return handle
            except _Left:
                pass
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def _is_at_path(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _wait_for(self, handle: int) -> None:
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not left:
                    holder = self._read(handle)
                    if holder.gone and self._is_at_path(handle):
                        self._path.unlink(missing_ok=True)
                        raise _Left from None
                    said = f"{self._path.parent} is held by {holder}"
                    raise Busy(f"{said}; wait for it, or `pytest-canary abort`", run=holder.run) from error
            time.sleep(TRY_SECONDS)

    def touch(self) -> None:
        """Say in the file's times that its holder is alive; raises LedgerError."""
        if self._handle is not None:
            with one_line("write", self._path):
                os.utime(self._handle)

    def holder(self) -> Holder | None:
        """Who holds the lock now; raises LedgerError when the file cannot be read."""
        with one_line("read", self._path):
            try:
                handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self._read(handle)
                return None if holder.gone else holder
            finally:
                os.close(handle)
        return None

    def free(self) -> None:
        """Let go of the lock.  Safe to repeat."""
        handle, self._handle = self._handle, None
        if handle is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing it would leave it to whatever this process has forked
            os.close(handle)

    @staticmethod
    def _read(handle: int) -> Holder:
        try:
            told = json.loads(os.pread(handle, 4096, 0))
            renewed = os.fstat(handle).st_mtime
            started = int(told.get("started", 0))
            return Holder(str(told["run"]), int(told["pid"]), float(told["since"]), renewed, started)
        except (ValueError, KeyError, TypeError):
            return Holder()  # it has the lock and has not written its name yet
