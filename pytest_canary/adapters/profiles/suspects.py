"""What looks like numbers and is not: gauges that stand as counters, counters that nobody has, two units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

from pytest_canary.adapters.profiles.profile import Profile
from pytest_canary.adapters.profiles.tally import Tally, thousandfold
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Role, Sample

Kinds: TypeAlias = Callable[[Iterable[str]], Mapping[str, str]]
"""Metrics -> their types as targets announce them, such as ``gauge``; those that nobody knows left out."""


class Suspects:
    """Asks what the numbers themselves do not show; each thing once."""

    def __init__(self, kinds: Kinds) -> None:
        self._ask = kinds
        self._kinds: dict[str, str] = {}
        """Metric -> its type as its targets announce it; empty where they do not."""
        self._seen: set[str] = set()
        """Counters that somebody has."""

    def nobodys(self, profile: Profile, tallies: Sequence[Tally]) -> frozenset[str]:
        """The counters that no role has and no target announces: misspelt, or of another version, but not 0.

        ``tallies`` are those of the roles that have had requests.
        """
        if not tallies:
            return frozenset()
        self._seen = self._seen.union(*(tally.seen() for tally in tallies))
        self._seen |= {name for name, one in profile.counters.items() if one.from_zero}
        doubtful = {name: one for name, one in profile.counters.items() if name not in self._seen}
        self._learn({metric for one in doubtful.values() for name in one.names for metric in _announced(name)})
        self._seen |= {
            name for name, one in doubtful.items() if any(self._kinds[m] for n in one.names for m in _announced(n))
        }
        return frozenset(doubtful.keys() - self._seen)

    def counts(self, profile: Profile) -> None:
        """Refuse a counter that its targets call a gauge.

        Raises:
            SourceUnavailable: one is.

        """
        self._learn({metric for one in profile.counters.values() for metric in one.names})
        for name, one in profile.counters.items():
            for metric in one.names:
                if self._kinds[metric] == "gauge":
                    raise SourceUnavailable(
                        f"counters.{name} of profile {profile.name} is read from {metric}, which is a gauge and may go "
                        "down; name a counter, or where it only grows write a `query` of it"
                    )

    def _learn(self, metrics: set[str]) -> None:
        if new := metrics - self._kinds.keys():
            told = self._ask(sorted(new))
            self._kinds |= {metric: told.get(metric, "") for metric in new}


def in_one_unit(samples: Mapping[Role, Sample]) -> None:
    """Refuse two roles of which one counts in seconds and the other in milliseconds, as their buckets show.

    Raises:
        SourceUnavailable: two do.

    """
    for (one, mine), (other, theirs) in combinations(samples.items(), 2):
        for name in mine.histograms.keys() & theirs.histograms.keys():
            if thousandfold(mine.histograms[name].bounds, theirs.histograms[name].bounds):
                raise SourceUnavailable(
                    f"{one} counts {name} in one unit and {other} in another, as their buckets show (1000 to 1); let "
                    "both count in seconds"
                )


def _announced(metric: str) -> tuple[str, ...]:
    """The names under which the type of ``metric`` may stand: OpenMetrics leaves out what all counters end in."""
    return (metric, metric.removesuffix("_total"))
