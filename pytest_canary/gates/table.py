"""The metrics that can be gated by name."""

from __future__ import annotations

from pytest_canary.gates.values import Kind, Metric

_QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}

_TABLE: dict[str, Metric] = {
    "error_rate": Metric("error_rate", Kind.RATE, "ratio", events="errors"),
    "client_error_rate": Metric("client_error_rate", Kind.RATE, "ratio", events="client_errors"),
    **{
        f"{histogram}_{label}": Metric(
            f"{histogram}_{label}", Kind.QUANTILE, "seconds", histogram=histogram, quantile=quantile
        )
        for histogram in ("latency", "ttft")
        for label, quantile in _QUANTILES.items()
    },
    "output_tokens": Metric("output_tokens", Kind.MEAN, "tokens", histogram="output_tokens"),
    "quality": Metric("quality", Kind.MEAN, "ratio", histogram="quality", lower_is_better=False),
    "gpu_utilisation": Metric("gpu_utilisation", Kind.GAUGE, "ratio", gauge="gpu_utilisation"),
}


def metric(name: str) -> Metric | None:
    """The metric of this name; None when nobody knows it."""
    return _TABLE.get(name)


def names() -> tuple[str, ...]:
    """Every name that :func:`metric` knows."""
    return tuple(_TABLE)
