"""A metric source before another one, which adds what the probes of each role have counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_canary.ports import MetricSource, Role, Sample
from pytest_canary.prices import InFront
from pytest_canary.probing.probes import PacedProbes


class ProbedSource(InFront):
    """A :class:`~pytest_canary.ports.MetricSource` that tells what another one does, and what probes saw.

    Users and probes never share a name: those of probes begin with ``probe.``.
    """

    def __init__(self, source: MetricSource, probes: PacedProbes) -> None:
        super().__init__(source)
        self._probes = probes

    def __getattr__(self, name: str) -> Any:
        """What else the source can do; what probes will see nobody knows beforehand."""
        if name == "ahead":
            raise AttributeError(name)
        return super().__getattr__(name)

    def stop(self) -> None:
        self._probes.end()
        super().stop()

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        self._probes.catch_up()
        return {role: self._probes.added(role, sample) for role, sample in self._source.poll(roles).items()}
