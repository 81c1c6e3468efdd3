"""A split that is numbers in a dictionary."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from pytest_canary.adapters.memory.obstacles import Obstacles, RouterFails
from pytest_canary.adapters.memory.world import TRAFFIC, MemoryWorld
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Fact, Revision, Role, Shared, Weights

TOLERANCE = 1e-6


class MemoryRouterOptions(BaseModel):
    """What ``router: {memory: {...}}`` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fail: RouterFails = Field(default_factory=dict)
    """Acts that fail: a list, or act -> text."""


class MemoryRouter:
    """:class:`~pytest_canary.ports.Router` in memory; requests end in the instant in which they begin."""

    Options = MemoryRouterOptions

    def __init__(self, options: MemoryRouterOptions, shared: Shared) -> None:
        self._service = shared.service
        self._obstacles = Obstacles("memory router", shared.clock, options.fail, {})
        self._world = MemoryWorld.of(shared)
        shared.handles[TRAFFIC] = self

    @classmethod
    def connect(cls, options: MemoryRouterOptions, shared: Shared) -> MemoryRouter:
        """The router of one target, and the handle ``traffic`` for metric sources; starts nothing."""
        return cls(options, shared)

    def check(self) -> Sequence[str]:
        return []

    def recover(self, facts: Sequence[Fact]) -> None:
        """Nothing: the world is read back by the platform, which keeps it."""

    def start(self) -> None:
        self._obstacles.meet("start")

    def stop(self) -> None:
        self._obstacles.meet("stop")
        with self._world.lock:
            self._world.count()
            state = self._world.state
            if state.places:
                state.places, state.shares, state.counted = {}, {}, {}
                self._world.acted("stop routing")

    def address(self) -> str:
        self._obstacles.meet("address")
        return f"memory://{self._service}"

    def attach(self, role: Role, revision: Revision, address: str) -> None:
        del address  # no request leaves this process
        self._obstacles.meet("attach")
        with self._world.lock:
            self._world.count()
            state = self._world.state
            held = state.places.get(role)
            if held is not None and held.key == revision.key:
                return
            state.places[role] = revision
            state.shares.setdefault(role, 0.0)
            state.counted.pop(role, None)
            self._world.acted(f"attach {role} {revision.tag}")

    def detach(self, role: Role) -> None:
        self._obstacles.meet("detach")
        with self._world.lock:
            self._world.count()
            state = self._world.state
            if role not in state.places:
                return
            if state.shares[role]:
                raise AdapterError(f"{role} holds {state.shares[role]:g} of the traffic; set its weight to 0 first")
            del state.places[role], state.shares[role]
            state.counted.pop(role, None)
            self._world.acted(f"detach {role}")

    def weights(self) -> Weights:
        self._obstacles.meet("weights")
        with self._world.lock:
            return dict(self._world.state.shares)

    def set_weights(self, weights: Weights) -> None:
        self._obstacles.meet("set_weights")
        with self._world.lock:
            self._world.count()
            state = self._world.state
            self._refuse(weights)
            state.shares = {role: float(weights.get(role, 0.0)) for role in state.places}
            shown = " ".join(f"{role}={state.shares[role]:g}" for role in Role if role in state.shares)
            self._world.acted(f"weights {shown}")

    def in_flight(self, role: Role) -> int:
        del role
        self._obstacles.meet("in_flight")
        return 0

    def mirror(self, share: float) -> None:
        self._obstacles.meet("mirror")
        if not 0 <= share <= 1:
            raise AdapterError(f"mirror is {share}, expected a share from 0 to 1")
        with self._world.lock:
            if share and Role.CANARY not in self._world.state.places:
                raise AdapterError("no canary to mirror to; attach it first")
            self._world.acted(f"mirror {share:g}")

    def _refuse(self, weights: Weights) -> None:
        attached = self._world.state.places
        for role, share in weights.items():
            if role not in attached:
                raise AdapterError(
                    f"weight for {role}, but attached are {', '.join(attached) or 'none'}; attach it first"
                )
            if not (math.isfinite(share) and share >= 0):
                raise AdapterError(f"weight of {role} is {share}, expected a share from 0 to 1")
        total = math.fsum(weights.values())
        if abs(total - 1) > TOLERANCE:
            raise AdapterError(f"weights add up to {total:g}, expected 1")
