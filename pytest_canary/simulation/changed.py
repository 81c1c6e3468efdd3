"""A service whose build is not as good: its traffic with the injections that show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from pytest_canary.gates import Kind, Metric
from pytest_canary.simulation.injection import Injection
from pytest_canary.simulation.spread import mean, quantile, scaled
from pytest_canary.simulation.traffic import Spread, Traffic, Values

SLOW = ("latency", "ttft", "itl", "queue_time")
"""Histograms of how long something takes: what a cold build shows."""

T = TypeVar("T")


def changed(traffic: Traffic, injections: Iterable[Injection]) -> Traffic:
    """``traffic`` as the build with ``injections`` has it."""
    for one in injections:
        if one.kind == "crash":
            outcomes = {**dict.fromkeys(traffic.outcomes, 0.0), "errors": 1.0}
            return replace(traffic, outcomes=outcomes)
        if one.metric is not None:
            traffic = _with(traffic, one, one.metric)
    return traffic


def slowed(traffic: Traffic, factor: float) -> Traffic:
    """``traffic`` of a build that takes ``factor`` times as long for everything."""
    slow = {
        name: replace(values, spread=scaled(values.spread, factor)) if name in SLOW else values
        for name, values in traffic.values.items()
    }
    return replace(traffic, values=slow)


def _with(traffic: Traffic, injection: Injection, metric: Metric) -> Traffic:
    if metric.kind is Kind.GAUGE:
        return replace(traffic, gauges=_altered(traffic.gauges, [metric.gauge], lambda x: _number(x, injection)))
    values = _values_of(metric, traffic)
    if values:
        return replace(traffic, values=_altered(traffic.values, [values], lambda v: _shifted(v, injection, metric)))
    events = [metric.events, *metric.also]
    outcomes = _altered(traffic.outcomes, events, lambda p: min(_number(p, injection), 1.0))
    parts = _altered(traffic.parts, events, lambda part: replace(part, share=min(_number(part.share, injection), 1.0)))
    return replace(traffic, outcomes=outcomes, parts=parts)


def _values_of(metric: Metric, traffic: Traffic) -> str:
    """The histogram that holds the metric's values, or whose sum its counter is; empty where it is a rate."""
    if metric.histogram in traffic.values:
        return metric.histogram
    return traffic.sums.get(metric.events, ("", True))[0] if metric.kind is Kind.MEAN else ""


def _altered(table: Mapping[str, T], names: Iterable[str], change: object) -> Mapping[str, T]:
    return {**table, **{name: change(table[name]) for name in names if name in table}}  # type: ignore[operator]


def _number(value: float, injection: Injection) -> float:
    return max(value * injection.amount if injection.kind == "times" else value + injection.amount, 0.0)


def _shifted(values: Values, injection: Injection, metric: Metric) -> Values:
    """All values so many times as large that the metric is what the injection says."""
    spread: Spread = values.spread
    now = quantile(spread, metric.quantile) if metric.kind is Kind.QUANTILE else mean(spread)
    factor = _number(now, injection) / now if now else 1.0
    return replace(values, spread=scaled(spread, max(factor, 1e-6)))
