"""Sample after sample -> only what has changed since the one before, as plain values for JSON.

Values are written as they are, not as differences: a line says what has been counted since the counters began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from pytest_canary.ports import NOTHING, Histogram, Sample

Json = dict[str, Any]
Number = Callable[[tuple[float, ...]], int]
"""Bounds -> the number under which they stand in the file."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file says of a part by now: its last sample, and whether its time is that of the whole."""

    sample: Sample
    follows: bool = True
    replicas: Mapping[str, Kept] = field(default_factory=lambda: NOTHING)
    strata: Mapping[str, Mapping[str, Kept]] = field(default_factory=lambda: NOTHING)


def changes(kept: Kept | None, sample: Sample, at: float, number: Number) -> tuple[Json, Kept]:
    """What the file has to say for a reader to know ``sample``, and what it then has said.

    ``at`` is the time that stands for the sample unless it has its own.
    """
    before = kept.sample if kept is not None else Sample(at)
    told: Json = {}
    if sample.at != at:
        told["at"] = number_told(sample.at)
    if counters := _values(before.counters, sample.counters):
        told["c"] = counters
    if histograms := _histograms(before.histograms, sample.histograms, number):
        told["h"] = histograms
    if gauges := _values(before.gauges, sample.gauges):
        told["g"] = gauges
    replicas, parts = _parts(kept.replicas if kept else NOTHING, sample.replicas, sample.at, number)
    if replicas:
        told["r"] = replicas
    strata, labels = _strata(kept.strata if kept else NOTHING, sample.strata, sample.at, number)
    if strata:
        told["s"] = strata
    return told, Kept(sample, sample.at == at, parts, labels)


def number_told(value: float) -> int | float | str:
    """``value`` as JSON can say it: shorter where it is whole, in words where it is no number."""
    if not isfinite(value):
        return str(value)
    return int(value) if value == int(value) and abs(value) < 2**53 else value


def _values(before: Mapping[str, float], now: Mapping[str, float]) -> Json:
    told: Json = {name: number_told(value) for name, value in now.items() if before.get(name) != value}
    return told | {name: None for name in before if name not in now}


def _histograms(before: Mapping[str, Histogram], now: Mapping[str, Histogram], number: Number) -> Json:
    told: Json = {name: None for name in before if name not in now}
    for name, histogram in now.items():
        changed = _histogram(before.get(name), histogram, number)
        if changed:
            told[name] = changed
    return told


def _histogram(before: Histogram | None, now: Histogram, number: Number) -> Json:
    if before is now:
        return {}
    told: Json = {}
    counts = before.counts if before is not None and before.bounds == now.bounds else ()
    if before is None or before.bounds != now.bounds:
        told["b"] = number(now.bounds)
    if not now.counts:
        told |= {"n": None} if told or counts else {}
    elif counts != now.counts:
        known = counts or (0.0,) * len(now.counts)
        pairs = enumerate(zip(known, now.counts, strict=True))
        changed = {str(index): number_told(count) for index, (old, count) in pairs if old != count}
        told |= {"n": changed} if changed or not counts else {}
    total = before.total if before is not None and "b" not in told else 0.0
    return told | ({"s": number_told(now.total)} if now.total != total else {})


def _parts(
    kept: Mapping[str, Kept], now: Mapping[str, Sample], at: float, number: Number
) -> tuple[Json, Mapping[str, Kept]]:
    if not now and not kept:
        return {}, NOTHING
    told: Json = {name: None for name in kept if name not in now}
    parts: dict[str, Kept] = {}
    for name, sample in now.items():
        before = kept.get(name)
        changed, then = changes(before, sample, at, number)
        expected = before and (at if before.follows else before.sample.at)
        if before is None or changed.keys() - {"at"} or expected != sample.at:
            told[name], parts[name] = changed, then
        else:
            parts[name] = Kept(sample, before.follows, then.replicas, then.strata)
    return told, parts


def _strata(
    kept: Mapping[str, Mapping[str, Kept]], now: Mapping[str, Mapping[str, Sample]], at: float, number: Number
) -> tuple[Json, Mapping[str, Mapping[str, Kept]]]:
    if not now and not kept:
        return {}, NOTHING
    told: Json = {label: None for label in kept if label not in now}
    labels: dict[str, Mapping[str, Kept]] = {}
    for label, values in now.items():
        changed, labels[label] = _parts(kept.get(label, NOTHING), values, at, number)
        if changed or label not in kept:
            told[label] = changed
    return told, labels
