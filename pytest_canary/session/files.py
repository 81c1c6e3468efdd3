"""What a finished rollout leaves on disk, and whether it could be written before anything was deployed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_canary import report
from pytest_canary.errors import UsageError
from pytest_canary.outcome import Outcome
from pytest_canary.report import history


def check(option: Any) -> None:
    """Look whether the files that ``option`` (pytest's) names can be written.

    Raises:
        UsageError: one cannot be.

    """
    if option.canary_report:
        report.check_suffix(Path(option.canary_report))
    for name in (getattr(option, "xmlpath", None), option.canary_report):
        if name:
            folder = Path(name).absolute().parent
            existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
            if not existing.is_dir() or not os.access(existing, os.W_OK):
                raise UsageError(f"{name} cannot be written: {existing} is not a folder we may write to")


def leave(outcome: Outcome, state: Path, option: Any, blamed: bool) -> tuple[dict[str, str], list[str]]:
    """Write reports, history and metrics; a full disk costs the files, not the outcome.

    ``blamed`` says whether a gate or a test spoke against the build.  Returns what was written where, and what was not.
    """
    files, trouble = {"metrics": outcome.recording}, list[str]()
    with suppress(Exception):
        reports = state / "reports"
        reports.mkdir(parents=True, exist_ok=True)
        for suffix in (".md", ".json"):
            report.write(outcome, reports / f"{outcome.run}{suffix}")
        files["report"] = str(reports / f"{outcome.run}.md")
        if not outcome.simulated:
            history.remember(state, outcome, files["report"], blamed=blamed)
    if option.canary_report:
        try:
            report.write(outcome, Path(option.canary_report))
            files["report"] = option.canary_report
        except OSError as error:
            trouble.append(f"the report cannot be written to {option.canary_report}: {error.strerror}")
    junit = getattr(option, "xmlpath", None)
    if junit and outcome.recording:
        with suppress(OSError):
            beside = Path(junit).with_suffix(".metrics.jsonl")
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(outcome.recording, beside)
            files["metrics"] = str(beside)
    return files, trouble
