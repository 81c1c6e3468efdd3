"""How far the replay of a large recording has come."""

from __future__ import annotations

import time
from pathlib import Path

from pytest_canary.session.console import Console

SOON = 0.02
"""Share of a file after which one can say how long the rest takes."""


class Reel:
    """Hears how many bytes of a recording have been read; one that others wrote is read twice."""

    def __init__(self, console: Console, path: Path) -> None:
        self._console, self._name = console, path.stem
        self._size = path.stat().st_size if path.is_file() else 0
        self._read, self._began = 0, time.monotonic()

    @property
    def share(self) -> float:
        """Of the file, 0..1."""
        return min(self._read / self._size, 1.0) if self._size else 0.0

    def __call__(self, read: int) -> None:
        """Say so, as often as the console says what is waited for."""
        if read < self._read:
            self._began = time.monotonic()
        self._read = read
        passed = time.monotonic() - self._began
        left = f", {_words(passed / self.share - passed)} left" if self.share > SOON else ""
        self._console.tick(f"replay {self._name}: {self.share:.0%} of {_size(self._size)}{left}", muted=False)


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
