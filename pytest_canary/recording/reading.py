"""A recording, read line by line as it is asked for: however long the file is, memory holds one moment of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any

from pytest_canary.errors import UsageError
from pytest_canary.ports import Role
from pytest_canary.recording.parts import Part, edges_of, number
from pytest_canary.recording.values import READABLE, VERSION, Event, Header, Notice, Poll, Recorded

LONGEST = 64 * 2**20
"""Bytes of a line; a file with longer ones is none of ours."""
GZIP = b"\x1f\x8b"
HEADER = f'the header of a recording, such as {{"recording":{VERSION},"service":"gateway"}}'
ROLES = {str(role): role for role in Role}
POLLS = {str(poll): poll for poll in Poll}

Json = dict[str, Any]
Line = Recorded | Event | Notice
Heard = Callable[[int], None]
"""Is told how many bytes have been read, every so many lines."""
EVERY = 32


def read(path: Path, heard: Heard | None = None) -> tuple[Header, Iterator[Line]]:
    """Read a recording: its header, and what follows as it is asked for; half a last line is passed over.

    Where another run begins, time goes back or a line is missing, reading ends with a :class:`Notice`.

    Raises:
        UsageError: the file is no recording, or of another version; or, while it is read, a line is broken.

    """
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        what = "a folder" if path.is_dir() else "no plain file"
        raise UsageError(f"{path}: found {what}, expected a recording; name a file that a run has written")
    lines = _lines(path, heard)
    try:
        line, first, _ = next(lines, (1, {}, 0))
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
            f"{path}:{line}: found {_short(told) if told else 'nothing'}, expected {HEADER}; name a whole recording, "
            "or write that line first"
        )
    if type(found) is not int or found not in READABLE:
        raise UsageError(
            f"{path}:{line}: found a recording of version {_short(found)}, expected version {VERSION}; record the run "
            "again, or replay it with the pytest-canary that wrote it"
        )
    try:
        wall, plan = told.get("wall"), _plan(told.get("plan"))
        return Header(
            str(told.get("service") or ""),
            str(told.get("target") or ""),
            None if told.get("image") is None else str(told["image"]),
            str(told.get("run") or ""),
            _seconds("t", told.get("t", 0.0)),
            None if wall is None else _seconds("wall", wall),
            plan,
            found,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}:{line}: found {error} in the header; see docs/recordings.md") from error


def _plan(told: Any) -> Json:
    plan = {} if told is None else told
    if type(plan) is not dict:
        raise ValueError(f"plan {_short(told)}, expected such as {{'stages': [{{'weight': 0.05}}]}}")
    for key in ("stages", "gates"):
        parts = plan.get(key, [])
        if type(parts) is not list or not all(type(part) is dict for part in parts):
            raise ValueError(f"{key} {_short(parts)}, expected a list such as [{{'weight': 0.05}}]")
    return {**plan}


def _lines(path: Path, heard: Heard | None) -> Generator[tuple[int, Json, int]]:
    """Number of the line, what it says, and how many copies of the one before stood between."""
    with path.open("rb") as file:
        line, twice, done, last = 0, 0, 0, b""
        while text := file.readline(LONGEST):
            line, done = line + 1, done + len(text)
            if heard is not None and line % EVERY == 0:
                heard(done)
            if text == last:
                twice += 1
                continue
            last = text
            told = _json(text)
            if type(told) is dict:
                yield line, told, twice
                twice = 0
            elif told is None and line > 1 and not text.endswith(b"\n") and len(text) < LONGEST:
                return  # half a line, left by a kill
            elif text.strip():
                raise UsageError(f"{path}:{line}: found {_shown(text)}, expected {_expected(path, line, text)}")
            else:
                last = b""


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _shown(text: bytes) -> str:
    if text.startswith(GZIP):
        return "a file packed by gzip"
    start = text[:40].decode(errors="replace").strip()
    return repr(start) if start.isprintable() and "\ufffd" not in start else "no text"


def _expected(path: Path, line: int, text: bytes) -> str:
    if text.startswith(GZIP) and line == 1:
        return f"a recording as it was written; type `gunzip -c {path.name} > {path.stem}.unpacked.jsonl`"
    if line == 1:
        return f"{HEADER}; name a recording of a run"
    cut = f"head -n {line - 1} {path.name} > cut.jsonl"
    return f"a line of a recording; what comes before is replayed from `{cut}`"


def _body(path: Path, lines: Generator[tuple[int, Json, int]]) -> Iterator[Line]:
    body = _Body()
    with closing(lines):
        try:
            for line, told, twice in lines:
                try:
                    found = body.take(line, told, twice)
                except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
                    what = f"no {error}" if isinstance(error, KeyError) else str(error)
                    raise UsageError(
                        f"{path}:{line}: found {what}; docs/recordings.md says what stands where"
                    ) from error
                if found is not None:
                    yield found
                if isinstance(found, Notice):
                    return
        except OSError as error:
            raise UsageError(f"{path}: cannot be read any further: {error.strerror}; replay a copy of it") from error


class _Body:
    """What has been said until now."""

    def __init__(self) -> None:
        self._bounds: dict[int, tuple[float, ...]] = {}
        self._parts: dict[Role, Part] = {}
        self._stage, self._at = -1, float("-inf")
        self._number, self._twice = 1, 0

    def take(self, line: int, told: Json, twice: int = 0) -> Line | None:
        self._twice += twice
        if "n" in told:
            found = told.pop("n")
            if found != self._number + 1:
                return Notice(line, self._lost(found))
            self._number = found
        if "event" in told:
            return self._event(line, told)
        if "bounds" in told:
            self._bounds[told["bounds"]] = edges_of(told["le"])
            return None
        if "recording" in told:
            text = "another run begins here, and its clock is another one; put it into a file of its own"
            return Notice(line, text)
        return self._poll(line, told)

    def _lost(self, found: Any) -> str:
        if type(found) is not int:
            raise ValueError(f"n {_short(found)}, expected the number of the line")
        went = f"`n` goes from {self._number} to {found}"
        if found <= self._number:
            return f"lines are not in their order here ({went}); replay the file as it was written"
        lost = found - self._number - 1
        lines = "a line is" if lost == 1 else f"{lost} lines are"
        return f"{lines} missing here ({went}), and lines only say what has changed; replay a whole copy of it"

    def _event(self, line: int, told: Json) -> Event | Notice:
        kind, at, data = str(told["event"]), _seconds("t", told["t"]), _mapping(told.get("data"))
        if kind == "stage":
            if at < self._at:
                return self._back(line, at)
            self._at = at
            self._stage = int(data.setdefault("index", self._stage + 1))
        return Event(at, kind, data, line)

    def _poll(self, line: int, told: Json) -> Recorded | Notice:
        at = _seconds("t", told["t"])
        if at < self._at:
            return self._back(line, at)
        self._at, self._stage = at, int(told.get("stage", self._stage))
        poll = POLLS.get(told.get("poll") or (Poll.LOOK if self._stage >= 0 else Poll.BASELINE))
        if poll is None:
            raise ValueError(f"poll {told['poll']!r}, expected one of {', '.join(POLLS)}")
        roles = [key for key in told if key not in ("t", "poll", "stage", "why")]
        for name in roles:
            if name not in ROLES:
                raise ValueError(f"{name!r}, expected t, poll, stage or a role: {', '.join(ROLES)}")
            self._parts.setdefault(ROLES[name], Part()).take(told[name], at, self._bounds)
        samples = {ROLES[name]: self._parts[ROLES[name]].sample() for name in roles}
        twice, self._twice = self._twice, 0
        return Recorded(at, self._stage, samples, poll, str(told.get("why", "")), line, twice)

    def _back(self, line: int, at: float) -> Notice:
        return Notice(line, f"time goes back here, from {self._at:.15g} s to {at:.15g} s; sort the lines by `t`")


def _seconds(key: str, told: Any) -> float:
    found = number(told)
    if not isfinite(found):
        raise ValueError(f"{key} {told!r}, expected seconds")
    return found


def _mapping(told: Any) -> Json:
    if told is None:
        return {}
    if type(told) is not dict:
        raise ValueError(f"data {_short(told)}, expected such as {{'weight': 0.05}}")
    return {**told}


def _short(told: Any) -> str:
    text = json.dumps(told)
    return text if len(text) < 60 else f"{text[:57]}..."
