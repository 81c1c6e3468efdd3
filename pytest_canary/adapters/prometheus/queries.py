"""A profile and what a router tells of a role -> PromQL: each number by itself, and all of them in one query.

One query, because Prometheus shows a query each scrape whole or not at all: asked one after the other, the errors
could be a scrape newer than the requests among which they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_canary.adapters.profiles import INSTANCE, Bucketed, Counted, Matchers, Named, Profile, matchers
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Asked, Role

PART = "canary_part"
"""The label that says which number a series is."""
UP, SCRAPED, TARGETS = "up", "scraped", "targets"


@dataclass(frozen=True, slots=True)
class Questions:
    """Everything that is asked about one role."""

    profile: Profile
    match: str
    """What every series of the role must have, as PromQL."""

    @staticmethod
    def about(
        role: Role, profile: Profile, told: Mapping[str, str], extra: Matchers, own: Matchers | None = None
    ) -> Questions:
        """What ``profile`` asks about ``role``; ``own`` conditions stand in place of its ``select``.

        Raises:
            SourceUnavailable: nobody says by what the role is told, or not all of it.

        """
        if own is None and profile.replica and INSTANCE in told:
            profile = profile.of_one_process
        select = profile.select if own is None else own
        if not select:
            label = (*profile.roles_by, "job")[0]
            raise SourceUnavailable(
                f"profile {profile.name} cannot know by which labels {role} is told; write `metrics.prometheus.roles`, "
                f"such as {{baseline: {{{label}: ...}}, canary: {{{label}: ...}}}}"
            )
        try:
            return Questions(profile, matchers.text(matchers.filled(select, told), extra))
        except KeyError as error:
            where = f"profile {profile.name}" if own is None else "`metrics.prometheus.roles`"
            raise SourceUnavailable(
                f"{where} tells {role} by {{{error.args[0]}}}, which the router does not say (it says "
                f"{', '.join(told) or 'nothing'}); use another `metrics.prometheus.profile`, or write "
                "`metrics.prometheus.roles`"
            ) from error

    @property
    def parts(self) -> dict[str, str]:
        """Name of the number -> PromQL; for alternatives, one after the other, ``latency.0``, ``latency.1``."""
        return dict([*self._health(), *self._numbers()])

    @property
    def whole(self) -> str:
        """All :attr:`parts` in one query; the label :data:`PART` tells them apart."""
        return together(self.parts)

    @property
    def readiness(self) -> str:
        """Only what is in flight, and when it was scraped."""
        wanted = (UP, SCRAPED, TARGETS, "gauges.in_flight")
        return together({name: query for name, query in self.parts.items() if name.startswith(wanted)})

    @property
    def rhythm(self) -> tuple[str, ...]:
        """Every scrape of the last so many seconds, ``$window`` of them, by each metric that may tell."""
        return tuple(f"{clock}{{{self.match}}}[$window]" for clock in self.profile.clocks)

    @property
    def existence(self) -> str:
        """Something where this is the profile of the role's metrics, nothing else."""
        known = [f"count({one.series('', self._with(one))})" for one in self.profile.known_by]
        if known:
            return " and ".join(known)
        found = " or ".join(f"({query})" for name, query in self._numbers() if not name.startswith("gauges"))
        return f"count({found})"

    @property
    def presence(self) -> str:
        """How many series each of the profile's metrics has for this role, whatever the number's own ``match``."""
        counts = {}
        for kind, name, nth, counted, one in self._each():
            suffix = "_bucket" if isinstance(counted, Bucketed) else ""
            counts[f"{kind}.{name}.{nth}"] = (
                f"count({one.series(suffix, self.match) if one.metric else self._sum(one)})"
            )
        return together(counts)

    def explained(self, present: Sequence[Any]) -> Mapping[str, Asked]:
        """What is asked for each number, by the first name of :attr:`presence` that there are series of."""
        series = {one["metric"][PART]: round(float(one["value"][1])) for one in present}
        told: dict[str, Asked] = {}
        for kind, name, nth, counted, _ in self._each():
            part = f"{kind}.{name}.{nth}"
            query = self.parts[f"{part}.bucket" if isinstance(counted, Bucketed) else part]
            if not (known := told.get(f"{kind}.{name}")) or (not known.series and part in series):
                number = series.get(part, None if counted.from_zero else 0)
                told[f"{kind}.{name}"] = Asked(query, number, f"profile {self.profile.name}")
        return told

    @property
    def models(self) -> str:
        """The models that the role's series are labelled with, by replica; empty where the profile names no label."""
        labels = self.profile.model
        if labels is None:
            return ""
        by = ", ".join(filter(None, (self.profile.replica, labels.name, labels.version)))
        metrics = [labels.metric] if labels.metric else sorted(self.profile.counters["requests"].names)
        return " or ".join(f"count by ({by}) ({metric}{{{self.match}}})" for metric in metrics)

    def overlap(self, other: Questions) -> str:
        """How many series are read for both this and the ``other``, per metric of the requests."""
        requests = [one for one in self.profile.counters["requests"].alternatives if one.metric]
        return " or ".join(
            f"count({one.series('', self._with(one))} and {one.series('', other._with(one))})" for one in requests
        )

    def _health(self) -> Iterator[tuple[str, str]]:
        by, clocks = ", ".join(self.profile.by), [f"{name}{{{self.match}}}" for name in self.profile.clocks]
        yield SCRAPED, " or ".join(f"min by ({by}) (timestamp({series}))" for series in clocks)
        if self.profile.scraped == "up":
            yield UP, f"min by ({by}) ({clocks[0]})"
            yield TARGETS, f"count by ({by}) ({clocks[0]})"

    def _each(self) -> Iterator[tuple[str, str, int, Counted, Named]]:
        for kind, table in self.profile.tables.items():
            for name, counted in table.items():
                for nth, one in enumerate(counted.alternatives):
                    yield kind, name, nth, counted, one

    def _numbers(self) -> Iterator[tuple[str, str]]:
        for kind, name, nth, counted, one in self._each():
            if isinstance(counted, Bucketed):
                yield f"{kind}.{name}.{nth}.bucket", self._sum(one, "_bucket", "le")
                yield f"{kind}.{name}.{nth}.sum", self._sum(one, "_sum")
            else:
                yield f"{kind}.{name}.{nth}", self._sum(one)

    def _sum(self, one: Named, suffix: str = "", *more: str) -> str:
        by = ", ".join((*self.profile.by, *more))
        if one.query is not None:
            return one.query.replace("$match", self.match).replace("$by", by)
        return f"sum by ({by}) ({one.series(suffix, self._with(one))})"

    def _with(self, one: Named) -> str:
        return ",".join(filter(None, (self.match, matchers.text(one.match))))


def together(parts: Mapping[str, str]) -> str:
    """All ``parts`` in one query; the label :data:`PART` tells them apart."""
    named = [f'label_replace({query}, "{PART}", "{name}", "", "")' for name, query in parts.items()]
    return _either(named)


def _either(queries: Sequence[str]) -> str:
    """One ``or`` of all: halves of halves, since in a row each takes the whole answer so far in its hands again."""
    if len(queries) <= 2:
        return " or ".join(queries)
    middle = len(queries) // 2
    return f"({_either(queries[:middle])}) or ({_either(queries[middle:])})"
