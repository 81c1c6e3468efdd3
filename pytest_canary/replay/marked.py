"""Recordings that others wrote -> the same, with the marks that a replay needs.

A run of ours writes which stages it planned, when a split was seen, and when a hold was decided on.  A script writes
what was counted and when a stage began.  The file is read once for what stages there were, and a second time to be
played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_canary.errors import UsageError
from pytest_canary.ports import Role, Sample
from pytest_canary.recording import Event, Header, Notice, Poll, Recorded, number, read
from pytest_canary.steps.ramp import VERIFY_SECONDS

Line = Recorded | Event | Notice
ROUNDING = 1e-9
MOST = 1000
"""Polls of the stable build that say what is normal where there was no window before the first stage."""
PATIENT_SECONDS = VERIFY_SECONDS + 1.0
"""The split of a stage is judged once, by all that was counted in it, as if so much time had passed."""


class _Window:
    """How long the stable build was counted before the first stage, since its counters last began anew."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._first: Sample | None = None
        self._began = 0.0

    def see(self, at: float, sample: Sample) -> None:
        if self._first is None or sample.since(self._first) is None:
            self._first, self._began = sample, at
        self.seconds = max(self.seconds, at - self._began)


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
        self.normal: list[tuple[float, Sample]] = [(begin.at, self.before[Role.BASELINE])]

    def see(self, look: Recorded, latest: Mapping[Role, Sample]) -> None:
        self.last = replace(look, samples={role: latest.get(role, sample) for role, sample in self.before.items()})
        if len(self.normal) < MOST and Role.BASELINE in look.samples:
            self.normal.append((look.at, look.samples[Role.BASELINE]))

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

    def __init__(self, path: Path) -> None:
        self.path, self.window = path, _Window()
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
                    self.window.see(line.at, line.samples[Role.BASELINE])

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
                **{key: stage.begin.data[key] for key in ("min_requests", "deadline") if key in stage.begin.data},
                "weight": self._weight(stage),
                "hold": stage.begin.data.get("hold", stage.last.at - stage.begin.at if stage.last else 0.0),
            }
            for stage in stages
        ]
        seconds = self.window.seconds or stages[0].normal[-1][0] - stages[0].begin.at
        if not seconds:
            raise UsageError(
                f"{self.path}: found no counts of the stable build before or in the first stage, expected polls with "
                '"baseline"; there is nothing to compare with'
            )
        window = {"window": seconds * (1 - ROUNDING), "min_requests": 0}
        return {**header.plan, "stages": told, "baseline": window, "control": self.control}

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


def marked(path: Path) -> Marked:
    """Look into ``path``.

    Raises:
        UsageError: it is no recording, or holds no stage.

    """
    header, lines = read(path)
    if header.stages or header.run:
        return Marked(path, header, lambda: read(path)[1])
    script = _Script(path)
    script.see(lines)
    return Marked(path, replace(header, plan=script.plan(header)), lambda: _marked(script))


def _marked(script: _Script) -> Iterator[Line]:
    stages, index = script.stages, -1
    if not script.window.seconds:  # what is normal is then what the stable build does beside the canary
        first = stages[0]
        earlier = first.normal[-1][0] - first.begin.at
        for at, sample in first.normal:
            yield Recorded(at - earlier, -1, {Role.BASELINE: sample}, Poll.BASELINE)
    for line in read(script.path)[1]:
        if isinstance(line, Event) and line.kind == "stage":
            if index + 1 < len(stages) and line.line == stages[index + 1].begin.line:
                index += 1
                yield from _begun(stages[index], index, script.control)
        elif not isinstance(line, Recorded) or index >= 0 or script.window.seconds:
            yield line
            last = stages[index].last if index >= 0 else None
            if last is not None and last.line == getattr(line, "line", 0):
                yield Event(last.at, "held", {"index": index}, last.line)


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
