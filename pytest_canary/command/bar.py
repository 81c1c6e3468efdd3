"""How far many rollouts have come: one line that is drawn again and again, on a terminal only."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from types import TracebackType

from pytest_canary.power.cells import Cell

FULL, LEAST = 30, 3
"""Signs of the bar; fewer where the line would not fit, for a line that is too long cannot be drawn again."""
COLUMNS = 80
"""Of a terminal that does not say."""


class Bar:
    """A progress bar on stderr; nothing where nobody watches.  What it drew is gone at the end, however that comes."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        with suppress(OSError, ValueError):
            self._shown = sys.stderr.isatty()
            return
        self._shown = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._draw("")

    def __call__(self, done: int, whole: int, cell: Cell) -> None:
        if done == 0:
            self._began = time.monotonic()
        passed = time.monotonic() - self._began
        left = f"about {passed / done * (whole - done):.0f} s left" if done else "just begun"
        self._draw(line(done, whole, f"{done:,} of {whole:,} rollouts, {left}, {cell}") if done < whole else "")

    def _draw(self, text: str) -> None:
        if not self._shown:
            return
        with suppress(OSError, ValueError):
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()


def line(done: int, whole: int, told: str, columns: int | None = None) -> str:
    """The bar and what is told beside it, in one line of the terminal."""
    columns = _columns() if columns is None else columns
    signs = min(FULL, max(columns - 2 - len(told), LEAST))
    full = signs * done // whole
    return f"{'#' * full}{'.' * (signs - full)} {told}"[: columns - 1]


def _columns() -> int:
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or COLUMNS
    return COLUMNS
