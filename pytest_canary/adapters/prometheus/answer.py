"""What Prometheus answers to all questions about one role -> what was read of each target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from pytest_canary.adapters.profiles import Found, Number, Profile, Snapshot, Source, named, names_of
from pytest_canary.adapters.prometheus.queries import PART, SCRAPED, TARGETS, UP, Questions
from pytest_canary.ports import Role


def snapshot_of(profile: Profile, answered: Sequence[Any], at: float) -> Snapshot:
    """What ``answered`` (an instant vector) says at ``at``; raises KeyError or ValueError when it is none."""
    parts = _by_part(profile, answered)
    up, scraped, targets = (_health(parts, name) for name in (UP, SCRAPED, TARGETS))
    down = frozenset(source for source, value in up.items() if value == 0)
    born = bool(scraped) and not up and profile.told_by_requests
    read = Snapshot.of(profile, parts, at, scraped, down, born=born)
    return replace(read, twice=_twice(profile, targets, read.numbers))


def nothing(read: Snapshot, role: Role, questions: Questions, url: str) -> str:
    """Why nothing of ``role`` can be read from the server at ``url``, in one line."""
    if read.numbers:
        series = f"{questions.profile.scraped}{{{questions.match}}}"
        return f'no {series} beside the counters of {role}; write `scraped = "..."` in the profile, a metric of it'
    if read.down:
        return f"{role}: every scrape of {names_of(read.down)} failed; see {url}/targets"
    query = questions.parts["counters.requests.0"]
    return f"no series for {role}: {query}; check profile, labels or that pods are scraped"


def _health(parts: Mapping[str, Sequence[Found]], name: str) -> dict[Source, float]:
    return {source: value for source, _, value in parts.get(name, ())}


def _by_part(profile: Profile, answered: Sequence[Any]) -> Mapping[str, list[Found]]:
    parts: dict[str, list[Found]] = {}
    for one in answered:
        labels, value = one["metric"], float(one["value"][1])
        source = tuple(labels.get(label, "") for label in profile.by)
        parts.setdefault(labels[PART], []).append((source, labels.get("le", ""), value))
    return parts


def _twice(profile: Profile, targets: Mapping[Source, float], numbers: Mapping[Source, Mapping[Number, float]]) -> str:
    for source, number in targets.items():
        if number > 1:
            return (
                f"{named(profile, source)} stands {number:g} times in the answer, as with two servers that scrape the "
                "same; add the label of one to `metrics.prometheus.labels`, such as {prometheus_replica: prometheus-0}"
            )
    for one, other in combinations(sorted(numbers), 2):
        if _same_pod(profile, one, other) and numbers[one].keys() & numbers[other].keys():
            return (
                f"{named(profile, one)} is scraped twice, as job {one[0]!r} at {one[1]} and as {other[0]!r} at "
                f"{other[1]}; choose one by `metrics.prometheus.labels`, such as {{job: {one[0]}}}"
            )
    return ""


def _same_pod(profile: Profile, one: Source, other: Source) -> bool:
    """Same replica and same host; a replica that came back at another address may be seen at both for a moment."""
    host, other_host = one[1].rpartition(":")[0], other[1].rpartition(":")[0]
    return profile.replica is not None and host == other_host and one[2:] == other[2:]


def models_of(profile: Profile, answered: Iterable[Any]) -> Mapping[str, str]:
    """Replica -> the models that its series are labelled with, ``name@version``; of several all, in order."""
    found: dict[str, set[str]] = {}
    labelled = profile.model
    for one in answered if labelled else ():
        assert labelled is not None
        labels = one["metric"]
        model = "@".join(filter(None, (labels.get(label or "", "") for label in (labelled.name, labelled.version))))
        if model:
            model = model if labelled.name else f"@{model}"
            found.setdefault(labels.get(profile.replica or "", ""), set()).add(model)
    return {replica: " + ".join(sorted(models)) for replica, models in found.items()}
