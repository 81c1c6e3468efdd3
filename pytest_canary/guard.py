"""What notices that a run has died: a small detached process that waits for the run's ledger to come free.

The run's side is :class:`Guard`, the other side :func:`stand`.  The kernel frees a ledger however its holder ends, so
nothing has to be told, and what is done then is what ``pytest-canary recover`` does.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pytest_canary.errors import Busy, LedgerError, Lost, NotStarted
from pytest_canary.ports import Clock, Ledger

NAME = "guard-"
"""Every name under which a guard holds a ledger begins so."""
WATCHING = "watching"
BEAT_SECONDS = 1.0
LOOK_SECONDS = 0.1
START_SECONDS = 30.0
END_SECONDS = 5.0
RESTORE_SECONDS = 60.0
"""How long a guard may take to put a dead run right, besides the time to drain."""
MOST_GUARDS = 20
"""A guard that dies is replaced, but not for ever ..."""
MOST_TRIES = 3
"""... and one that never comes to watch is not waited for long."""


class Guard:
    """The guard of one run, from the run's side: started before the target, replaced when it dies, ended with the run.

    ``command`` is what starts one; it writes :data:`WATCHING` to ``log`` once it can do its work.  While it is up,
    the ledger is renewed once a second: that is how a guard tells a run that is stopped from one that is alive.
    """

    def __init__(self, command: Sequence[str], log: Path, ledger: Ledger) -> None:
        self._command, self._log, self._ledger = command, log, ledger
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="canary-heart", daemon=True)
        self._started, self._failed = 0, 0
        self.lost = ""
        """Why nobody watches any more; empty while somebody does, or is about to."""

    @property
    def pid(self) -> int | None:
        """The process that watches now."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it, in its own session, so that neither Ctrl-C nor the end of a terminal or job reaches it.

        Raises:
            NotStarted: the machine does not start it.

        """
        try:
            self._launch()
        except OSError as error:
            raise NotStarted(f"nobody would notice if this run died: the guard cannot be started: {error}") from error
        self._heart.start()

    def must_watch(self, clock: Clock) -> None:
        """Return once it watches; raises NotStarted when it does not."""
        until = clock.now() + START_SECONDS
        while not self._watches():
            if self.lost or clock.now() >= until:
                late = f"nobody would notice if this run died: no guard after {START_SECONDS:g} s; {self._log}"
                raise NotStarted(self.lost or late)
            clock.sleep(LOOK_SECONDS / 2)

    def end(self, *, settled: bool = True) -> None:
        """End it: the run has settled.  Safe to repeat.

        One whose run has not settled goes on by itself: what the run could not put right it tries again.
        """
        self._over.set()
        if self._heart.is_alive():
            self._heart.join(timeout=END_SECONDS)
        process, self._process = self._process, None
        if process is None:
            return
        if not settled:
            process.returncode = 0  # it is no child of ours to wait for any more
            return
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:  # stopped, say: it must not wake up one day
            process.kill()
            process.wait()

    def _launch(self) -> None:
        self._started += 1
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with open(self._log, "wb", opener=_private) as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                self._ledger.renew()
            except Lost as error:
                self.lost = self.lost or str(error)
            except LedgerError:  # silence may pass; who holds the ledger meanwhile is for the ledger to say
                pass
            if self._process is not None and self._process.poll() is not None and not self.lost:
                self._replace()

    def _replace(self) -> None:
        said = self._said()
        self._failed = 0 if WATCHING in said else self._failed + 1
        if self._started >= MOST_GUARDS or self._failed >= MOST_TRIES:
            last = said.strip().rpartition("\n")[2] or "it said nothing"
            self.lost = f"nobody would notice if this run died: the guard does not watch: {last}; {self._log}"
            return
        with suppress(OSError):
            self._launch()

    def _watches(self) -> bool:
        alive = self._process is not None and self._process.poll() is None
        return alive and WATCHING in self._said()

    def _said(self) -> str:
        try:
            return self._log.read_text(errors="replace")
        except OSError:
            return ""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def stand(
    take: Callable[[], bool], heard: Callable[[], object], speak: Callable[[float], bool], patience: float, clock: Clock
) -> None:
    """Stand by until ``take`` has the ledger, ten times a second: the run has ended, well or badly.

    ``heard`` changes as long as the run is alive.  Once it has not for ``patience`` seconds, ``speak`` is called with
    the seconds, until it has succeeded: a run that is stopped holds its ledger and watches nobody.
    """
    last, since, spoken = heard(), clock.now(), False
    while not take():
        now = heard()
        if now != last:
            last, since, spoken = now, clock.now(), False
        if not spoken and clock.now() - since >= patience:
            spoken = speak(clock.now() - since)
        clock.sleep(LOOK_SECONDS)


def acquire(ledger: Ledger, run: str, clock: Clock, patience: float, tick: Callable[[str], None]) -> None:
    """Hold ``ledger`` for ``run``, and wait for a guard that is putting a dead run right, at most ``patience`` seconds.

    Raises:
        Busy: another run holds it, or the guard does for longer than that.

    """
    until = clock.now() + patience
    while True:
        try:
            return ledger.acquire(run)
        except Busy as busy:
            if not busy.run.startswith(NAME) or clock.now() >= until:
                raise
            tick(f"the guard to put right what a dead run left, {until - clock.now():.0f} s left")
            clock.sleep(LOOK_SECONDS)
