"""What a run has counted, on disk, line by line as it goes.

A file of JSON lines: a ``header``, then ``sample``, ``bounds`` and ``event`` lines in the order they were written.
Buckets of a histogram stand once per name in a ``bounds`` line before the first sample that uses them; a sample holds
only the buckets that are not empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from pytest_canary.errors import UsageError
from pytest_canary.plan import Plan
from pytest_canary.ports import NOTHING, Histogram, Role, Sample

VERSION = 1

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Header:
    """What was recorded."""

    service: str
    target: str
    image: str | None
    stages: tuple[Mapping[str, Any], ...] = ()
    gates: tuple[Mapping[str, Any], ...] = ()
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Recorded:
    """What every role had counted at one poll; ``at`` is seconds on the run's clock."""

    at: float
    stage: int
    samples: Mapping[Role, Sample]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between two polls."""

    at: float
    kind: str
    data: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


class Recording:
    """Appends what one run counts to a file; every line is out before the next is begun."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bounds: dict[str, tuple[float, ...]] = {}
        self._lock = RLock()

    def begin(self, plan: Plan) -> None:
        """Make the folder and write the header; raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        stages = [
            {"weight": stage.weight, "hold_seconds": stage.hold_seconds, "min_requests": stage.min_requests}
            for stage in plan.stages
        ]
        gates = [
            {"name": gate.name, "limits": str(gate.limits), "decide": gate.decide, "alpha": gate.alpha}
            for gate in plan.gates
        ]
        header = {"service": plan.service, "target": plan.target, "image": plan.image, "stages": stages, "gates": gates}
        with self._lock:
            self._write({"line": "header", "version": VERSION, **header})

    def write_sample(self, at: float, stage_index: int, samples: Mapping[Role, Sample]) -> None:
        """Add what the roles have counted until ``at``; raises OSError."""
        with self._lock:
            told = {str(role): self._told(sample) for role, sample in samples.items()}
            self._write({"line": "sample", "at": at, "stage": stage_index, "roles": told})

    def write_event(self, at: float, kind: str, **data: Any) -> None:
        """Add that something happened at ``at``; raises OSError."""
        with self._lock:
            self._write({"line": "event", "at": at, "kind": kind, "data": data})

    def _told(self, sample: Sample) -> Json:
        return {
            "at": sample.at,
            "counters": dict(sample.counters),
            "histograms": {name: self._told_histogram(name, one) for name, one in sample.histograms.items()},
            "replicas": {name: self._told(one) for name, one in sample.replicas.items()},
            "gauges": dict(sample.gauges),
            "strata": {
                label: {value: self._told(one) for value, one in values.items()}
                for label, values in sample.strata.items()
            },
        }

    def _told_histogram(self, name: str, histogram: Histogram) -> Json:
        if self._bounds.get(name) != histogram.bounds:
            self._bounds[name] = histogram.bounds
            self._write({"line": "bounds", "name": name, "bounds": histogram.bounds})
        counts = {str(index): count for index, count in enumerate(histogram.counts) if count}
        return {"counts": counts, "total": histogram.total}

    def _write(self, line: Json) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":"), default=str) + "\n")


def read(path: Path) -> tuple[Header, Iterator[Recorded | Event]]:
    """Read a recording: its header, and what follows as it is asked for; half a last line is passed over.

    Raises:
        UsageError: the file is no recording, or of another version; or a line in the middle is broken.

    """
    lines = _lines(path)
    try:
        first = next(lines, {})
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name a recording of a run") from error
    if first.get("line") != "header" or first.get("version") != VERSION:
        found = first.get("version", "no header")
        raise UsageError(f"{path}:1: found {found}, expected a recording of version {VERSION}; record the run again")
    stages, gates = tuple(first["stages"]), tuple(first["gates"])
    return Header(first["service"], first["target"], first["image"], stages, gates), _body(lines)


def _lines(path: Path) -> Iterator[Json]:
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                return
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if not isinstance(line, dict) or "line" not in line:
                raise UsageError(
                    f"{path}:{number}: found {text[:40].strip()!r}, expected a line of a recording; delete it"
                )
            yield line


def _body(lines: Iterator[Json]) -> Iterator[Recorded | Event]:
    bounds: dict[str, tuple[float, ...]] = {}
    for line in lines:
        if line["line"] == "bounds":
            bounds[line["name"]] = tuple(line["bounds"])
        elif line["line"] == "event":
            yield Event(line["at"], line["kind"], line["data"])
        elif line["line"] == "sample":
            samples = {Role(role): _sample(told, bounds) for role, told in line["roles"].items()}
            yield Recorded(line["at"], line["stage"], samples)


def _sample(told: Json, bounds: Mapping[str, tuple[float, ...]]) -> Sample:
    histograms = {}
    for name, one in told["histograms"].items():
        counts = tuple(one["counts"].get(str(index), 0.0) for index in range(len(bounds[name]) + 1))
        histograms[name] = Histogram(bounds[name], counts, one["total"])
    replicas = {name: _sample(one, bounds) for name, one in told["replicas"].items()}
    strata = {
        label: {value: _sample(one, bounds) for value, one in values.items()}
        for label, values in told.get("strata", NOTHING).items()
    }
    return Sample(told["at"], told["counters"], histograms, replicas, told.get("gauges", NOTHING), strata)
