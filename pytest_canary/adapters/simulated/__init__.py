"""Traffic by chance, from a seed: what gates do with noise, without a build, a router or a second of waiting."""

from collections.abc import Mapping

from pytest_canary.adapters.simulated.metrics import SimulatedMetrics
from pytest_canary.adapters.simulated.played import SCENE, Play, PlayedMetrics

OFFERS: Mapping[str, type] = {"metrics": SimulatedMetrics}

__all__ = ["OFFERS", "SCENE", "Play", "PlayedMetrics", "SimulatedMetrics"]
