"""What one poll costs per gate: observing it and asking for the verdict, against a plain comparison of two numbers.

python benchmarks/poll_cost.py [POLLS]
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np

from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.gates.values import Decide
from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.verdict import Judge

BOUNDS = tuple(round(0.05 * 1.2 ** (i / 2), 4) for i in range(40))
GATES = {
    "error_rate by evidence": ("error_rate", Limits(ratio=1.5), Decide.EVIDENCE),
    "error_rate by threshold": ("error_rate", Limits(ratio=1.5), Decide.THRESHOLD),
    "latency_p99 by evidence": ("latency_p99", Limits(ratio=1.2), Decide.EVIDENCE),
    "latency_p99 by threshold": ("latency_p99", Limits(ratio=1.2), Decide.THRESHOLD),
    "output_tokens by evidence": ("output_tokens", Limits(ratio=1.2), Decide.EVIDENCE),
}


def counters(rng: np.random.Generator, share: float, polls: int) -> list[Sample]:
    """Cumulative counters of one side at 100 requests a second, a poll every five."""
    shape = np.append(np.exp(-((np.arange(40) - 15) ** 2) / 40), 0.001)
    requests = np.cumsum(rng.poisson(500 * share, polls))
    errors = np.cumsum(rng.binomial(500, 0.01 * share, polls))
    buckets = np.cumsum(rng.multinomial(int(500 * share), shape / shape.sum(), polls), axis=0)
    return [
        Sample(5.0 * n, {"requests": float(requests[n]), "errors": float(errors[n])}, _histograms(buckets[n]))
        for n in range(polls)
    ]


def _histograms(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> dict[str, Histogram]:
    one = Histogram(BOUNDS, tuple(float(count) for count in counts), float(counts.sum()) * 0.4)
    return {"latency": one, "output_tokens": one}


def seconds_per_poll(gate: Gate, polls: int) -> float:
    """Of observing and judging, at a batch of one."""
    rng = np.random.default_rng(1)
    canary, baseline = counters(rng, 0.05, polls), counters(rng, 0.95, polls)
    judge = Judge([gate], 4)
    judge.capture(baseline[119], baseline[:120])
    judge.start_stage(0, 600.0, 0.05, True, 300.0, 500, {Role.CANARY: canary[119], Role.BASELINE: baseline[119]})
    began = time.perf_counter()
    for n in range(120, polls):
        judge.observe({Role.CANARY: canary[n], Role.BASELINE: baseline[n]}, 5.0 * n)
        judge.verdicts()
    return (time.perf_counter() - began) / (polls - 120)


def main() -> None:
    """Time each rule and print."""
    polls = 120 + (int(sys.argv[1]) if len(sys.argv) > 1 else 400)
    for name, (known, limits, decide) in GATES.items():
        found = metric(known)
        assert found is not None
        gate = replace(Gate(known, found, limits), decide=decide)
        print(f"{name:<28} {1000 * seconds_per_poll(gate, polls):7.3f} ms")


if __name__ == "__main__":
    main()
