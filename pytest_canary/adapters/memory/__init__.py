"""A world in memory that keeps every promise of the ports: for tests, examples, and trying out a rollout.yaml."""

from collections.abc import Mapping

from pytest_canary.adapters.memory.ledger import MemoryLedger
from pytest_canary.adapters.memory.metrics import MemoryMetrics
from pytest_canary.adapters.memory.platform import MemoryPlatform
from pytest_canary.adapters.memory.probe import MemoryProbe
from pytest_canary.adapters.memory.router import MemoryRouter
from pytest_canary.adapters.memory.users import MemoryUsers
from pytest_canary.adapters.memory.world import MemoryWorld

OFFERS: Mapping[str, type] = {
    "platform": MemoryPlatform,
    "router": MemoryRouter,
    "metrics": MemoryMetrics,
    "probe": MemoryProbe,
    "load": MemoryUsers,
    "ledger": MemoryLedger,
}

__all__ = [
    "OFFERS",
    "MemoryLedger",
    "MemoryMetrics",
    "MemoryPlatform",
    "MemoryProbe",
    "MemoryRouter",
    "MemoryUsers",
    "MemoryWorld",
]
