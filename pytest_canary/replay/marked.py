"""Recordings that others wrote -> the same, with the marks that a replay needs.

A run of ours writes which stages it planned, when a split was seen, and when a hold was decided on.  A script writes
what was counted and when a stage began.  The file is read once for what stages there were, and a second time to be
played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from pytest_canary.errors import UsageError
from pytest_canary.ports import Role, Sample
from pytest_canary.recording import Event, Header, Heard, Notice, Poll, Recorded, number, read
from pytest_canary.replay.quantity import quantity
from pytest_canary.steps.ramp import VERIFY_SECONDS

Line = Recorded | Event | Notice
ROUNDING = 1e-9
MOST = 1000
"""Polls that say what is normal: of a longer window some are passed over, which changes none of the counts; where
there was no window, as many polls of the first stage."""
PATIENT_SECONDS = VERIFY_SECONDS + 1.0
"""The split of a stage is judged once, by all that was counted in it, as if so much time had passed."""


class _Window:
    """How long the stable build was counted before the first stage, since its counters last began anew."""

    def __init__(self) -> None:
        self.seconds, self._polls, self._last = 0.0, 0, 0
        self._first: Sample | None = None
        self._began = 0.0
        self._anew: set[int] = set()

    def see(self, line: Recorded) -> None:
        sample = line.samples[Role.BASELINE]
        if self._first is None or sample.since(self._first) is None:
            self._first, self._began = sample, line.at
            self._anew.add(line.line)
        self.seconds = max(self.seconds, line.at - self._began)
        self._polls, self._last = self._polls + 1, line.line

    def thinned(self, lines: Iterator[Line]) -> Iterator[Line]:
        """Without most of the polls of a window of hours, but with its first and last, and where counters began."""
        every, polls = ceil(self._polls / MOST), 0
        for line in lines:
            if isinstance(line, Recorded) and line.line <= self._last and Role.BASELINE in line.samples:
                polls += 1
                if polls % every and line.line != self._last and line.line not in self._anew:
                    continue
            yield line


class _Stage:
    """One stage, as it was told."""

    def __init__(self, begin: Event, latest: Mapping[Role, Sample]) -> None:
        self.begin = begin
        self.before = {
            role: replace(latest[role], at=begin.at) if role in latest else Sample(begin.at)
            for role in Role
            if role in latest or role is not Role.CONTROL
        }
        self.last: Recorded | None = None
        self.normal: Recorded | None = None
        """The last poll that says what is normal, where there was no window."""
        self._normal = 0

    def see(self, look: Recorded, latest: Mapping[Role, Sample]) -> None:
        self.last = replace(look, samples={role: latest.get(role, sample) for role, sample in self.before.items()})
        if self._normal < MOST and Role.BASELINE in look.samples:
            self.normal, self._normal = look, self._normal + 1

    @property
    def normal_seconds(self) -> float:
        """How long that window in the first stage is."""
        return self.normal.at - self.begin.at if self.normal else 0.0

    @property
    def weight(self) -> float:
        """As it was told, else the canary's share of what was counted."""
        told = self.begin.data.get("weight")
        return number(told) if told is not None else float(f"{self._share:.3g}")

    @property
    def _share(self) -> float:
        assert self.last is not None
        counted = {role: _requests(sample, self.before[role]) for role, sample in self.last.samples.items()}
        return counted[Role.CANARY] / (sum(counted.values()) or 1.0)


def _requests(now: Sample, before: Sample) -> float:
    since = now.since(before)
    return since.of_users if since is not None else now.of_users


class _Script:
    """What a look through a file has found."""

    def __init__(self, path: Path, heard: Heard | None) -> None:
        self.path, self.heard, self.window = path, heard, _Window()
        self._all: list[_Stage] = []
        self.control = False

    def see(self, lines: Iterator[Line]) -> None:
        latest: dict[Role, Sample] = {}
        for line in lines:
            if isinstance(line, Event) and line.kind == "stage":
                self._all.append(_Stage(line, latest))
            elif isinstance(line, Recorded):
                latest.update(line.samples)
                self.control = self.control or Role.CONTROL in line.samples
                if self._all:
                    self._all[-1].see(line, latest)
                elif Role.BASELINE in line.samples:
                    self.window.see(line)

    @property
    def stages(self) -> list[_Stage]:
        """Those in which anything was counted."""
        return [stage for stage in self._all if stage.last is not None]

    def plan(self, header: Header) -> dict[str, Any]:
        stages = self.stages
        if not stages:
            raise UsageError(
                f"{self.path}: found no stage with a poll in it, expected a line such as "
                '{"t":60,"event":"stage","data":{"weight":0.05}}, and what was counted after it'
            )
        told = [
            {
                **{key: self._quantity(stage, key) for key in ("min_requests", "deadline") if key in stage.begin.data},
                "weight": self._weight(stage),
                "hold": self._quantity(stage, "hold", stage.last.at - stage.begin.at if stage.last else 0.0),
            }
            for stage in stages
        ]
        seconds = self.window.seconds or stages[0].normal_seconds
        if not seconds:
            raise UsageError(
                f"{self.path}: found no counts of the stable build before or in the first stage, expected polls with "
                '"baseline"; there is nothing to compare with'
            )
        window = {"window": seconds * (1 - ROUNDING), "min_requests": 0}
        return {**header.plan, "stages": told, "baseline": window, "control": self.control}

    def _quantity(self, stage: _Stage, key: str, otherwise: float = 0.0) -> float:
        try:
            return quantity(key, stage.begin.data.get(key), otherwise)
        except ValueError as error:
            raise UsageError(f"{self.path}:{stage.begin.line}: found {error}; docs/recordings.md has one") from error

    def _weight(self, stage: _Stage) -> float:
        try:
            weight = stage.weight
        except ValueError as error:
            raise UsageError(f"{self.path}:{stage.begin.line}: found weight {error}; 0.05 is 5 %") from error
        if not 0 < weight <= 1:
            raise UsageError(f"{self.path}:{stage.begin.line}: found weight {weight:g}, expected 0..1; 0.05 is 5 %")
        return weight


@dataclass(frozen=True, slots=True)
class Marked:
    """A recording with all marks, whoever wrote it."""

    path: Path
    header: Header
    lines: Callable[[], Iterator[Line]]
    """Reads them, from the first on."""


def marked(path: Path, heard: Heard | None = None) -> Marked:
    """Look into ``path``; ``heard`` is told how many bytes have been read, whenever it is read.

    Raises:
        UsageError: it is no recording, or holds no stage.

    """
    header, lines = read(path, heard)
    if header.run and not header.stages:
        raise UsageError(
            f"{path}:1: found a run whose plan has no stages, expected the header as it was written; replay a copy"
        )
    if header.stages:
        return Marked(path, header, lambda: read(path, heard)[1])
    script = _Script(path, heard)
    script.see(lines)
    return Marked(path, replace(header, plan=script.plan(header)), lambda: _marked(script))


def _marked(script: _Script) -> Iterator[Line]:
    stages, index = script.stages, -1
    if not script.window.seconds:  # what is normal is then what the stable build does beside the canary
        yield from _normal(script.path, stages[0])
    for line in script.window.thinned(read(script.path, script.heard)[1]):
        if isinstance(line, Event) and line.kind == "stage":
            if index + 1 < len(stages) and line.line == stages[index + 1].begin.line:
                index += 1
                yield from _begun(stages[index], index, script.control)
        elif not isinstance(line, Recorded) or index >= 0 or script.window.seconds:
            yield line
            last = stages[index].last if index >= 0 else None
            if last is not None and last.line == getattr(line, "line", 0):
                yield Event(last.at, "held", {"index": index}, last.line)


def _normal(path: Path, stage: _Stage) -> Iterator[Line]:
    """What the stable build did at ``stage``, as if that had been before it."""
    earlier, last = stage.normal_seconds, stage.normal.line if stage.normal else 0
    yield Recorded(stage.begin.at - earlier, -1, {Role.BASELINE: stage.before[Role.BASELINE]}, Poll.BASELINE)
    for line in read(path)[1]:
        if isinstance(line, Recorded) and line.line > stage.begin.line and Role.BASELINE in line.samples:
            yield Recorded(line.at - earlier, -1, {Role.BASELINE: line.samples[Role.BASELINE]}, Poll.BASELINE)
        if line.line >= last:
            return


def _begun(stage: _Stage, index: int, control: bool) -> Iterator[Line]:
    begin, last = stage.begin, stage.last
    assert last is not None
    name = f"{stage.weight * 100:g}%"
    roles = [role for role in stage.before if control or role is not Role.CONTROL]
    told = {role: last.samples[role] for role in roles}
    yield replace(begin, data={**begin.data, "index": index, "stage": name, "weight": stage.weight})
    yield Recorded(begin.at, index, {role: stage.before[role] for role in roles}, Poll.BEFORE)
    yield Recorded(begin.at + PATIENT_SECONDS, index, told, Poll.CHECK)
    yield Event(begin.at, "split", {}, begin.line)
