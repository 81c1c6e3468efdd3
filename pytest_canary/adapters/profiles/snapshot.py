"""What was read of one role at one instant, by source: the counters of one scraped target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pytest_canary.adapters.profiles.counted import Bucketed
from pytest_canary.adapters.profiles.profile import Profile

Source: TypeAlias = tuple[str, ...]
"""The values of the profile's ``by``: job, instance, and the replica where there is one."""
Found: TypeAlias = tuple[Source, str, float]
"""Source, ``le`` and value of one series."""
Parts: TypeAlias = Mapping[str, Sequence[Found]]
"""What was read: the kind, name and number of the alternative, such as ``counters.errors.0`` -> a value by source.

A histogram's have ``.bucket`` and ``.sum`` behind that.
"""


class Number(NamedTuple):
    """One series of one source: a counter or gauge by name, or a bucket (``le``) or the sum of a histogram."""

    kind: str
    name: str
    le: float | None = None

    @property
    def grows(self) -> bool:
        """Whether it counts; a sum of values may be negative, and go back."""
        return self.le is not None or (self.kind == "counters" and not self.name.endswith("_sum"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Values by source, counters as they stand; times are seconds on one clock, whose it may be."""

    at: float
    scraped: Mapping[Source, float]
    """When each source was scraped last, whether that went well or not."""
    down: frozenset[Source]
    """Sources whose last scrape failed."""
    twice: str
    """Which source is counted twice, and why; empty when none is."""
    numbers: Mapping[Source, Mapping[Number, float]]
    gauges: Mapping[Source, Mapping[str, float]]
    odd: str
    """Which counter is no count, and what it is; empty when all are."""
    unsummed: frozenset[str]
    """Histograms of which some sum is no number: somebody has observed a NaN."""
    born: bool
    """Whether its series are born with the first request: no target has their labels, so they are of no replica."""

    @staticmethod
    def of(
        profile: Profile,
        parts: Parts,
        at: float,
        scraped: Mapping[Source, float],
        down: frozenset[Source] = frozenset(),
        *,
        twice: str = "",
        born: bool = False,
    ) -> Snapshot:
        """What ``parts`` say at ``at``; raises ValueError where an edge of a bucket is no number."""
        numbers: dict[Source, dict[Number, float]] = {}
        odd, unsummed = "", set()
        for number, source, value in _chosen(profile, parts):
            if number.kind == "histograms" and number.le is None and not math.isfinite(value):
                unsummed.add(number.name)
            elif number.kind != "gauges" and (not math.isfinite(value) or (value < 0 and number.grows)):
                odd = odd or f"{number.kind}.{number.name} of {named(profile, source)} is {value:g}, which is no count"
            elif not math.isnan(value):
                numbers.setdefault(source, {})[number] = value
        gauges = {
            source: {n.name: v for n, v in told.items() if n.kind == "gauges"} for source, told in numbers.items()
        }
        counted = {source: {n: v for n, v in told.items() if n.kind != "gauges"} for source, told in numbers.items()}
        counted = {source: told for source, told in counted.items() if told}
        return Snapshot(at, scraped, down, twice, counted, gauges, odd, frozenset(unsummed), born)


def names_of(sources: Iterable[Source]) -> str:
    """Replicas, or targets where there are none, for a sentence."""
    return ", ".join(sorted({source[2] if len(source) > 2 else f"{source[0]} {source[1]}" for source in sources}))


def replica_of(profile: Profile, source: Source) -> str | None:
    """The replica that ``source`` belongs to; None where the profile knows none."""
    return source[profile.by.index(profile.replica)] if profile.replica else None


def named(profile: Profile, source: Source) -> str:
    """The replica that ``source`` belongs to, or the target where the profile knows none."""
    return replica_of(profile, source) or f"{source[0]} {source[1]}"


def _chosen(profile: Profile, parts: Parts) -> Iterator[tuple[Number, Source, float]]:
    """Of every number the first alternative that a source has."""
    for kind, table in profile.tables.items():
        for name, counted in table.items():
            seen: set[Source] = set()
            for nth, _ in enumerate(counted.alternatives):
                has = [one for suffix in ("", ".bucket") for one in parts.get(f"{kind}.{name}.{nth}{suffix}", ())]
                sums = parts.get(f"{kind}.{name}.{nth}.sum", ())
                unit = counted.scale(nth)
                for source, le, value in has:
                    if source not in seen and isinstance(counted, Bucketed):
                        yield Number(kind, name, _scaled(float(le), unit)), source, value
                    elif source not in seen:
                        yield Number(kind, name), source, _scaled(value, unit)
                for source, _, value in sums:
                    if source not in seen:
                        yield Number(kind, name), source, value * unit
                seen |= {source for source, _, _ in has}


def _scaled(value: float, unit: float) -> float:
    """``value`` in our unit; 5 ms are 0.005 s, not 0.005000000000000001."""
    return value if unit == 1 or not math.isfinite(value) else float(f"{value * unit:.12g}")
