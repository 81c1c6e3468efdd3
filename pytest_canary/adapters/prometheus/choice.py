"""Which built-in profile fits, where a target names none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pytest_canary.adapters.profiles import BUILT_IN, Profile, load
from pytest_canary.adapters.prometheus.options import PrometheusOptions
from pytest_canary.adapters.prometheus.queries import PART, Questions, together
from pytest_canary.adapters.prometheus.server import PrometheusServer
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Role, Shared


def found_out(server: PrometheusServer, role: Role, options: PrometheusOptions, shared: Shared) -> Profile:
    """The first that fits what ``role`` has; says so, and what else would fit.

    Raises:
        SourceUnavailable: none does.

    """
    chosen, *others = _fitting(server, role, shared.labels.get(role, {}), options, shared.home)
    fit = f" ({', '.join(one.name for one in others)} would fit too)" if others else ""
    say = f"metrics are read by profile {chosen.name}, found out{fit}; `metrics.prometheus.profile` chooses another"
    shared.note("prometheus", profile=chosen.name, say=say)
    return chosen


def _fitting(
    server: PrometheusServer, role: Role, told: Mapping[str, str], options: PrometheusOptions, home: Path
) -> Sequence[Profile]:
    """The built-in profiles whose server counts for ``role``, in the order of :data:`BUILT_IN`; one question."""
    candidates: dict[str, Questions] = {}
    for name in BUILT_IN:
        profile = load(name, home)
        with suppress(SourceUnavailable):  # it needs a label that this router does not tell
            candidates[name] = Questions.about(role, profile, told, options.labels, options.roles.get(role))
    query = together({name: asked.existence for name, asked in candidates.items()})
    found = {one["metric"][PART] for one in server.ask(query)} if candidates else set()
    if not found:
        raise SourceUnavailable(
            f"no series of {role} that a built-in profile knows ({', '.join(BUILT_IN)}); check that its pods are "
            "scraped, or write your own and name it in `metrics.prometheus.profile`"
        )
    return [asked.profile for name, asked in candidates.items() if name in found]
