"""Whether two roles are read from series of their own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from pytest_canary.adapters.prometheus.queries import Questions
from pytest_canary.adapters.prometheus.server import PrometheusServer
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Role, Sample


class Apart:
    """Refuses roles between which no difference would ever show; asks about each pair once."""

    def __init__(self, server: PrometheusServer) -> None:
        self._server = server
        self._known: set[tuple[str, str]] = set()

    def alike(self, asked: Mapping[Role, Questions]) -> None:
        """Refuse two roles that are read from the same series: no difference would ever show.

        Raises:
            SourceUnavailable: two are.

        """
        seen: dict[str, Role] = {}
        for role, questions in asked.items():
            other = seen.setdefault(questions.match, role)
            if other is not role:
                raise SourceUnavailable(
                    f"{other} and {role} are read from the same series, {{{questions.match}}}; "
                    f"profile {questions.profile.name} cannot tell them apart, use another or write "
                    "`metrics.prometheus.roles`"
                )

    def look(self, asked: Mapping[Role, Questions], samples: Mapping[Role, Sample]) -> None:
        """Ask about the roles that have requests.

        Raises:
            SourceUnavailable: two are read from some of the same series.

        """
        for (one, mine), (other, theirs) in combinations(asked.items(), 2):
            if samples[one].counters["requests"] and samples[other].counters["requests"]:
                self._told_apart(one, mine, other, theirs)

    def _told_apart(self, one: Role, mine: Questions, other: Role, theirs: Questions) -> None:
        """Labels that differ may still mean the same series, all of them or some."""
        pair = (mine.match, theirs.match)
        query = mine.overlap(theirs)
        if pair in self._known or not query:
            return
        if shared := sum(float(found["value"][1]) for found in self._server.ask(query)):
            raise SourceUnavailable(
                f"{one} and {other} are both read from {shared:g} of the same series: {{{mine.match}}} and "
                f"{{{theirs.match}}} do not tell them apart; check the profile's `select` or `metrics.prometheus.roles`"
            )
        self._known.add(pair)
