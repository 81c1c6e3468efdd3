"""What a file has said of a role or a replica until now; the other side of ``changes``."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import inf, isfinite
from typing import Any

from pytest_canary.ports import NOTHING, Histogram, Sample

Bounds = Mapping[int, tuple[float, ...]]
_WORDS = {"nan", "inf", "-inf"}


class Part:
    """A role, a replica, or the requests of one value of a label; grows line by line.

    Lines that make no sense raise ValueError with what was found; values that are no mappings raise TypeError or
    AttributeError.
    """

    __slots__ = ("_buckets", "_follows", "_made", "at", "counters", "gauges", "histograms", "replicas", "strata")

    def __init__(self) -> None:
        self.at = 0.0
        self.counters: dict[str, float] = {}
        self.gauges: dict[str, float] = {}
        self.histograms: dict[str, Histogram] = {}
        self.replicas: dict[str, Part] = {}
        self.strata: dict[str, dict[str, Part]] = {}
        self._follows = True
        self._made: Sample | None = None
        self._buckets: dict[str, list[float]] = {}

    def take(self, told: Mapping[str, Any], at: float, bounds: Bounds) -> None:
        """Learn what a line says; ``at`` is the time of all of which this is a part."""
        if type(told) is not dict and told is not NOTHING:
            raise ValueError(f"{str(told)[:40]!r}, expected what was counted, such as {{'c': {{'requests': 1}}}}")
        self._made = None
        own = told.get("at")
        self.at, self._follows = (at, True) if own is None else (_seconds(own), False)
        for key, value in told.items():
            if key == "c":
                self.counters = _values(self.counters, value)
            elif key == "h":
                self._take_histograms(value, bounds)
            elif key == "g":
                self.gauges = _values(self.gauges, value)
            elif key not in ("at", "r", "s"):
                raise ValueError(f"{key!r} among {sorted(told)}, expected c, h, g, r, s or at")
        if self.replicas or "r" in told:
            self.replicas = _parts(self.replicas, told.get("r", NOTHING), self.at, bounds)
        if self.strata or "s" in told:
            self._take_strata(told.get("s", NOTHING), bounds)

    def pass_on(self, at: float, bounds: Bounds) -> None:
        """Nothing was said of this part: it is as it was, and as new as the whole where it always was."""
        if self._follows:
            self.take(NOTHING, at, bounds)

    def sample(self) -> Sample:
        """All that is known now; what it holds never changes."""
        if self._made is None:
            replicas = {name: part.sample() for name, part in self.replicas.items()} if self.replicas else NOTHING
            strata = (
                {label: {value: part.sample() for value, part in parts.items()} for label, parts in self.strata.items()}
                if self.strata
                else NOTHING
            )
            self._made = Sample(self.at, self.counters, self.histograms, replicas, self.gauges, strata)
        return self._made

    def _take_histograms(self, told: Mapping[str, Any], bounds: Bounds) -> None:
        self.histograms = dict(self.histograms)
        for name, one in told.items():
            if one is None:
                self.histograms.pop(name, None)
                self._buckets.pop(name, None)
            else:
                self.histograms[name] = self._histogram(name, one, bounds)

    def _histogram(self, name: str, told: Mapping[str, Any], bounds: Bounds) -> Histogram:
        edges, total = self._edges(name, told, bounds)
        counts = self._buckets.get(name)
        if "n" in told:
            changed = told["n"]
            if changed is None:
                counts = []
            elif type(changed) is list:
                if len(changed) != len(edges) + 1:
                    raise ValueError(
                        f"{len(changed)} counts of {name}, expected {len(edges) + 1}: one more than bounds"
                    )
                counts = [number(count) for count in changed]
            else:
                counts = counts or [0.0] * (len(edges) + 1)
                most = len(counts)
                for index, count in changed.items():
                    place = int(index)
                    if not 0 <= place < most:
                        raise ValueError(f"bucket {index} of {name}, expected 0 to {most - 1}")
                    counts[place] = count if type(count) in (int, float) else number(count)
        counts = [0.0] * (len(edges) + 1) if counts is None else counts
        self._buckets[name] = counts
        return Histogram(edges, tuple(counts), number(told["s"]) if "s" in told else total)

    def _edges(self, name: str, told: Mapping[str, Any], bounds: Bounds) -> tuple[tuple[float, ...], float]:
        """The bounds and the sum until now; bounds that are told anew begin at nothing."""
        before = self.histograms.get(name)
        if "b" in told or "le" in told:
            edges = bounds.get(told["b"]) if "b" in told else edges_of(told["le"])
            if edges is None:
                raise ValueError(f"bounds {told['b']!r} of {name}, expected the number of a bounds line before")
            if before is None or before.bounds != edges or "b" in told:
                self._buckets.pop(name, None)
                return edges, 0.0
        if before is None:
            raise ValueError(f"{name} without bounds, expected `b` (the number of a bounds line) or `le`")
        return before.bounds, before.total

    def _take_strata(self, told: Mapping[str, Any], bounds: Bounds) -> None:
        strata = {label: parts for label, parts in self.strata.items() if told.get(label, parts) is not None}
        for label in {**strata, **told}:
            if told.get(label, NOTHING) is not None:
                strata[label] = _parts(strata.get(label, {}), told.get(label, NOTHING), self.at, bounds)
        self.strata = strata


def _parts(parts: Mapping[str, Part], told: Mapping[str, Any], at: float, bounds: Bounds) -> dict[str, Part]:
    now = dict(parts)
    for name, part in parts.items():
        if name not in told:
            part.pass_on(at, bounds)
    for name, one in told.items():
        if one is None:
            now.pop(name, None)
            continue
        if name not in now:
            now[name] = Part()
        now[name].take(one, at, bounds)
    return now


def _values(before: Mapping[str, float], told: Mapping[str, Any]) -> dict[str, float]:
    now = dict(before)
    for name, value in told.items():
        if value.__class__ is int or value.__class__ is float:
            now[name] = value
        elif value is None:
            now.pop(name, None)
        else:
            now[name] = number(value)
    return now


def _seconds(told: Any) -> float:
    found = number(told)
    if not isfinite(found):
        raise ValueError(f"at {told!r}, expected seconds")
    return found


def number(value: Any) -> float:
    """``value`` as a number; the words nan and inf are numbers too.  Raises ValueError."""
    if type(value) in (int, float):
        return float(value)
    if type(value) is str and value in _WORDS:
        return float(value)
    raise ValueError(f"{value!r}, expected a number")


def edges_of(told: Any) -> tuple[float, ...]:
    """The upper edges of buckets, which rise.  Raises ValueError."""
    edges = tuple(number(edge) for edge in told)
    if not all(one < other for one, other in pairwise(edges)) or not all(edge > -inf for edge in edges):
        raise ValueError(f"bounds {list(edges)[:8]}, expected numbers that rise")
    return edges
