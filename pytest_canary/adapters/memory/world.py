"""What the memory adapters share: which builds run, who stands for which role, who has been asked how often."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from pytest_canary.errors import AdapterError
from pytest_canary.ports import Revision, Role, Shared

Counts = dict[str, float]
HANDLE = "memory"
TRAFFIC = "traffic"
"""The handle of whoever splits the traffic."""


@dataclass(slots=True)
class State:
    """All there is to know about a world.  Revisions and tallies go by pin."""

    running: dict[str, Revision] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    stable: Revision | None = None
    places: dict[Role, Revision] = field(default_factory=dict)
    shares: dict[Role, float] = field(default_factory=dict)
    counted: dict[Role, Counts] = field(default_factory=dict)
    """Exact counters of each attached role; what is told of them is whole numbers."""

    def to_data(self) -> dict[str, Any]:
        """Plain values; :meth:`from_data` reads them back."""
        return {
            "running": {pin: revision.to_data() for pin, revision in self.running.items()},
            "replicas": self.replicas,
            "stable": self.stable.to_data() if self.stable else None,
            "places": {str(role): revision.to_data() for role, revision in self.places.items()},
            "shares": self.shares,
            "counted": self.counted,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> State:
        """The state that :meth:`to_data` wrote."""
        return cls(
            {pin: Revision.from_data(told) for pin, told in data["running"].items()},
            dict(data["replicas"]),
            Revision.from_data(data["stable"]) if data["stable"] else None,
            {Role(role): Revision.from_data(told) for role, told in data["places"].items()},
            {Role(role): float(share) for role, share in data["shares"].items()},
            {Role(role): dict(counts) for role, counts in data["counted"].items()},
        )


class MemoryWorld:
    """One state, kept in a file when it has to outlive the process; every act is a line in a log where there is one."""

    def __init__(self) -> None:
        self.state = State()
        self.lock = RLock()
        self.counters: list[Callable[[], None]] = []
        """Who counts; asked to do so before the traffic changes."""
        self.served: dict[str, Counts] = {}
        """Pin -> what its builds have answered since this process began, in whatever role."""
        self.asked: dict[str, float] = {}
        """Pin -> requests that went straight to it, past the router."""
        self.model_of: Callable[[Revision], str | None] = lambda revision: revision.change.model
        """Which model version a build serves; the platform says."""
        self.gone: Callable[[Revision], bool] = lambda _: False
        """Whether no copy of a build is there to be asked; the platform says."""
        self._store: Path | None = None
        self._log: Path | None = None

    @staticmethod
    def of(shared: Shared) -> MemoryWorld:
        """The world that the adapters of one target share."""
        world = shared.handles.setdefault(HANDLE, MemoryWorld())
        assert isinstance(world, MemoryWorld)
        return world

    def keep_in(self, store: Path | None, log: Path | None) -> None:
        """Use these files from now on, and carry on from what the store holds."""
        self._store, self._log = store, log
        self.load()

    def load(self) -> None:
        """Read the store again, if there is one; raises AdapterError when it holds no world."""
        if self._store is None or not self._store.exists():
            return
        with self.lock:
            try:
                self.state = State.from_data(json.loads(self._store.read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise AdapterError(f"{self._store}: not a world: {error}; delete this file") from error

    def count(self) -> None:
        """Let everybody count up to this moment."""
        for counter in self.counters:
            counter()

    def acted(self, act: str) -> None:
        """Write down what was done; the store first, so that whoever reads the log finds the store as new."""
        if self._store is not None:
            aside = self._store.with_name(f"{self._store.name}.new")
            aside.write_text(json.dumps(self.state.to_data()), encoding="utf-8")
            aside.replace(self._store)
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"{act}\n")
