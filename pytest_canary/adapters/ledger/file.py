"""The ledger in a folder: one JSON line per fact, and a lock that dies with its holder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from pytest_canary.adapters.ledger.files import make_folder, one_line, sync_folder, write_all, write_new
from pytest_canary.adapters.ledger.lock import Holder, Lock
from pytest_canary.errors import LedgerError
from pytest_canary.ports import Fact


class FileLedger:
    """Lock and journal of one rollout in ``folder``, which is made when it is first written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.jsonl"
        self._lock = Lock(folder / "lock")
        self._one_at_a_time = RLock()

    def acquire(self, run: str) -> None:
        """Hold this rollout for ``run``; raises Busy when another live run holds it."""
        self._lock.take(run)

    def renew(self) -> None:
        """Say that this run is still alive."""
        self._lock.touch()

    def holder(self) -> Holder | None:
        """Who holds this rollout now, if anybody, without taking it."""
        return self._lock.holder()

    def append(self, fact: Fact) -> None:
        """Write ``fact`` and return once it is on the disk; raises LedgerError."""
        with self._one_at_a_time, one_line("write", self.path):
            new = not self.path.exists()
            if new:
                make_folder(self.folder)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _drop_half_a_line(handle)
                write_all(handle, _line(fact))
            finally:
                os.close(handle)
            if new:
                sync_folder(self.folder)

    def read(self) -> Sequence[Fact]:
        """All facts of the current chapter, oldest first; raises LedgerError that names the line that is broken."""
        with one_line("read", self.path):
            try:
                whole, _, _ = self.path.read_bytes().rpartition(b"\n")
            except FileNotFoundError:
                return []
        return [_fact(line, f"{self.path}:{number}") for number, line in enumerate(whole.splitlines(), 1)]

    def close_chapter(self, keep: Sequence[Fact] = ()) -> None:
        """Move the facts to ``history/`` and begin a chapter with ``keep``; raises LedgerError."""
        with self._one_at_a_time, one_line("write", self.path):
            history = self.folder / "history"
            make_folder(history)
            old = self.path.read_bytes() if self.path.exists() else b""
            if old:
                numbers = [int(file.stem) for file in history.glob("*.jsonl") if file.stem.isdigit()]
                write_new(history / f"{max(numbers, default=0) + 1:04d}.jsonl", old)
            write_new(self.path, b"".join(map(_line, keep)))

    def release(self) -> None:
        """Let go of the rollout.  Safe to repeat."""
        self._lock.free()


def _line(fact: Fact) -> bytes:
    told = {"kind": fact.kind, "at": fact.at, "data": fact.data}
    return json.dumps(told, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    """What JSON does not know; a fact must never fail on the way back."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _fact(line: bytes, where: str) -> Fact:
    try:
        told = json.loads(line)
        return Fact(str(told["kind"]), float(told["at"]), dict(told["data"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise LedgerError(f"{where}: not a fact: {error}; delete this line if nothing is lost with it") from error


def _drop_half_a_line(handle: int) -> None:
    """Cut off what a kill or a full disk left of the last line, so that the next fact does not end in it."""
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        os.ftruncate(handle, os.pread(handle, size, 0).rfind(b"\n") + 1)
