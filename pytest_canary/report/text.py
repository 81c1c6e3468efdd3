"""The report on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from pytest_canary.outcome import Outcome
from pytest_canary.ports import NOTHING
from pytest_canary.report.summary import last_line, lines

WIDTH = 118
PASTED = frozenset({"next", "report", "metrics", "runbook"})
"""What is pasted elsewhere stays in one piece, however long."""


def text(outcome: Outcome, files: Mapping[str, str] = NOTHING) -> str:
    """The report as about thirty lines for a terminal; ``files`` names where ``report`` and ``metrics`` are."""
    said = lines(outcome, files)
    wide = max((len(label) for label, _ in said), default=0)
    return "\n".join([last_line(outcome), *(_line(label, words, wide) for label, words in said)])


def _line(label: str, words: str, wide: int) -> str:
    start = f"  {label:<{wide}}  "
    if label in PASTED:
        return start + words
    return textwrap.fill(
        words, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
