"""Clocks: the machine's, and one that moves only when somebody sleeps."""

from __future__ import annotations

import time
from threading import RLock


class SystemClock:
    """The machine's own time."""

    virtual = False

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass; none when there are none left."""
        time.sleep(max(0.0, seconds))


class VirtualClock:
    """Time that passes when somebody sleeps, and at once; any number of threads may ask and sleep."""

    virtual = True

    def __init__(self) -> None:
        self._lock = RLock()  # a signal handler may ask while its own thread sleeps
        self._passed = 0.0
        self._began = time.time()

    def now(self) -> float:
        """Seconds slept on this clock by anybody."""
        with self._lock:
            return self._passed

    def wall(self) -> float:
        """Seconds since 1970: when this clock was made, and what was slept since."""
        with self._lock:
            return self._began + self._passed

    def sleep(self, seconds: float) -> None:
        """Move this clock by ``seconds``, never back, and return at once."""
        with self._lock:
            self._passed += max(0.0, seconds)


OFFERS = {"system": SystemClock, "virtual": VirtualClock}
