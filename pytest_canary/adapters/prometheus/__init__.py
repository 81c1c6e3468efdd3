"""A Prometheus server, or whatever answers its query API: who counts in a cluster."""

from collections.abc import Mapping

from pytest_canary.adapters.prometheus.metrics import PrometheusMetrics

OFFERS: Mapping[str, type] = {"metrics": PrometheusMetrics}

__all__ = ["OFFERS", "PrometheusMetrics"]
