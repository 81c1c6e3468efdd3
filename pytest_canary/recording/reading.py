"""A recording, read line by line as it is asked for: however long the file is, memory holds one moment of it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pytest_canary.errors import UsageError
from pytest_canary.ports import Role
from pytest_canary.recording.parts import Part, edges_of, number
from pytest_canary.recording.values import VERSION, Event, Header, Notice, Poll, Recorded

LONGEST = 64 * 2**20
"""Bytes of a line; a file with longer ones is none of ours."""
ROLES = {str(role): role for role in Role}
POLLS = {str(poll): poll for poll in Poll}

Json = dict[str, Any]
Line = Recorded | Event | Notice


def read(path: Path) -> tuple[Header, Iterator[Line]]:
    """Read a recording: its header, and what follows as it is asked for; half a last line is passed over.

    Where another run begins, or time goes back, reading ends with a :class:`Notice`.

    Raises:
        UsageError: the file is no recording, or of another version; or, while it is read, a line is broken.

    """
    lines = _lines(path)
    try:
        line, first = next(lines, (1, {}))
        header = _header(path, line, first)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name a recording of a run") from error
    except UsageError:
        lines.close()
        raise
    return header, _body(path, lines)


def _header(path: Path, line: int, told: Json) -> Header:
    found = told.get("recording", told.get("version") if told.get("line") == "header" else None)
    if found is None:
        raise UsageError(
            f"{path}:{line}: found {_short(told) if told else 'nothing'}, expected the header of a recording, such as "
            f'{{"recording":{VERSION},"service":"gateway"}}; name a whole recording, or write that line first'
        )
    if found != VERSION:
        raise UsageError(
            f"{path}:{line}: found a recording of version {found}, expected version {VERSION}; record the run again, "
            "or replay it with the pytest-canary that wrote it"
        )
    try:
        wall, plan = told.get("wall"), told.get("plan") or {}
        return Header(
            str(told.get("service", "")),
            str(told.get("target", "")),
            told.get("image"),
            str(told.get("run", "")),
            number(told.get("t", 0.0)),
            None if wall is None else number(wall),
            {**plan},
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}:{line}: found {error} in the header; see docs/recordings.md") from error


def _lines(path: Path) -> Generator[tuple[int, Json]]:
    with path.open("rb") as file:
        line = 0
        while text := file.readline(LONGEST):
            line += 1
            try:
                told = json.loads(text)
            except ValueError:
                told = None
            if type(told) is dict:
                yield line, told
            elif told is None and not text.endswith(b"\n") and len(text) < LONGEST:
                return  # half a line, left by a kill
            elif text.strip():
                raise UsageError(
                    f"{path}:{line}: found {text[:40].decode(errors='replace').strip()!r}, expected a line of a "
                    f"recording; what comes before is replayed from `head -n {line - 1} {path.name} > cut.jsonl`"
                )


def _body(path: Path, lines: Generator[tuple[int, Json]]) -> Iterator[Line]:
    body = _Body()
    with closing(lines):
        for line, told in lines:
            try:
                found = body.take(line, told)
            except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
                what = f"no {error}" if isinstance(error, KeyError) else str(error)
                raise UsageError(f"{path}:{line}: found {what}; docs/recordings.md says what stands where") from error
            if found is not None:
                yield found
            if isinstance(found, Notice):
                return


class _Body:
    """What has been said until now."""

    def __init__(self) -> None:
        self._bounds: dict[int, tuple[float, ...]] = {}
        self._parts: dict[Role, Part] = {}
        self._stage, self._at = -1, float("-inf")

    def take(self, line: int, told: Json) -> Line | None:
        if "event" in told:
            return self._event(line, told)
        if "bounds" in told:
            self._bounds[told["bounds"]] = edges_of(told["le"])
            return None
        if "recording" in told:
            text = "another run begins here, and its clock is another one; put it into a file of its own"
            return Notice(line, text)
        return self._poll(line, told)

    def _event(self, line: int, told: Json) -> Event:
        data = {**(told.get("data") or {})}
        if told["event"] == "stage":
            self._stage = int(data.setdefault("index", self._stage + 1))
        return Event(number(told["t"]), str(told["event"]), data, line)

    def _poll(self, line: int, told: Json) -> Recorded | Notice:
        at = number(told["t"])
        if at < self._at:
            return Notice(line, f"time goes back here, from {self._at:g} s to {at:g} s; sort the lines by `t`")
        self._at, self._stage = at, int(told.get("stage", self._stage))
        poll = POLLS.get(told.get("poll") or (Poll.LOOK if self._stage >= 0 else Poll.BASELINE))
        if poll is None:
            raise ValueError(f"poll {told['poll']!r}, expected one of {', '.join(POLLS)}")
        roles = [key for key in told if key not in ("t", "poll", "stage")]
        for name in roles:
            if name not in ROLES:
                raise ValueError(f"{name!r}, expected t, poll, stage or a role: {', '.join(ROLES)}")
            self._parts.setdefault(ROLES[name], Part()).take(told[name], at, self._bounds)
        samples = {ROLES[name]: self._parts[ROLES[name]].sample() for name in roles}
        return Recorded(at, self._stage, samples, poll, line)


def _short(told: Json) -> str:
    text = json.dumps(told)
    return text if len(text) < 60 else f"{text[:57]}..."
