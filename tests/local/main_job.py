"""People who keep asking a world while something is done to it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

ANSWERED = 10.0


class Asking:
    """Somebody who asks ``address`` again and again, a new connection each time, as long as the block lasts."""

    def __init__(self, address: str) -> None:
        self.builds, self.lost = Counter[str](), list[str]()
        self._address, self._over = address, threading.Event()
        self._thread = threading.Thread(target=self._ask, name="asking")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.02):
            try:
                self.builds[httpx.get(f"{self._address}/health", timeout=ANSWERED).json()["build"]] += 1
            except (httpx.HTTPError, ValueError) as error:
                self.lost.append(repr(error))


def builds_that_answer(address: str, times: int = 40) -> set[str]:
    """The builds that answer ``times`` requests in a row."""
    return {httpx.get(f"{address}/health", timeout=ANSWERED).json()["build"] for _ in range(times)}


def until_asked(asking: Asking, times: int, patience_seconds: float = 20.0) -> None:
    """Wait until ``asking`` has been answered ``times`` more."""
    until, goal = time.monotonic() + patience_seconds, asking.builds.total() + times
    while asking.builds.total() < goal:
        assert time.monotonic() < until, f"answered by {asking.builds}, lost {asking.lost[:3]}"
        time.sleep(0.02)
