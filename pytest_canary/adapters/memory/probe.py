"""Answers of builds that are names."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pytest_canary.adapters.memory.world import MemoryWorld
from pytest_canary.ports import Answer, Prompt, Shared

SCHEME = "memory://"


class MemoryProbeOptions(BaseModel):
    """What ``probe: {memory: {...}}`` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bad: dict[str, str] = Field(default_factory=dict)
    """Tag -> what is wrong with every answer of that build."""


class MemoryProbe:
    """:class:`~pytest_canary.ports.Probe` in memory: whatever runs answers in 20 ms, and knows what is right."""

    Options = MemoryProbeOptions

    def __init__(self, options: MemoryProbeOptions, shared: Shared) -> None:
        self._bad, self._world = options.bad, MemoryWorld.of(shared)

    @classmethod
    def connect(cls, options: MemoryProbeOptions, shared: Shared) -> MemoryProbe:
        """The probe of one target."""
        return cls(options, shared)

    def ask(self, address: str, prompt: Prompt) -> Answer:
        tag = address.removeprefix(SCHEME)
        with self._world.lock:
            found = [revision for revision in self._world.state.running.values() if revision.tag == tag]
        if not found or not address.startswith(SCHEME):
            return Answer(0, 0.0, finished=False, error=f"nothing answers at {address}")
        if tag in self._bad:
            return Answer(500, 0.02, error=self._bad[tag])
        ttft = 0.01 if prompt.stream else None
        return Answer(
            200, 0.02, ttft, text=f"ok {prompt.expect or 'Paris'}", tokens=5, model=self._world.model_of(found[0])
        )

    def close(self) -> None:
        """Nothing to let go of."""
