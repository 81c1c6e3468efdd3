"""What a service is taken to be like where nobody says, and what the metric of a gate needs to be counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pytest_canary.gates import Kind, Metric
from pytest_canary.simulation.traffic import Lognormal, Part, Score, Traffic, Values

TOKENS = 150.0
"""Gaps between tokens in one answer."""
RARE = 0.01
"""Share of an event that nobody has spoken of."""

DEFAULT = Traffic(
    rate=100.0,
    outcomes={"errors": 0.01, "client_errors": 0.005, "refusals": 0.01, "hallucinations": 0.01},
    parts={
        "feedback": Part("requests", 0.05),
        "feedback_negative": Part("feedback", 0.1),
        "cache_queries": Part("requests", 1.0, each=300.0),
        "cache_hits": Part("cache_queries", 0.5, each=300.0),
    },
    values={
        "latency": Values(Lognormal(0.25, 0.5)),
        "ttft": Values(Lognormal(0.06, 0.4)),
        "itl": Values(Lognormal(0.02, 0.3), each=TOKENS),
        "queue_time": Values(Lognormal(0.01, 0.8)),
        "input_tokens": Values(Lognormal(300.0, 0.7)),
        "output_tokens": Values(Lognormal(TOKENS, 0.6)),
        "cost": Values(Lognormal(0.001, 0.6)),
        "quality": Values(Score(0.85), among=0.1),
    },
    sums={
        "input_tokens": ("input_tokens", True),
        "output_tokens": ("output_tokens", True),
        "cost": ("cost", True),
        "latency_sum": ("latency", True),
        "latency_count": ("latency", False),
    },
    gauges={"gpu_utilisation": 0.7, "gpu_memory": 0.8},
)
"""A chat service of middling size; every number can be said in ``simulate:``."""
ALWAYS = ("latency", "ttft")
"""Told whether a gate asks for it or not, and so are the ways in which requests end."""


def with_needs(traffic: Traffic, metrics: Iterable[Metric]) -> Traffic:
    """``traffic`` with whatever ``metrics`` (of gates, of a rollout.yaml's own too) count and it does not have yet."""
    for metric in metrics:
        if not metric.probed:
            traffic = _with_counters(_with_values(traffic, metric), metric)
    return traffic


def _with_values(traffic: Traffic, metric: Metric) -> Traffic:
    if metric.kind is Kind.GAUGE and metric.gauge not in traffic.gauges:
        return replace(traffic, gauges={**traffic.gauges, metric.gauge: 0.5 if metric.unit == "ratio" else 1.0})
    name = metric.histogram
    if not name or name in traffic.values:
        return traffic
    spread = Score(0.8) if metric.unit == "ratio" else Lognormal(1.0, 0.5)
    known = DEFAULT.values.get(name, Values(spread))
    return replace(traffic, values={**traffic.values, name: known})


def _with_counters(traffic: Traffic, metric: Metric) -> Traffic:
    if metric.kind not in (Kind.RATE, Kind.MEAN) or not metric.counted:
        return traffic
    have = {"requests", *traffic.outcomes, *traffic.parts, *traffic.sums}
    if metric.total not in have:
        part = DEFAULT.parts.get(metric.total, Part("requests", 1.0))
        traffic = replace(traffic, parts={**traffic.parts, metric.total: part})
    for name in (metric.events, *metric.also):
        if name in have:
            continue
        if metric.kind is Kind.MEAN and not metric.missed:
            # A sum of values that only stands in a counter; where it is the mean of a histogram that is known, the sum
            # of that one.
            histogram = metric.histogram or name
            values = {histogram: Values(Lognormal(1.0, 0.5)), **traffic.values}
            traffic = replace(traffic, values=values, sums={**traffic.sums, name: (histogram, True)})
        elif metric.total == "requests":
            outcomes = {**traffic.outcomes, name: DEFAULT.outcomes.get(name, RARE)}
            traffic = replace(traffic, outcomes=outcomes)
        else:
            whole = traffic.parts.get(metric.total, Part("requests", 1.0))
            part = DEFAULT.parts.get(name, Part(metric.total, RARE, whole.each))
            traffic = replace(traffic, parts={**traffic.parts, name: part})
    return traffic


def only(traffic: Traffic, metrics: Iterable[Metric]) -> Traffic:
    """``traffic`` without the values, gauges and parts of requests that none of ``metrics`` asks for: less to draw."""
    asked = {*ALWAYS}
    for metric in metrics:
        asked |= {metric.histogram, metric.gauge, *metric.counted} - {""}
    asked |= {traffic.sums[name][0] for name in asked if name in traffic.sums}
    roots = {root_of(name, traffic) for name in asked if name in traffic.parts}
    return replace(
        traffic,
        parts={name: part for name, part in traffic.parts.items() if root_of(name, traffic) in roots},
        values={name: values for name, values in traffic.values.items() if name in asked},
        sums={name: of for name, of in traffic.sums.items() if of[0] in asked},
        gauges={name: value for name, value in traffic.gauges.items() if name in asked},
    )


def root_of(name: str, traffic: Traffic) -> str:
    """The part of the requests that ``name`` is, or is a part of."""
    while traffic.parts[name].of in traffic.parts:
        name = traffic.parts[name].of
    return name
