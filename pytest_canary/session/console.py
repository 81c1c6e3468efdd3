"""The one writer to the terminal while a rollout runs."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import pytest

from pytest_canary.report.summary import BAKE

QUIET_SECONDS = 30.0
"""Elsewhere than on a terminal a line is written this often; some CI systems end jobs that stay silent."""
REWRITE_SECONDS = 0.2
NAME_WIDTH = 13
LONG = 40
"""A sentence that is longer is not repeated by who sums up."""
LEFT = re.compile(r", [^,|]{1,20} left$")
"""How long it may still take, at the end of a line."""


class Console:
    """Lines, one live line on a terminal, and nothing at all where pytest has no terminal reporter.

    What cannot be written (``| head``) is lost; a rollout never ends because nobody reads.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._live = bool(self._reporter and self._reporter.isatty() and self._reporter.hasmarkup)
        self._short = bool(self._reporter and self._reporter.verbosity <= 0)
        self._shown = float("-inf")
        self._open = False
        self._ran: Counter[str] = Counter()
        self._said: dict[str, str] = {}
        """What failed and was told why, by the sentence: who sums up need not repeat it."""
        self._muted = False
        self.owns_line = False
        """Whether pytest's letters are left out, because the lines of the rollout say the same."""

    @contextmanager
    def ours(self, shipping: bool) -> Iterator[None]:
        """While a test of a rollout runs: no file names and letters between the lines, unless ``-v`` asks for names."""
        if not (shipping and self._short):
            yield
            return
        names, self._reporter.showfspath, self.owns_line = self._reporter.showfspath, False, True
        try:
            yield
        finally:
            self._reporter.showfspath, self.owns_line = names, False

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Write nothing meanwhile."""
        self._muted = True
        try:
            yield
        finally:
            self._muted = False

    def ran(self, name: str, report: pytest.TestReport) -> None:
        """Remember how a test ended for the line of its stage; one that failed has a line of its own."""
        if report.failed:
            text = str(getattr(getattr(report.longrepr, "reprcrash", None), "message", report.longrepr or ""))
            self._ran["failed"] += 1
            said = text.strip().partition("\n")[0].removeprefix("Failed: ")
            self._said[said] = name
            self._row(name, "FAILED", f"{report.duration:.1f} s", said.removeprefix(f"{name}: "), red=True)
        elif hasattr(report, "wasxfail"):
            self._ran["with a warning"] += 1
            self._row(name, "warns", f"{report.duration:.1f} s", report.wasxfail, yellow=True)
        elif report.when == "call" or report.skipped:
            self._ran[report.outcome] += 1

    def tests(self, name: str) -> None:
        """Say how the tests ended since this was last asked."""
        ran, self._ran = self._ran, Counter()
        if self._short and ran["passed"] + ran["failed"]:
            text = ", ".join(f"{count} {how}" for how, count in ran.items())
            self._row(name, "FAILED" if ran["failed"] else "ok", "", text, red=bool(ran["failed"]))

    def tick(self, text: str, *, muted: bool | None = None) -> None:
        """Show what is waited for: rewritten in place on a terminal, a line every 30 s elsewhere."""
        now = time.monotonic()
        if (
            self._reporter is None
            or (self._muted if muted is None else muted)
            or now - self._shown < (REWRITE_SECONDS if self._live else QUIET_SECONDS)
        ):
            return
        first = self._shown == float("-inf")
        self._shown = now
        if self._live:
            with self._writing():
                width = max(20, self._reporter._tw.fullwidth - 1)
                if not self._open:
                    self._reporter.ensure_newline()
                self._reporter.rewrite(fitted(f"canary {text}", width), erase=True, cyan=True)
                self._reporter.flush()
            self._open = True
        elif not first:
            self._line(f"canary ... {text}", muted=muted)

    def said(self, text: str) -> None:
        """Write one whole line."""
        self._line(f"canary {text}")

    def row(self, name: str, text: str, *, passed: bool, seconds: float) -> None:
        """Write the line of a step that has ended, without repeating its name or what a failed one has said."""
        short = text
        for sentence, failed in self._said.items():
            if len(sentence) > LONG:
                short = short.replace(sentence, f"{failed} failed")
        if not passed:
            self._said[text] = name
        gate = name.removeprefix(BAKE)
        if name != gate and short.startswith(f"{gate}["):
            short = short.partition("]: ")[2]
        self._row(name, "ok" if passed else "FAILED", f"{seconds:.1f} s", short, red=not passed)

    def section(self, title: str, text: str, **markup: bool) -> None:
        """Write a titled block."""
        if self._reporter is None:
            return
        with self._writing():
            self._fresh()
            self._reporter.write_sep("=", title, **markup)
            for line in text.splitlines():
                self._reporter.write_line(line)
            self._reporter.flush()

    def _row(self, name: str, mark: str, seconds: str, text: str, **markup: bool) -> None:
        self._line(f"canary {name:<{NAME_WIDTH}} {mark:<6} {seconds:>7}  {text}", **markup)

    def _line(self, text: str, *, muted: bool | None = None, **markup: bool) -> None:
        if self._reporter is None or (self._muted if muted is None else muted):
            return
        with self._writing():
            self._fresh()
            self._reporter.write_line(text, **markup)
            self._reporter.flush()
        self._shown = time.monotonic()

    def _fresh(self) -> None:
        if self._open:
            self._reporter.rewrite("", erase=True)
            self._reporter.rewrite("")  # erasing leaves the cursor at the end of the line
            self._open = False
            return
        self._reporter.ensure_newline()
        if self._reporter._tw.width_of_current_line:  # such as pytest's own "[100%]"
            self._reporter._tw.line()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        capture = self._capture.global_and_fixture_disabled() if self._capture is not None else nullcontext()
        with suppress(OSError, ValueError), capture:
            yield


def fitted(text: str, width: int) -> str:
    """``text`` in one line of a terminal: what stands first stays, and how long it may still take; by whole words."""
    if len(text) <= width:
        return text
    found = LEFT.search(text)
    end = found.group() if found else ""
    room = width - len(end) - len(" ...")
    words = text[: len(text) - len(end)]
    if words[room : room + 1] not in ("", " "):
        words = words[:room].rpartition(" ")[0] or words
    return f"{words[:room].rstrip(' ,;:|')} ...{end}"
