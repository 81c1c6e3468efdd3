"""Metric sets as Kayenta keeps them -> the lines of a recording.

A file holds a list of pairs: a name, tags, ``values`` of ``control`` and ``experiment`` step by step, and ``scopes``
that say when the first step began and how long each was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

from pytest_canary.errors import UsageError
from pytest_canary.ports import Role
from pytest_canary.recording.changes import number_told
from pytest_canary.recording.values import VERSION

SIDES = {"control": Role.BASELINE, "experiment": Role.CANARY}
COUNTED = ("requests", "errors", "client_errors", "refusals", "input_tokens", "output_tokens")
"""Names that are counts wherever they stand."""
LAST = 1e14
"""Milliseconds since 1970; the year 5138."""
EVEN = 0.5
"""The canary's share where nobody says and no requests are counted."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the values of a metric are in a recording."""

    name: str
    kind: str = "count"
    """``count``: how many in each step; ``rate``: how many a second; ``gauge``: a value of that time."""

    @classmethod
    def of(cls, text: str) -> Meaning:
        """``errors``, ``errors/s`` or ``gauge:memory``."""
        if text.startswith("gauge:"):
            return cls(text.removeprefix("gauge:"), "gauge")
        return cls(text.removesuffix("/s"), "rate") if text.endswith("/s") else cls(text)


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one side: seconds since 1970 at the end of each step -> its value; None where there was none."""

    metric: str
    role: Role
    meaning: Meaning
    start: float
    step: float
    values: tuple[float | None, ...]

    def points(self) -> Iterator[tuple[float, float]]:
        """When each step ended and what it adds; a step without a value adds nothing."""
        times = self.step if self.meaning.kind == "rate" else 1.0
        for index, value in enumerate(self.values):
            if value is not None:
                yield self.start + (index + 1) * self.step, value * times


def read_pairs(path: Path, meanings: Mapping[str, Meaning]) -> list[Series]:
    """Read the metric sets of one file.

    Raises:
        UsageError: it holds none, or something else.

    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name a JSON file of metric set pairs") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: found no text, expected JSON with metric set pairs") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}:{error.lineno}: found no JSON ({error.msg}), expected metric set pairs") from error
    pairs = told.get("metricSetPairList", [told]) if isinstance(told, dict) else told
    if not isinstance(pairs, list) or not pairs:
        raise UsageError(f'{path}: found no pairs, expected a list such as [{{"name": ..., "values": {{...}}}}]')
    numbered = enumerate(pairs, 1)
    return [one for number, pair in numbered for one in _pair(f"{path}: pair {number}", pair, meanings)]


def _pair(where: str, pair: Any, meanings: Mapping[str, Meaning]) -> Iterator[Series]:
    named = isinstance(pair, dict) and isinstance(pair.get("name"), str) and pair["name"]
    if not named or not isinstance(pair.get("values"), dict):
        raise UsageError(f'{where}: found {str(pair)[:40]!r}, expected "name" and "values" of a metric set pair')
    name, tags = pair["name"], pair.get("tags") or {}
    where = f"{where} ({name})"
    if not isinstance(tags, dict):
        raise UsageError(f'{where}: found tags {str(tags)[:40]}, expected such as {{"zone": "a"}}, or none')
    missing = [side for side in SIDES if not isinstance(pair["values"].get(side), list)]
    if missing:
        raise UsageError(f"{where}: found no values of {' and '.join(missing)}, expected a list of numbers for each")
    meaning = meanings.get(name) or _unnamed(name, tags)
    first = _times(where, pair, "experiment")
    for side, role in SIDES.items():
        # Kayenta compares step with step, whenever those of the control were: so both have the times of the experiment.
        yield Series(name, role, meaning, *first, tuple(_value(where, value) for value in pair["values"][side]))


def _unnamed(name: str, tags: Mapping[str, Any]) -> Meaning:
    if name in COUNTED:
        return Meaning(name)
    label = ",".join(f"{key}={value}" for key, value in sorted(tags.items()))
    return Meaning(f"{name}{{{label}}}" if label else name, "gauge")


def _times(where: str, pair: Json, side: str) -> tuple[float, float]:
    """When the first step began, seconds since 1970, and how many seconds each lasted."""
    scopes = pair.get("scopes") or {}
    scope = (scopes.get(side) if isinstance(scopes, dict) else scopes) or pair
    if not isinstance(scope, dict):
        raise UsageError(
            f"{where}: found scopes {str(scopes)[:40]}, expected startTimeMillis and stepMillis of the {side}"
        )
    start, step = scope.get("startTimeMillis"), scope.get("stepMillis")
    if start is None and isinstance(scope.get("startTimeIso"), str):
        try:
            start = datetime.fromisoformat(scope["startTimeIso"]).timestamp() * 1000
        except ValueError as error:
            raise UsageError(
                f"{where}: found startTimeIso {scope['startTimeIso']!r}, expected such as 2026-11-01T10:00:00Z"
            ) from error
    if not _is_number(start) or not _is_number(step) or not abs(start) < LAST or not 0 < step < LAST:
        raise UsageError(
            f"{where}: found startTimeMillis {start!r} and stepMillis {step!r} of the {side}, expected milliseconds"
        )
    return start / 1000.0, step / 1000.0


def _value(where: str, value: Any) -> float | None:
    if value is None or value == "NaN":
        return None
    if not _is_number(value):
        raise UsageError(f"{where}: found the value {value!r}, expected a number or NaN")
    return float(value) if isfinite(value) else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def lines_of(series: Sequence[Series], service: str, weight: float | None = None) -> Iterator[str]:
    """The lines of a recording of one stage in which ``series`` were counted; ``weight`` is the canary's share, 0..1.

    Where that is not given it is the canary's share of the requests.
    """
    first = min(one.start for one in series)
    share = weight or _share(series)
    yield _line({"recording": VERSION, "service": service, "t": first, "wall": first})
    zeros = {str(role): {"c": _counters(series, role)} for role in SIDES.values()}
    yield _line({"t": first, **zeros})
    yield _line({"t": first, "event": "stage", "data": {"weight": share}})
    counted: dict[tuple[Role, str], float] = {}
    for at, points in _by_time(series):
        told: dict[str, Json] = {str(role): {} for role in SIDES.values()}
        for one, value in points:
            if one.meaning.kind == "gauge":
                told[str(one.role)].setdefault("g", {})[one.meaning.name] = number_told(value)
                continue
            key = (one.role, one.meaning.name)
            counted[key] = counted.get(key, 0.0) + max(value, 0.0)
            told[str(one.role)].setdefault("c", {})[one.meaning.name] = number_told(counted[key])
        yield _line({"t": at, **told})


def oddities(series: Sequence[Series]) -> Iterator[str]:
    """What of the values does not count as it stands, one sentence for each metric."""
    for one, other in zip(series[::2], series[1::2], strict=True):
        lengths = len(one.values), len(other.values)
        if lengths[0] != lengths[1]:
            found = f"{lengths[0]} values of control and {lengths[1]} of experiment"
            yield f"{one.metric}: {found}; those missing add nothing"
        below = sum(value < 0 for each in (one, other) for _, value in each.points() if each.meaning.kind != "gauge")
        if below:
            yield f"{one.metric}: {below} values below 0, counted as 0; if it is no count, write --as '...=gauge:NAME'"


def _by_time(series: Iterable[Series]) -> list[tuple[float, list[tuple[Series, float]]]]:
    times: dict[float, list[tuple[Series, float]]] = {}
    for one in series:
        for at, value in one.points():
            times.setdefault(at, []).append((one, value))
    return sorted(times.items())


def _counters(series: Iterable[Series], role: Role) -> dict[str, int]:
    return {one.meaning.name: 0 for one in series if one.role is role and one.meaning.kind != "gauge"}


def _share(series: Iterable[Series]) -> float:
    counted = dict.fromkeys(SIDES.values(), 0.0)
    for one in series:
        if one.meaning.name == "requests" and one.meaning.kind != "gauge":
            counted[one.role] += sum(value for _, value in one.points())
    total = sum(counted.values())
    return float(f"{counted[Role.CANARY] / total:.3g}") if total and counted[Role.CANARY] else EVEN


def _line(told: Json) -> str:
    return json.dumps(told, separators=(",", ":"))
