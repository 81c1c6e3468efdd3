"""What a source has counted, as one gate reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Gate, Kind, Metric
from pytest_canary.ports import Sample


def reading_of(gate: Gate, sample: Sample) -> Reading | None:
    """What ``sample`` says about the gate's metric, with its replicas and strata; None where nobody counts it."""
    whole = _reading(gate.metric, sample)
    if whole is None:
        return None
    replicas = _parts(gate.metric, sample.replicas)
    strata = _parts(gate.metric, strata_of(sample, gate.by)) if gate.by else {}
    return Reading(whole.requests, whole.events, whole.bounds, whole.counts, whole.total, replicas, strata)


def reading_or_nothing(gate: Gate, sample: Sample) -> Reading:
    """The same, and no requests where nobody counts it."""
    return reading_of(gate, sample) or Reading()


def strata_of(sample: Sample, labels: Sequence[str]) -> Mapping[str, Sample]:
    """Value -> sample, of the label ``a`` or of the labels ``a`` and ``b`` together (written ``a,b``)."""
    return sample.strata.get(",".join(labels), {})


def uncounted(gate: Gate, sample: Sample) -> str | None:
    """What is wrong when the source counts requests and not what ``gate`` asks for; None when it does."""
    metric = gate.metric
    if not sample.counters.get("requests") or metric.histogram or _reading(metric, sample) is not None:
        return None
    return f"the source does not count `{metric.events or metric.gauge}`; drop the gate, or mend the source"


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
        if metric.total not in sample.counters or metric.events not in sample.counters:
            return None
        return Reading(sample.counters[metric.total], sample.counters[metric.events])
    if metric.kind is Kind.GAUGE:
        value = sample.gauges.get(metric.gauge)
        return None if value is None else Reading(1.0, total=value)
    histogram = sample.histograms.get(metric.histogram)
    if histogram is None:
        return None
    return Reading(histogram.number, 0.0, histogram.bounds, histogram.counts, histogram.total)
