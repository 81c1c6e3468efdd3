"""What one role has counted, from counters that begin anew, come and go: each source's increments, added up.

* a counter that went back has begun at zero again, and with it all counters of its source;
* what a source has counted stays counted when it goes;
* a source that comes later counts from zero; one that was there before us and could not be read counts from its
  first reading.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from pytest_canary.adapters.profiles.profile import Profile
from pytest_canary.adapters.profiles.snapshot import Number, Snapshot, Source, replica_of
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Histogram, Role, Sample

SLACK = 1e-9
"""Sums of the same floats in another order differ by less, relatively."""
FALLS = 2
"""So often may a counter go back alone; a pod that began anew may look like that once, a gauge does it all the time."""
ENOUGH = 20
"""Requests that a pod which began anew has hardly counted again before the next scrape."""
TOGETHER: Mapping[str, Callable[[Iterable[float]], float]] = {"sum": math.fsum, "mean": fmean, "max": max}


@dataclass(slots=True)
class Buckets:
    """One histogram of one source: what it has counted up to each edge, and the sum of the values."""

    upto: dict[float, float] = field(default_factory=dict)
    total: float = 0.0
    _bounds: tuple[float, ...] | None = None

    @property
    def bounds(self) -> tuple[float, ...]:
        """The edges but the last, rising."""
        if self._bounds is None:
            self._bounds = tuple(sorted(edge for edge in self.upto if math.isfinite(edge)))
        return self._bounds


class Tally:
    """Totals that never go back, by source."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._last: dict[Source, Mapping[Number, float]] = {}
        self._sums: dict[Source, dict[Number, float]] = {}
        self._well: dict[Source, float] = {}
        """When each source was last scraped well."""
        self._unread: frozenset[Source] | None = None
        """Sources that were there and could not be read when we came."""
        self._falls: Counter[tuple[Source, str]] = Counter()

    def count(self, snapshot: Snapshot) -> None:
        """Add what was counted since the last snapshot."""
        if self._unread is None and snapshot.scraped.keys() - snapshot.down:
            self._unread = snapshot.down
        for source, numbers in snapshot.numbers.items():
            self._add(source, numbers)
        for source, at in snapshot.scraped.items():
            if source not in snapshot.down:
                self._well[source] = at

    @property
    def doubt(self) -> str:
        """Which counter goes back while the requests of its pod go on; empty when none does."""
        for (source, name), times in self._falls.items():
            if times >= FALLS:
                return (
                    f"counters.{name} of {replica_of(self._profile, source) or source[1]} goes down while its requests "
                    "go on, so it is a gauge, or series of it vanish; expected a counter, mend the profile"
                )
        return ""

    def live(self, snapshot: Snapshot) -> Mapping[Source, float]:
        """The sources that count for this role now, and when each was last scraped well."""
        listed = snapshot.scraped.keys()
        mine = self._sums.keys() & listed or listed - snapshot.down
        mine = mine or set(self._sums)  # all are gone: as old as what they last said
        return {source: self._well[source] for source in mine if source in self._well}

    def sample(
        self, role: Role, snapshot: Snapshot, at: float, layouts: dict[str, tuple[float, ...]], nobodys: Collection[str]
    ) -> Sample:
        """Everything that was counted.

        Args:
            role: for messages.
            snapshot: the last that was counted.
            at: when it was true, on the run's clock.
            layouts: bounds of histograms that nothing has been counted in yet, as others have them; learns new ones.
            nobodys: counters that nobody has where there are requests, which is not 0.

        Raises:
            SourceUnavailable: replicas that run now count in different buckets.

        """
        live = self.live(snapshot).keys()
        buckets = {source: _buckets(sums) for source, sums in self._sums.items()}
        for name in self._profile.histograms:
            _layout(role, name, [buckets[source] for source in live if source in buckets], layouts)
        by_replica: dict[str, list[Source]] = {}
        # One that is scraped and has not been asked yet counts too: it has counters of zero.
        for source in self._sums.keys() | live | (snapshot.scraped.keys() - snapshot.down):
            by_replica.setdefault(replica_of(self._profile, source) or "", []).append(source)
        for source in snapshot.gauges:  # of a replica's hardware somebody else may tell
            beside = by_replica.get(replica_of(self._profile, source) or "", [source])
            beside += [] if source in beside else [source]
        parts = {
            name: self._part(sources, snapshot, at, buckets, layouts, nobodys)
            for name, sources in sorted(by_replica.items())
        }
        replicas = {} if snapshot.born or not self._profile.replica else parts
        everybody = self._sums.keys() | live | {one for sources in by_replica.values() for one in sources}
        whole = self._part(everybody, snapshot, at, buckets, layouts, nobodys)
        return Sample(at, whole.counters, whole.histograms, replicas, whole.gauges)

    @property
    def asked(self) -> bool:
        """Whether there have been requests."""
        return any(sums.get(Number("counters", "requests")) for sums in self._sums.values())

    def seen(self) -> frozenset[str]:
        """Counters that some source has, or that are children of the metric of the requests."""
        own = self._profile.counters["requests"].names
        counted = {number.name for sums in self._sums.values() for number in sums if number.kind == "counters"}
        return frozenset(counted | {name for name, c in self._profile.counters.items() if own & c.names})

    def _add(self, source: Source, numbers: Mapping[Number, float]) -> None:
        last = self._last.get(source)
        if last is None:
            last = numbers if source in (self._unread or ()) else {}
        elif _began_anew(last, numbers):
            self._falls.update((source, name) for name in _alone(last, numbers))
            last = {}
        sums = self._sums.setdefault(source, {})
        buckets = {number[:2] for number in numbers if number.le is not None}
        for gone in [n for n in sums if n.le is not None and n[:2] in buckets and n not in numbers]:
            del sums[gone]
        for number, value in numbers.items():
            sums[number] = sums.get(number, 0.0) + max(0.0, value - last.get(number, 0.0))
        self._last[source] = dict(numbers)

    def _part(
        self,
        sources: Iterable[Source],
        snapshot: Snapshot,
        at: float,
        buckets: Mapping[Source, Mapping[str, Buckets]],
        layouts: Mapping[str, tuple[float, ...]],
        nobodys: Collection[str],
    ) -> Sample:
        sources = [*sources]
        counted = [buckets[source] for source in sources if source in buckets]
        sums = [self._sums.get(source, {}) for source in sources]
        counters = {
            name: math.fsum(one.get(Number("counters", name), 0.0) for one in sums) for name in self._profile.counters
        }
        histograms = {}
        for name in self._profile.histograms.keys() - snapshot.unsummed:
            if any(math.inf in one[name].upto for one in counted if name in one) or not counters["requests"]:
                histograms[name] = _histogram([one[name] for one in counted if name in one], layouts.get(name, ()))
        if counters["requests"]:
            counters = {name: count for name, count in counters.items() if name not in nobodys}
        gauges = {}
        for name, gauge in self._profile.gauges.items():
            values = [snapshot.gauges[source][name] for source in sources if name in snapshot.gauges.get(source, {})]
            if values:
                gauges[name] = float(TOGETHER[gauge.across](values))
        return Sample(at, counters, histograms, gauges=gauges)


def _began_anew(last: Mapping[Number, float], now: Mapping[Number, float]) -> bool:
    """Whether any counter went back, or is gone; sums of values may go back by themselves."""
    return any(now.get(number, 0.0) < value * (1 - SLACK) for number, value in last.items() if number.grows)


def _alone(last: Mapping[Number, float], now: Mapping[Number, float]) -> list[str]:
    """Counters that are lower now though the requests are not, as a pod that begins anew never has it for long."""
    requests = Number("counters", "requests")
    if last.get(requests, 0.0) < ENOUGH or now.get(requests, 0.0) < last[requests]:
        return []
    return [n.name for n, value in now.items() if n.grows and n.le is None and value < last.get(n, 0.0) * (1 - SLACK)]


def _buckets(sums: Mapping[Number, float]) -> Mapping[str, Buckets]:
    """The histograms of one source, by name."""
    found: dict[str, Buckets] = {}
    for number, value in sums.items():
        if number.kind == "histograms":
            one = found.setdefault(number.name, Buckets())
            if number.le is None:
                one.total = value
            else:
                one.upto[number.le] = value
    return found


def _layout(
    role: Role, name: str, live: Iterable[Mapping[str, Buckets]], layouts: dict[str, tuple[float, ...]]
) -> None:
    found = {layout for one in live if name in one and (layout := one[name].bounds)}
    if len(found) > 1:
        one, other = sorted(found)[:2]
        raise SourceUnavailable(
            f"replicas of {role} count {name} in different buckets ({_shown(one)} and {_shown(other)}"
            f"{', as in s and in ms' if thousandfold(one, other) else ''}), which cannot be added; let all of them "
            "have the same"
        )
    layouts.update((name, layout) for layout in found)


def _histogram(counted: Iterable[Buckets], bounds: tuple[float, ...]) -> Histogram:
    """Counts by bucket, from counts up to each bound; those of sources that had other buckets are left out."""
    fitting = [one for one in counted if one.bounds == bounds]
    if not bounds:
        return Histogram((), ())
    upto = [math.fsum([one.upto.get(le, 0.0) for one in fitting]) for le in (*bounds, math.inf)]
    counts = tuple(max(0.0, high - low) for low, high in pairwise((0.0, *upto)))
    return Histogram(bounds, counts, math.fsum(one.total for one in fitting))


def thousandfold(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two layouts of buckets are one, in two units."""
    low, high = sorted((one, other))
    pairs = zip(low, high, strict=True) if len(low) == len(high) else ()
    return bool(low) and len(low) == len(high) and all(math.isclose(a * 1000, b, rel_tol=1e-6) for a, b in pairs)


def _shown(bounds: tuple[float, ...]) -> str:
    return f"{len(bounds)} up to {bounds[-1]:g}"
