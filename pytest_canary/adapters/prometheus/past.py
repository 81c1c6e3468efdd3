"""What Prometheus had counted of a role at earlier times, by range queries of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pytest_canary.adapters.profiles import Snapshot, Tally, replica_of
from pytest_canary.adapters.prometheus.answer import snapshot_of
from pytest_canary.adapters.prometheus.queries import Questions
from pytest_canary.adapters.prometheus.server import PrometheusServer
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Role, Sample

POINTS = 500
"""Steps of one query; Prometheus answers at most 11,000, and a fleet with its buckets is large."""
SECONDS = 60.0
"""The longest that one query may take; a look at a live rollout is given far less."""


def past(
    server: PrometheusServer, role: Role, questions: Questions, begin: float, end: float, step: float
) -> Iterator[Sample]:
    """What ``role`` had counted at every ``step`` seconds from ``begin`` to ``end``, oldest first.

    Counters are added up as they are live, so one that began anew goes on; replicas are those that were read then.
    Times of which the server knows nothing are left out.

    Raises:
        SourceUnavailable: nobody answers, or what is answered cannot be counted.

    """
    tally, layouts = Tally(questions.profile), dict[str, tuple[float, ...]]()
    at = float(round(begin))
    while at <= end:
        last = min(at + (POINTS - 1) * step, end)
        with server.within(SECONDS):
            answered = server.ask_range(questions.whole, at, last, step)
        for time, one in _moments(answered):
            snapshot = snapshot_of(questions.profile, one, time)
            wrong = snapshot.twice or snapshot.odd
            if wrong:
                raise SourceUnavailable(f"{role}: {wrong}, at {time:.0f}")
            if snapshot.scraped.keys() - snapshot.down:
                tally.count(snapshot)
                yield _read_then(tally.sample(role, snapshot, time, layouts, frozenset()), questions, snapshot)
        at = round(last) + step


def _read_then(sample: Sample, questions: Questions, snapshot: Snapshot) -> Sample:
    """Without the replicas that were gone by then, whose counts stay counted."""
    read = {replica_of(questions.profile, source) for source in snapshot.scraped.keys() - snapshot.down}
    return replace(sample, replicas={name: one for name, one in sample.replicas.items() if name in read})


def _moments(answered: Sequence[Any]) -> Iterator[tuple[float, Sequence[Any]]]:
    """Time -> what an instant query would have answered then, oldest first."""
    found: dict[float, list[Any]] = {}
    for series in answered:
        for time, value in series["values"]:
            found.setdefault(float(time), []).append({"metric": series["metric"], "value": [time, value]})
    yield from sorted(found.items())
