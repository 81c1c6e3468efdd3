"""What a source has counted, as one gate reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_canary.gates.side import Side
from pytest_canary.gates.values import Gate, Kind, Metric
from pytest_canary.ports import NOTHING, PROBED
from pytest_canary.verdict.frame import Frame


def side_of(gate: Gate, frame: Frame) -> Side | None:
    """What ``frame`` says about the gate's metric, with its replicas and strata; None where nobody counts it."""
    whole = _side(gate.metric, frame)
    if whole is None or not (frame.replicas or frame.strata):
        return whole
    whole.replicas = _parts(gate.metric, frame.replicas)
    whole.strata = _parts(gate.metric, strata_of(frame, gate.by)) if gate.by else NOTHING
    return whole


def side_or_nothing(gate: Gate, frame: Frame) -> Side:
    """The same, and no requests where nobody counts it."""
    found = side_of(gate, frame)
    return Side.nothing(frame.batch) if found is None else found


def latency_of(frame: Frame) -> Side:
    """How long requests took; no requests where nobody counts it."""
    found = frame.histogram("latency")
    return Side(found[1].sum(axis=1), None, found[0], found[1]) if found else Side.nothing(frame.batch)


def strata_of(frame: Frame, labels: Sequence[str]) -> Mapping[str, Frame]:
    """Value -> frame, of the label ``a`` or of the labels ``a`` and ``b`` together (written ``a,b``)."""
    return frame.strata.get(",".join(labels), NOTHING)


def uncounted(gate: Gate, frame: Frame) -> str | None:
    """What is wrong when the source counts requests and not what ``gate`` asks for; None when it does."""
    metric = gate.metric
    if metric.probed and f"{PROBED}requests" not in frame.layout.places:
        return "no probes are sent; write `probe: {rate: 2, prompts: prompts.jsonl}`, or drop the gate"
    if not frame.counter("requests").any() or metric.kind is Kind.QUANTILE or _side(metric, frame) is not None:
        return None  # of a quantile the rule says what is missing, and how to have it counted
    mend = _MENDS.get(metric.name, "drop the gate, or mend the source")
    return f"the source does not count {_asked(metric, frame)}; {mend}"


_PRICED = "write `cost: {prices: prices.yaml}` to have its tokens priced, or drop the gate"
_MENDS = {"cost_per_request": _PRICED, "probe_cost_per_request": _PRICED}


def _asked(metric: Metric, frame: Frame) -> str:
    """The counters that are missing, the histogram, or the gauge."""
    missing = " and ".join(f"`{name}`" for name in dict.fromkeys(metric.counted) if name not in frame.layout.places)
    if metric.histogram:
        gauge = f", nor the gauge `{metric.gauge}`" if metric.gauge else ""
        return f"a histogram `{metric.histogram}`" + (f", nor the counter {missing}" if missing else "") + gauge
    return missing or f"the gauge `{metric.gauge}`"


def missing_labels(gate: Gate, frame: Frame) -> str | None:
    """What is wrong when the source does not count by the labels that ``gate`` compares by; None when it does."""
    if not gate.by or strata_of(frame, gate.by):
        return None
    known = ", ".join(sorted(frame.strata)) or "none"
    return f"it is compared by {','.join(gate.by)}, and the source counts by these labels: {known}; change `by`"


def _parts(metric: Metric, frames: Mapping[str, Frame]) -> Mapping[str, Side]:
    read = {name: _side(metric, frame) for name, frame in frames.items()}
    return {name: side for name, side in read.items() if side is not None}


def _side(metric: Metric, frame: Frame) -> Side | None:
    if metric.kind is Kind.RATE:
        return _rate(metric, frame)
    if metric.kind is Kind.GAUGE:
        return _gauge(metric, frame)
    found = frame.histogram(metric.histogram)
    counts = found is not None and found[1].shape[1] > 0
    if metric.gauge and not counts:
        return _gauge(metric, frame)
    if found is not None and (counts or not _counts(metric, frame)):
        return Side(found[1].sum(axis=1), None, found[0], found[1] if counts else None, found[2])
    if metric.kind is Kind.MEAN and _counts(metric, frame):
        number, total = frame.counter(metric.total), frame.counter(metric.events)
        return Side(number, total=np.maximum(number - total, 0.0) if metric.missed else total)
    return None


def _gauge(metric: Metric, frame: Frame) -> Side | None:
    at = frame.layout.levels.get(metric.gauge)
    return None if at is None else Side(np.ones(frame.batch), total=frame.values[:, at], gauged=True)


def _rate(metric: Metric, frame: Frame) -> Side | None:
    """Events among a total; where more is better, those of the total that are no event."""
    if not _counts(metric, frame):
        return None
    total, parts = frame.counter(metric.total), tuple(frame.counter(name) for name in metric.counted[:-1])
    added = parts[0] if len(parts) == 1 else np.sum(parts, axis=0)
    events = np.maximum(total - added, 0.0) if metric.missed else added
    return Side(total, events, parts=parts if metric.also else ())


def _counts(metric: Metric, frame: Frame) -> bool:
    return bool(metric.counted) and all(name in frame.layout.places for name in metric.counted)
