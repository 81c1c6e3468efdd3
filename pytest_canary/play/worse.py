"""A regression injected into a history, which keeps how its counts hang together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_canary.gates import Gate, Kind, Metric
from pytest_canary.play.history import Array, Buckets, History

TWICE = 2.0
"""The regression that is injected is so many times what the gate allows: 3x the errors for a gate of 1.5."""


def regression(gate: Gate, history: History) -> float | None:
    """How many times worse the injected build is; None for a gate that allows nothing relative."""
    if gate.limits.ratio is not None:
        return TWICE * gate.limits.ratio
    usual = _usual(gate.metric, history)
    if gate.limits.delta is None or not usual:
        return None
    return 1 + TWICE * gate.limits.delta / usual


def worse(history: History, metric: Metric, times: float, rng: np.random.Generator) -> History:
    """``history`` of a build whose ``metric`` is ``times`` worse.

    Events: those of other random replicas and moments are added, so that bursts and clumps stay what they are
    (``statistics-2.md`` 3).  Values: every one is ``times`` as large, spread evenly in its bucket.
    """
    if metric.kind is Kind.RATE:
        return _more_events(history, metric, times, rng)
    if not metric.lower_is_better:
        times = 1 / times
    counters, histograms = dict(history.counters), dict(history.histograms)
    if metric.missed:
        return _more_events(history, metric, times, rng)
    if metric.events in counters:
        counters[metric.events] = counters[metric.events] * times
    if metric.histogram in histograms:
        histograms[metric.histogram] = _shifted(histograms[metric.histogram], times, rng)
    return replace(history, counters=counters, histograms=histograms)


def _more_events(history: History, metric: Metric, times: float, rng: np.random.Generator) -> History:
    counters = dict(history.counters)
    total = counters.get(metric.total)
    for name in metric.counted[:-1]:
        if total is None or name not in counters:
            continue
        bad = total - counters[name] if metric.missed else counters[name]
        more = np.minimum(bad + _lent(bad, times - 1, rng), np.maximum(total, bad))
        counters[name] = total - more if metric.missed else more
    return replace(history, counters=counters)


def _lent(events: Array, times: float, rng: np.random.Generator) -> Array:
    """So many times the events, of other replicas at other moments."""
    steps, replicas = events.shape
    found = np.zeros_like(events)
    while times > 1e-9:
        later = int(rng.integers(max(steps // 10, 1), max(steps - steps // 10, 2)))
        other = np.roll(events, (later, int(rng.integers(1, max(replicas, 2)))), axis=(0, 1))
        found += other if times >= 1 else rng.binomial(np.round(other).astype(np.int64), times)
        times -= 1
    return found


def _shifted(buckets: Buckets, times: float, rng: np.random.Generator) -> Buckets:
    """Counts of values that are all ``times`` as large, whole numbers again by chance."""
    upto = np.round(np.cumsum(buckets.counts.astype(np.float64) @ _moved(buckets.bounds, times), axis=-1), 6)
    rounded = np.floor(upto + rng.random((*upto.shape[:-1], 1)) * (upto < upto[..., -1:]))
    rounded[..., -1] = np.round(upto[..., -1])
    rounded = np.minimum(rounded, rounded[..., -1:])
    counts = np.diff(rounded, axis=-1, prepend=0.0).astype(np.float32)
    return Buckets(buckets.bounds, counts, buckets.totals * times)


def _moved(bounds: tuple[float, ...], times: float) -> Array:
    """Share of each bucket that lies in each other one when all its values are ``times`` as large."""
    edges = np.array([0.0, *bounds])
    moved = np.zeros((len(bounds) + 1, len(bounds) + 1))
    for row, (low, high) in enumerate(zip(edges * times, edges[1:] * times, strict=False)):
        upto = np.clip((edges[1:] - low) / max(high - low, 1e-300), 0.0, 1.0)
        moved[row] = np.diff([0.0, *upto, 1.0])
    # What lies above all bounds is as far above as nobody knows: faster by a little, it is taken to stay there.
    moved[-1, -1] = 1.0
    return moved


def _usual(metric: Metric, history: History) -> float:
    """The metric itself over all of ``history``; 0 where nothing was counted."""
    buckets = history.histograms.get(metric.histogram)
    if metric.kind is Kind.QUANTILE and buckets is not None:
        counts = buckets.counts.sum(axis=(0, 1))
        at = int(np.searchsorted(np.cumsum(counts), metric.quantile * counts.sum()))
        return buckets.bounds[min(at, len(buckets.bounds) - 1)] if counts.sum() else 0.0
    if buckets is not None and buckets.counts.sum():
        return float(buckets.totals.sum() / buckets.counts.sum())
    total, events = history.counters.get(metric.total), history.counters.get(metric.events)
    return float(events.sum() / total.sum()) if total is not None and events is not None and total.sum() else 0.0
