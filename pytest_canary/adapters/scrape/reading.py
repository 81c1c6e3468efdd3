"""A profile and what a role's series have -> the numbers of one page, as Prometheus would add them up by target."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_canary.adapters.profiles import Bucketed, Found, Matchers, Named, Number, Profile, Source
from pytest_canary.adapters.scrape.conditions import Conditions
from pytest_canary.adapters.scrape.exposition import Exposition, Parser, Series
from pytest_canary.adapters.scrape.formula import Formula, compiled, value_of
from pytest_canary.errors import UsageError

SUFFIXES: Mapping[str, str] = {".bucket": "_bucket", ".sum": "_sum", "": ""}


@dataclass(frozen=True, slots=True)
class Part:
    """One number, or the buckets or the sum of one: where it is read."""

    name: str
    """As ``Parts`` have it, such as ``histograms.latency.0.bucket``."""
    number: str
    """As a sample has it, such as ``histograms.latency``."""
    metrics: tuple[str, ...]
    match: Matchers
    conditions: Conditions
    query: str
    formula: Formula | None
    grows: bool

    def found(self, page: Exposition, match: Conditions) -> Iterator[tuple[str, float]]:
        """Its values on ``page``, each with its ``le``; nothing where there is no series.

        Raises ValueError where a bucket has no edge.
        """
        if self.formula is not None:
            value = value_of(self.formula, page, match)
            if value is not None:
                yield "", value
        elif self.name.endswith(".bucket"):
            upto: dict[float, list[float]] = defaultdict(list)
            for labels, value in self.series(page, match):
                upto[float(labels.get("le", ""))].append(value)
            yield from ((f"{le!r}", self._together(values)) for le, values in upto.items())
        elif values := [value for _, value in self.series(page, match)]:
            yield "", self._together(values)

    def series(self, page: Exposition, match: Conditions) -> list[Series]:
        """Those that it adds up."""
        return match.and_(self.conditions).fitting(page.of(self.metrics))

    def _together(self, values: list[float]) -> float:
        """The sum; of counters one that is none is not hidden among the others."""
        odd = [value for value in values if value < 0] if self.grows else []
        return odd[0] if odd else math.fsum(values) if all(map(math.isfinite, values)) else math.nan


class Reading:
    """All numbers of a profile, ready to be read from any page."""

    def __init__(self, profile: Profile) -> None:
        """Raises UsageError for what only a Prometheus can work out, or a pattern that is none."""
        self.profile = profile
        self.parts: tuple[Part, ...] = ()
        self._known: list[tuple[tuple[str, ...], Conditions]] = []
        try:
            for one in profile.known_by:
                self._known.append((one.metric, Conditions(one.match)))
            self.parts = tuple(self._each())
        except ValueError as error:
            raise UsageError(
                f"profile {profile.name}: {error}; or read it with `metrics: {{prometheus: ...}}`"
            ) from error
        own = {name for part in self.parts for name in part.metrics}
        self.parser = Parser(own | {name for names, _ in self._known for name in names})

    def fits(self, page: Exposition, match: Conditions) -> bool:
        """Whether ``page`` is of a server that the profile knows."""
        if self._known:
            return all(match.and_(own).fitting(page.of(names)) for names, own in self._known)
        return any(True for part in self.parts if "gauges" not in part.number for _ in part.found(page, match))

    def read(self, page: Exposition, match: Conditions, source: Source, into: dict[str, list[Found]]) -> None:
        """Add everything that ``source`` says on ``page`` to ``into``; raises ValueError where a bucket has no edge."""
        for part in self.parts:
            for le, value in part.found(page, match):
                into.setdefault(part.name, []).append((source, le, value))

    def overlap(self, page: Exposition, one: Conditions, other: Conditions) -> int:
        """How many series of the requests are read for both."""
        requests = [part for part in self.parts if part.number == "counters.requests" and part.formula is None]
        return sum(len(other.fitting(part.series(page, one))) for part in requests)

    def _each(self) -> Iterator[Part]:
        for kind, table in self.profile.tables.items():
            for name, counted in table.items():
                for nth, one in enumerate(counted.alternatives):
                    for ending in (".bucket", ".sum") if isinstance(counted, Bucketed) else ("",):
                        yield _part(kind, name, nth, one, ending)


def _part(kind: str, called: str, nth: int, one: Named, ending: str) -> Part:
    number = f"{kind}.{called}"
    grows = ending == ".bucket" or (not ending and Number(kind, called).grows)
    formula, metrics = None, tuple(f"{metric}{SUFFIXES[ending]}" for metric in one.metric)
    if one.query is not None:
        try:
            formula, names = compiled(one.query)
        except ValueError as error:
            raise ValueError(f"{number}: {error}") from error
        metrics = tuple(sorted(names))
    conditions = Conditions(one.match)
    name = f"{number}.{nth}{ending}"
    return Part(name, number, metrics, one.match, conditions, one.query or "", formula, grows)
