"""The metrics that can be gated by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pytest_canary.gates.values import Kind, Metric
from pytest_canary.ports import PROBED, Fault

_QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
_HISTOGRAMS = {
    "latency": ("latency", "seconds"),
    "ttft": ("ttft", "seconds"),
    "inter_token_latency": ("itl", "seconds"),
    "queue_time": ("queue_time", "seconds"),
    "output_tokens": ("output_tokens", "tokens"),
    "input_tokens": ("input_tokens", "tokens"),
}
"""Name of a gate without its quantile -> the histogram and its unit."""
_OF_TOKENS = ("itl",)
"""Histograms with a value for every token."""
ENOUGH = 20
"""Of what comes rarely (feedback, scores), fewer than this are silence."""


def _rate(name: str, *events: str, total: str = "requests", least: int = 1) -> Metric:
    return Metric(name, Kind.RATE, "ratio", events=events[0], total=total, also=events[1:], least=least)


def _all() -> Iterator[Metric]:
    yield _rate("error_rate", "errors")
    yield _rate("client_error_rate", "client_errors")
    yield _rate("refusal_rate", "refusals")
    yield _rate("error_or_refusal_rate", "errors", "refusals")
    yield _rate("feedback_negative_rate", "feedback_negative", total="feedback", least=ENOUGH)
    yield _rate("hallucination_rate", "hallucinations")
    for name, (histogram, unit) in _HISTOGRAMS.items():
        for label, quantile in _QUANTILES.items():
            yield Metric(
                f"{name}_{label}", Kind.QUANTILE, unit, histogram=histogram, quantile=quantile,
                clustered=histogram in _OF_TOKENS,
            )  # fmt: skip
    # Servers count cached tokens, thousands of one request at a time: as a rate, that would look like much evidence.
    yield Metric("cache_hit_rate", Kind.MEAN, "ratio", events="cache_hits", total="cache_queries", missed="misses")
    for name in ("output_tokens", "input_tokens"):
        yield Metric(name, Kind.MEAN, "tokens", events=name, histogram=name)
    yield Metric("cost_per_request", Kind.MEAN, "a request", events="cost", histogram="cost")
    for name in ("latency", "inter_token_latency", "queue_time"):
        histogram, unit = _HISTOGRAMS[name]
        pair = f"{histogram}_sum", f"{histogram}_count"
        yield Metric(
            name, Kind.MEAN, unit, events=pair[0], total=pair[1], histogram=histogram, clustered=histogram in _OF_TOKENS
        )
    yield Metric(
        "quality", Kind.MEAN, "ratio", histogram="quality", gauge="quality", lower_is_better=False, least=ENOUGH
    )
    yield Metric("gpu_utilisation", Kind.GAUGE, "ratio", gauge="gpu_utilisation")
    yield Metric("gpu_memory", Kind.GAUGE, "ratio", gauge="gpu_memory")


_FAULTS = tuple(f"{PROBED}{fault.name.lower()}" for fault in Fault)
_ASKED_OF_PROBES = ("latency", "ttft", "inter_token_latency", "output_tokens", "input_tokens", "cost_per_request")
"""Gates without their quantile that the answers to probes can feed as well, from histograms."""


def _of_probes() -> Iterator[Metric]:
    """What probes saw, under names of their own: no number of users is in them."""
    asked, refusals = f"{PROBED}requests", f"{PROBED}refusals"
    yield _rate("probe_error_rate", *_FAULTS, total=asked, least=ENOUGH)
    yield _rate("probe_refusal_rate", refusals, total=asked, least=ENOUGH)
    yield _rate("probe_error_or_refusal_rate", *_FAULTS, refusals, total=asked, least=ENOUGH)
    for one in _all():
        thing, _, quantile = one.name.rpartition("_p")
        if (thing if quantile.isdigit() else one.name) in _ASKED_OF_PROBES:
            # One value an answer, of inter-token time its mean: nothing comes many at a time.
            histogram = f"{PROBED}{one.histogram}"
            named = replace(one, name=f"probe_{one.name}", events="", total="requests", histogram=histogram)
            yield replace(named, clustered=False, least=ENOUGH)


_TABLE: dict[str, Metric] = {metric.name: metric for metric in (*_all(), *_of_probes())}


def metric(name: str) -> Metric | None:
    """The metric of this name; None when nobody knows it."""
    return _TABLE.get(name)


def names() -> tuple[str, ...]:
    """Every name that :func:`metric` knows."""
    return tuple(_TABLE)
