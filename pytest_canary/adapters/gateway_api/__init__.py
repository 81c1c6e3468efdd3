"""Traffic split by the weights of a Gateway API HTTPRoute."""

from collections.abc import Mapping

from pytest_canary.adapters.gateway_api.router import GatewayApiRouter

OFFERS: Mapping[str, type] = {"router": GatewayApiRouter}

__all__ = ["OFFERS", "GatewayApiRouter"]
