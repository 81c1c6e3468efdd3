"""The report as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_canary.errors import UsageError
from pytest_canary.outcome import Outcome
from pytest_canary.report.data import to_json
from pytest_canary.report.markdown import markdown

WRITERS: Mapping[str, Callable[[Outcome], str]] = {
    ".md": markdown,
    ".json": lambda outcome: json.dumps(to_json(outcome), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
}


def check_suffix(path: Path) -> None:
    """Raise UsageError when no report can be written under this name."""
    if path.suffix not in WRITERS:
        raise UsageError(
            f"{path}: found the suffix {path.suffix!r}, expected {' or '.join(WRITERS)}; rename the report"
        )


def write(outcome: Outcome, path: Path) -> None:
    """Write the report to ``path`` in the format of its suffix; whoever reads meanwhile sees a whole report or none.

    Raises:
        UsageError: the suffix is neither ``.md`` nor ``.json``.
        OSError: the file cannot be written.

    """
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(WRITERS[path.suffix](outcome), encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
