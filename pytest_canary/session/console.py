"""The one writer to the terminal while a rollout runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import pytest

QUIET_SECONDS = 30.0
"""Elsewhere than on a terminal a line is written this often; some CI systems end jobs that stay silent."""
REWRITE_SECONDS = 0.2


class Console:
    """Lines, one live line on a terminal, and nothing at all where pytest has no terminal reporter.

    What cannot be written (``| head``) is lost; a rollout never ends because nobody reads.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._live = bool(self._reporter and self._reporter.isatty() and self._reporter.hasmarkup)
        self._shown = float("-inf")
        self._open = False

    @contextmanager
    def _writing(self) -> Iterator[None]:
        capture = self._capture.global_and_fixture_disabled() if self._capture is not None else nullcontext()
        with suppress(OSError, ValueError), capture:
            yield

    def tick(self, text: str) -> None:
        """Show what is waited for: rewritten in place on a terminal, a line every 30 s elsewhere."""
        now = time.monotonic()
        if self._reporter is None or now - self._shown < (REWRITE_SECONDS if self._live else QUIET_SECONDS):
            return
        first = self._shown == float("-inf")
        self._shown = now
        if self._live:
            with self._writing():
                width = max(20, self._reporter._tw.fullwidth - 1)
                if not self._open:
                    self._reporter.ensure_newline()
                self._reporter.rewrite(text[:width], erase=True, cyan=True)
                self._reporter.flush()
            self._open = True
        elif not first:
            self.line(f"  ... {text}")

    def line(self, text: str, **markup: bool) -> None:
        """Write one whole line."""
        if self._reporter is None:
            return
        with self._writing():
            if self._open:
                self._reporter.rewrite("", erase=True)
                self._open = False
            else:
                self._reporter.ensure_newline()
            self._reporter.write_line(text, **markup)
            self._reporter.flush()
        self._shown = time.monotonic()

    def section(self, title: str, text: str, **markup: bool) -> None:
        """Write a titled block."""
        if self._reporter is None:
            return
        with self._writing():
            if self._open:
                self._reporter.rewrite("", erase=True)
                self._open = False
            self._reporter.ensure_newline()
            self._reporter.write_sep("=", title, **markup)
            for line in text.splitlines():
                self._reporter.write_line(line)
            self._reporter.flush()
