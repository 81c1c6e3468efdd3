"""How earlier rollouts of one service in one target ended: one JSON line each, in the state folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_canary.errors import LedgerError
from pytest_canary.outcome import End, Outcome
from pytest_canary.ports import Revision
from pytest_canary.report.words import moment
from pytest_canary.steps.restore import Restored

FILE = "outcomes.jsonl"
RECOVERED = "not promoted"
"""What stands where a rollout has its end, when it was killed and put right: nothing against the build."""
GUARD = "the guard"
"""Who puts right what a dead run left, where nobody else has done so first."""
REVERTED = "reverted"
"""What stands where a rollout has its end, when a person took the stable build back by hand."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """How one rollout ended; for a revert ``canary`` is the build that was taken back."""

    run: str
    end: str
    why: str
    at: float
    """Wall time of the end."""
    image: str = ""
    report: str = ""
    """Path of the report; empty when none was written."""
    gates: tuple[str, ...] = ()
    """The gates that convicted."""
    stable: Revision | None = None
    canary: Revision | None = None
    previous: Revision | None = None
    blamed: bool = True
    """Whether something spoke against the build; false when a run was merely cancelled."""

    @property
    def by_guard(self) -> bool:
        """Whether the run died and its guard has put things right."""
        return self.why.endswith(GUARD)

    @property
    def when(self) -> str:
        """``at`` for people."""
        return moment(self.at)


def remember(folder: Path, outcome: Outcome, report_path: str, *, blamed: bool = True) -> None:
    """Add how ``outcome`` ended to the history in ``folder``; raises OSError when it cannot be written.

    ``blamed`` says whether a gate or a test spoke against the build.
    """
    gates = tuple(dict.fromkeys(verdict.gate for verdict in outcome.failed))
    add(
        folder,
        Remembered(
            outcome.run, str(outcome.end), outcome.why, outcome.ended_at, outcome.image, report_path, gates,
            outcome.stable, outcome.canary, outcome.previous, blamed,
        ),
    )  # fmt: skip


def put_right(folder: Path, restored: Restored, by: str, at: float) -> None:
    """Add how a run that was killed has ended after all; raises OSError when it cannot be written."""
    left, promoted = restored.left, restored.promoted
    end, why = str(End.PROMOTED) if promoted else RECOVERED, f"the run had not ended and was put right by {by}"
    previous = left.stable if promoted else None
    add(folder, Remembered(left.run, end, why, at, left.image, "", (), restored.stable, left.canary, previous))


def add(folder: Path, line: Remembered) -> None:
    """Append ``line``; a half last line that a kill has left is ended first, so that it spoils nothing."""
    data = {
        "run": line.run, "end": line.end, "why": line.why, "at": line.at, "image": line.image, "report": line.report,
        "gates": list(line.gates), "stable": _data(line.stable), "canary": _data(line.canary),
        "previous": _data(line.previous), "blamed": line.blamed,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        half = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, ("\n" * half + json.dumps(data) + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def read(folder: Path) -> list[Remembered]:
    """Everything remembered, oldest first; what is no whole line is passed over.

    Raises:
        LedgerError: the file is there and cannot be read.

    """
    try:
        lines = (folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(f"{folder / FILE} cannot be read: {error.strerror}; see who owns it") from error
    return [found for found in map(_parsed, lines) if found is not None]


def rejected(folder: Path, pin: str) -> Remembered | None:
    """The last time the build ``pin`` was rolled back for a fault or reverted; None if never, or promoted since."""
    for line in reversed(read(folder)):
        if line.canary is None or line.canary.pin != pin:
            continue
        if line.end == REVERTED or (line.end == End.ROLLED_BACK and line.blamed):
            return line
        if line.end == End.PROMOTED:
            return None
    return None


def good(folder: Path) -> tuple[Revision, ...]:
    """Builds that held all the traffic and were not reverted since, newest first."""
    found: dict[str, Revision] = {}
    for line in read(folder):
        if line.end == REVERTED and line.canary is not None:
            found.pop(line.canary.pin, None)
        elif line.end == End.PROMOTED:
            for revision in (line.previous, line.stable or line.canary):
                if revision is not None:
                    found.pop(revision.pin, None)
                    found[revision.pin] = revision
    return tuple(reversed(found.values()))


def before(folder: Path, pin: str) -> Revision | None:
    """The last good build before ``pin``; for a ``pin`` that is not in the history, the last good one there is."""
    builds = good(folder)
    pins = [revision.pin for revision in builds]
    index = pins.index(pin) + 1 if pin in pins else 0
    return builds[index] if index < len(builds) else None


def _data(revision: Revision | None) -> dict[str, Any] | None:
    return revision.to_data() if revision is not None else None


def _parsed(line: str) -> Remembered | None:
    try:
        data = json.loads(line)
        return Remembered(
            run=str(data["run"]), end=str(data["end"]), why=str(data["why"]), at=float(data["at"]),
            image=str(data.get("image", "")), report=str(data.get("report", "")), gates=tuple(data.get("gates", ())),
            stable=_revision(data, "stable"), canary=_revision(data, "canary"), previous=_revision(data, "previous"),
            blamed=bool(data.get("blamed", True)),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _revision(data: Mapping[str, Any], key: str) -> Revision | None:
    return Revision.from_data(data[key]) if data.get(key) else None
