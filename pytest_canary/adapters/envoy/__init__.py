"""A real Envoy of our own: who splits the traffic, and who counts it."""

from collections.abc import Mapping

from pytest_canary.adapters.envoy.metrics import EnvoyMetrics
from pytest_canary.adapters.envoy.router import EnvoyRouter

OFFERS: Mapping[str, type] = {"router": EnvoyRouter, "metrics": EnvoyMetrics}

__all__ = ["OFFERS", "EnvoyMetrics", "EnvoyRouter"]
