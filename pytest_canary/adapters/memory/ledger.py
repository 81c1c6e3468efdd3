"""A ledger that is gone with its process."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock

from pytest_canary.errors import Busy
from pytest_canary.ports import Fact


class MemoryLedger:
    """:class:`~pytest_canary.ports.Ledger` in memory: one object is one rollout, whoever holds it."""

    def __init__(self) -> None:
        self.history: list[tuple[Fact, ...]] = []
        """Chapters that were closed, oldest first."""
        self._facts: list[Fact] = []
        self._run: str | None = None
        self._lock = RLock()

    def acquire(self, run: str) -> None:
        """Hold this rollout for ``run``; raises Busy when another run holds it."""
        with self._lock:
            if self._run not in (None, run):
                said = f"this rollout is held by run {self._run}; wait for it, or `pytest-canary abort`"
                raise Busy(said, run=str(self._run))
            self._run = run

    def renew(self) -> None:
        """Nothing to say: a holder in memory is alive."""

    def holder(self) -> str | None:
        """Which run holds this rollout, if any."""
        return self._run

    def append(self, fact: Fact) -> None:
        """Keep ``fact``."""
        with self._lock:
            self._facts.append(fact)

    def read(self) -> Sequence[Fact]:
        """All facts of the current chapter, oldest first."""
        with self._lock:
            return list(self._facts)

    def close_chapter(self, keep: Sequence[Fact] = ()) -> None:
        """Put the facts away as history and begin a chapter with ``keep``."""
        with self._lock:
            if self._facts:
                self.history.append(tuple(self._facts))
            self._facts = list(keep)

    def release(self) -> None:
        """Let go of the rollout.  Safe to repeat."""
        with self._lock:
            self._run = None
