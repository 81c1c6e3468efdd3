"""What a source has counted, as one gate reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Gate, Kind, Metric
from pytest_canary.ports import PROBED, Sample


def reading_of(gate: Gate, sample: Sample) -> Reading | None:
    """What ``sample`` says about the gate's metric, with its replicas and strata; None where nobody counts it."""
    whole = _reading(gate.metric, sample)
    if whole is None:
        return None
    replicas = _parts(gate.metric, sample.replicas)
    strata = _parts(gate.metric, strata_of(sample, gate.by)) if gate.by else {}
    return replace(whole, replicas=replicas, strata=strata)


def reading_or_nothing(gate: Gate, sample: Sample) -> Reading:
    """The same, and no requests where nobody counts it."""
    return reading_of(gate, sample) or Reading()


def latency_of(sample: Sample) -> Reading:
    """How long requests took; no requests where nobody counts it."""
    histogram = sample.histograms.get("latency")
    return Reading(histogram.number, 0.0, histogram.bounds, histogram.counts) if histogram else Reading()


def strata_of(sample: Sample, labels: Sequence[str]) -> Mapping[str, Sample]:
    """Value -> sample, of the label ``a`` or of the labels ``a`` and ``b`` together (written ``a,b``)."""
    return sample.strata.get(",".join(labels), {})


def uncounted(gate: Gate, sample: Sample) -> str | None:
    """What is wrong when the source counts requests and not what ``gate`` asks for; None when it does."""
    metric = gate.metric
    if metric.probed and f"{PROBED}requests" not in sample.counters:
        return "no probes are sent; write `probe: {rate: 2, prompts: prompts.jsonl}`, or drop the gate"
    if not sample.counters.get("requests") or metric.kind is Kind.QUANTILE or _reading(metric, sample) is not None:
        return None  # of a quantile the rule says what is missing, and how to have it counted
    mend = _MENDS.get(metric.name, "drop the gate, or mend the source")
    return f"the source does not count {_asked(metric, sample)}; {mend}"


_PRICED = "write `cost: {prices: prices.yaml}` to have its tokens priced, or drop the gate"
_MENDS = {"cost_per_request": _PRICED, "probe_cost_per_request": _PRICED}


def _asked(metric: Metric, sample: Sample) -> str:
    """The counters that are missing, the histogram, or the gauge."""
    missing = " and ".join(f"`{name}`" for name in dict.fromkeys(metric.counted) if name not in sample.counters)
    if metric.histogram:
        gauge = f", nor the gauge `{metric.gauge}`" if metric.gauge else ""
        return f"a histogram `{metric.histogram}`" + (f", nor the counter {missing}" if missing else "") + gauge
    return missing or f"the gauge `{metric.gauge}`"


def missing_labels(gate: Gate, sample: Sample) -> str | None:
    """What is wrong when the source does not count by the labels that ``gate`` compares by; None when it does."""
    if not gate.by or strata_of(sample, gate.by):
        return None
    known = ", ".join(sorted(sample.strata)) or "none"
    return f"it is compared by {','.join(gate.by)}, and the source counts by these labels: {known}; change `by`"


def _parts(metric: Metric, samples: Mapping[str, Sample]) -> dict[str, Reading]:
    read = {name: _reading(metric, sample) for name, sample in samples.items()}
    return {name: reading for name, reading in read.items() if reading is not None}


def _reading(metric: Metric, sample: Sample) -> Reading | None:
    if metric.kind is Kind.RATE:
        return _rate(metric, sample)
    if metric.kind is Kind.GAUGE:
        return _gauge(metric, sample)
    histogram = sample.histograms.get(metric.histogram)
    if metric.gauge and not (histogram and histogram.counts):
        return _gauge(metric, sample)
    if histogram is not None and (histogram.counts or not _counts(metric, sample)):
        return Reading(histogram.number, 0.0, histogram.bounds, histogram.counts, histogram.total)
    if metric.kind is Kind.MEAN and _counts(metric, sample):
        number, total = sample.counters[metric.total], sample.counters[metric.events]
        return Reading(number, total=max(number - total, 0.0) if metric.missed else total)
    return None


def _gauge(metric: Metric, sample: Sample) -> Reading | None:
    value = sample.gauges.get(metric.gauge)
    return None if value is None else Reading(1.0, total=value, gauged=True)


def _rate(metric: Metric, sample: Sample) -> Reading | None:
    """Events among a total; where more is better, those of the total that are no event."""
    if not _counts(metric, sample):
        return None
    total, parts = sample.counters[metric.total], tuple(sample.counters[name] for name in metric.counted[:-1])
    events = max(total - sum(parts), 0.0) if metric.missed else sum(parts)
    return Reading(total, events, parts=parts if metric.also else ())


def _counts(metric: Metric, sample: Sample) -> bool:
    return bool(metric.counted) and all(name in sample.counters for name in metric.counted)
