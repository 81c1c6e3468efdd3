"""Appends what one run counts to a file; every line is out before the next is begun."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any

from pytest_canary.plan import Plan
from pytest_canary.ports import Role, Sample
from pytest_canary.recording.changes import Json, Kept, changes, number_told
from pytest_canary.recording.header import header_of
from pytest_canary.recording.values import VERSION, Poll


class Recording:
    """Appends what one run counts to a file; a run that is killed leaves one that can be read."""

    keeps = True
    """Whether what is written is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bounds: dict[tuple[float, ...], int] = {}
        self._kept: dict[Role, Kept] = {}
        self._stage = -1
        self._lines = 0
        self._lock = RLock()

    def begin(self, plan: Plan, run: str = "", at: float = 0.0, wall: float | None = None) -> None:
        """Make the folder and write the header; ``at`` and ``wall`` are one moment, of two clocks.  Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        named = {"service": plan.service, "target": plan.target, "image": plan.image, "run": run, "t": at, "wall": wall}
        with self._lock:
            self._lines = 0
            self._write({"recording": VERSION, **named, "plan": header_of(plan)})

    def write_sample(
        self, at: float, stage_index: int, samples: Mapping[Role, Sample], poll: Poll = Poll.LOOK, why: str = ""
    ) -> None:
        """Add what the roles have counted until ``at``; ``why`` says why there is nothing, where the source is silent.

        Raises OSError, and then nothing was added.
        """
        with self._lock:
            line: Json = {"t": at, "poll": str(poll), **({"why": why} if why else {})}
            if stage_index != self._stage:
                line["stage"] = stage_index
            kept = dict(self._kept)
            for role, sample in samples.items():
                line[str(role)], kept[role] = changes(kept.get(role), sample, at, self._number)
            self._write(line)
            self._kept, self._stage = kept, stage_index

    def write_event(self, at: float, kind: str, **data: Any) -> None:
        """Add that something happened at ``at``; raises OSError."""
        with self._lock:
            self._write({"t": at, "event": kind, "data": data})
            if kind == "stage":
                self._stage = int(data["index"])

    def _number(self, bounds: tuple[float, ...]) -> int:
        if bounds not in self._bounds:
            number = len(self._bounds) + 1
            self._write({"bounds": number, "le": [number_told(bound) for bound in bounds]})
            self._bounds[bounds] = number
        return self._bounds[bounds]

    def _write(self, line: Json) -> None:
        """Every line but the header ends with its number, so that a reader sees when one was lost."""
        numbered = {**line, "n": self._lines + 1} if self._lines else line
        text = f"{_json(numbered)}\n".encode()
        with self.path.open("ab") as file:
            end = file.tell()
            try:
                file.write(text)
                file.flush()
            except OSError:
                with suppress(OSError):  # half a line on a disk that is full would spoil those that follow
                    file.truncate(end)
                raise
        self._lines += 1


def _json(line: Json) -> str:
    try:
        return json.dumps(line, separators=(",", ":"), default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(line), separators=(",", ":"), default=str)


def _finite(value: Any) -> Any:
    """``value`` with words in the place of numbers that JSON does not know."""
    if isinstance(value, float):
        return number_told(value)
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
