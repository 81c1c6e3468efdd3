"""The replicas' own ``/metrics``, read without a Prometheus in between."""

from collections.abc import Mapping

from pytest_canary.adapters.scrape.metrics import ScrapeMetrics

OFFERS: Mapping[str, type] = {"metrics": ScrapeMetrics}

__all__ = ["OFFERS", "ScrapeMetrics"]
