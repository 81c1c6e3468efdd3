"""Turning a signal into a stop, and holding signals while traffic moves back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Our handlers from the first weight's preparation to the outcome, and what was there before, after it."""

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}
        self._held = 0
        self.received: list[str] = []

    def install(self) -> None:
        """Catch Ctrl-C, SIGTERM and SIGHUP; only the main thread may, elsewhere this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in CAUGHT:
            if number != signal.SIGTERM and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup, and jobs in the background of a shell: what they ignore stays ignored
            self._before[number] = signal.signal(number, self._fire)

    def restore(self) -> None:
        """Put back what was there before."""
        if threading.current_thread() is not threading.main_thread():
            return
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _fire(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.received.append(name)
        self._stop(name)
        if not self._held:
            raise KeyboardInterrupt(name)  # `except Exception` does not eat it; the flag survives what does

    def hold(self) -> None:
        """Only remember signals from here on: the session is on its way out, which a second Ctrl-C must not break."""
        self._held += 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """Remember signals instead of raising; traffic that moves back is not interrupted by a second Ctrl-C."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
