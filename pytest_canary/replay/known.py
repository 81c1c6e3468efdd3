"""Which of today's gates a recording can answer: a metric that nobody counted then is not asked now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_canary.gates import Gate, Metric
from pytest_canary.ports import Role, Sample
from pytest_canary.recording import Event, Notice, Poll, Recorded


def normal_of(lines: Iterable[Recorded | Event | Notice]) -> Sample | None:
    """The counters of the stable build at the end of the window before the ramp; None where there is no window."""
    last = None
    for line in lines:
        if isinstance(line, Event) and line.kind == "stage":
            break
        if isinstance(line, Recorded) and line.poll is Poll.BASELINE:
            last = line.samples.get(Role.BASELINE, last)
    return last


def parted(gates: Sequence[Gate], normal: Sample) -> tuple[tuple[Gate, ...], tuple[str, ...]]:
    """The gates whose metric was counted, and the names of the others."""
    counted = tuple(gate for gate in gates if _counted(gate.metric, normal))
    return counted, tuple(gate.name for gate in gates if gate not in counted)


def _counted(metric: Metric, sample: Sample) -> bool:
    counters = bool(metric.counted) and all(name in sample.counters for name in metric.counted)
    return counters or metric.histogram in sample.histograms or metric.gauge in sample.gauges


def names_of(sample: Sample) -> str:
    """What was counted, in words."""
    return ", ".join([*sample.counters, *sample.histograms, *sample.gauges]) or "nothing"
