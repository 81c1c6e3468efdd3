"""A world in which two builds have changed parts: the proven canary is what all is compared with.

So the return of the traffic to a stable build that was started anew is a rollout like any other, and taking the traffic
from it sends everybody to the canary that was proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from pytest_canary.ports import (
    MetricSource,
    Platform,
    Probes,
    Prompt,
    Revision,
    Role,
    Router,
    Sample,
    Weights,
    World,
)

OTHER: Mapping[Role, Role] = {Role.BASELINE: Role.CANARY, Role.CANARY: Role.BASELINE, Role.CONTROL: Role.CONTROL}


def exchanged(world: World, proven: Revision) -> World:
    """``world`` with baseline and canary exchanged; ``proven`` is what its platform calls stable."""
    return replace(
        world,
        platform=cast(Platform, _Platform(world.platform, proven)),
        router=cast(Router, _Router(world.router)),
        source=cast(MetricSource, _Source(world.source)),
        probes=cast(Probes, _Probes(world.probes)) if world.probes else None,
    )


class _Before:
    """Stands before an adapter and passes on what it does not answer itself."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)


class _Platform(_Before):
    def __init__(self, platform: Platform, proven: Revision) -> None:
        super().__init__(platform)
        self._proven = proven

    def stable(self) -> Revision:
        return self._proven

    def start(self) -> None:
        """Nothing: what serves is the canary, which is not started a second time."""


class _Router(_Before):
    def weights(self) -> Weights:
        return {OTHER[role]: share for role, share in self._adapter.weights().items()}

    def set_weights(self, weights: Weights) -> None:
        self._adapter.set_weights({OTHER[role]: share for role, share in weights.items()})

    def in_flight(self, role: Role) -> int:
        return int(self._adapter.in_flight(OTHER[role]))

    def attach(self, role: Role, revision: Revision, address: str) -> None:
        """Nothing: both builds are attached, in their own parts."""


class _Source(_Before):
    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        return {OTHER[role]: sample for role, sample in self._adapter.poll([OTHER[role] for role in roles]).items()}


class _Probes(_Before):
    def begin(self, addresses: Mapping[Role, str], prompts: Sequence[Prompt]) -> None:
        self._adapter.begin({OTHER[role]: address for role, address in addresses.items()}, prompts)
