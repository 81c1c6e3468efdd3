"""Users who see exactly what the memory metrics count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from pytest_canary.adapters.memory.world import MemoryWorld
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Fact, Seen, Shared


class MemoryUsersOptions(BaseModel):
    """``load: {memory: {}}`` has no options: the metrics say how much traffic there is."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MemoryUsers:
    """:class:`~pytest_canary.ports.Users` in memory: nothing they send is ever dropped."""

    Options = MemoryUsersOptions

    def __init__(self, options: MemoryUsersOptions, shared: Shared) -> None:
        del options
        self._world = MemoryWorld.of(shared)
        self._inside = False
        self._before: Mapping[str, Mapping[str, float]] = {}
        self._seen = Seen()

    @classmethod
    def connect(cls, options: MemoryUsersOptions, shared: Shared) -> MemoryUsers:
        """The users of one target; nobody comes yet."""
        return cls(options, shared)

    def check(self) -> Sequence[str]:
        return []

    def recover(self, facts: Sequence[Fact]) -> None:
        """Nothing to take hold of."""

    def start(self) -> None:
        """Nothing to bring up."""

    def stop(self) -> None:
        self.leave()

    def enter(self, address: str) -> None:
        if self._inside:
            raise AdapterError(f"synthetic users are under way already and cannot enter at {address} too; leave first")
        self._inside, self._before = True, self._tallies()

    def seen(self) -> Seen:
        if self._inside:
            self._seen = self._since(self._before)
        return self._seen

    def leave(self) -> Seen:
        seen = self.seen()
        self._inside = False
        return seen

    def _tallies(self) -> dict[str, dict[str, float]]:
        with self._world.lock:
            self._world.count()
            return {pin: dict(tally) for pin, tally in self._world.served.items()}

    def _since(self, before: Mapping[str, Mapping[str, float]]) -> Seen:
        served, bad = dict[str, int](), dict[str, int]()
        for pin, tally in self._tallies().items():
            earlier = before.get(pin, {})
            answers = int(tally["requests"] - earlier.get("requests", 0.0) + 1e-6)
            faults = int(tally["errors"] - earlier.get("errors", 0.0) + 1e-6)
            served |= {pin: answers} if answers else {}
            bad |= {pin: faults} if faults else {}
        sent, failed = sum(served.values()), sum(bad.values())
        return Seen(sent=sent, answered=sent - failed, failed=failed, served=served, bad=bad)
