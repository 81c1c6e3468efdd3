"""What the probes of one role have seen, as counters and histograms that only grow."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from threading import Lock

from pytest_canary.ports import PROBED, Answer, Fault, Histogram, Probed

STEPS = 50
"""Buckets in each power of ten: each is 1.05 times as wide as the one before, so a gate finds its boundary nearby."""


def _ladder(low: int, high: int) -> tuple[float, ...]:
    """Boundaries from ``10**low`` to ``10**high``."""
    return tuple(float(f"{10 ** (step / STEPS):.4g}") for step in range(low * STEPS, high * STEPS + 1))


SECONDS, TOKENS, MONEY = _ladder(-4, 3), _ladder(0, 6), _ladder(-9, 3)
"""0.1 ms to 17 minutes; 1 to a million; a millionth of a thousandth to a thousand, of any currency."""
BOUNDS = {
    "latency": SECONDS,
    "ttft": SECONDS,
    "itl": SECONDS,
    "output_tokens": TOKENS,
    "input_tokens": TOKENS,
    "cost": MONEY,
}
"""Histogram -> its boundaries; one value for each answer without a fault that has it."""


class _Buckets:
    """A histogram that grows."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds, self._counts, self._total = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def told(self) -> Histogram:
        return Histogram(self._bounds, tuple(map(float, self._counts)), self._total)


class Tally:
    """Of one role; any thread may add to it while another reads."""

    def __init__(self, *, priced: bool) -> None:
        self._lock = Lock()
        self._answered = self._refused = self._skipped = 0
        self._faults: Counter[Fault] = Counter()
        self._first_fault = ""
        self._buckets = {name: _Buckets(bounds) for name, bounds in BOUNDS.items() if priced or name != "cost"}

    def take(self, answer: Answer, cost: float | None) -> None:
        """Add one answer; a faulty one may be quick or cut short, so its times and tokens say nothing."""
        fault = fault_of(answer)
        with self._lock:
            self._answered += 1
            if fault is not None:
                self._faults[fault] += 1
                self._first_fault = self._first_fault or f"{fault}: {answer.error or answer.status}"
                return
            self._refused += answer.refusal is not None
            values = (answer.seconds, answer.ttft_seconds, answer.gap_mean_seconds)
            for name, value in zip(BOUNDS, (*values, answer.tokens, answer.prompt_tokens, cost), strict=True):
                if value is not None and name in self._buckets:
                    self._buckets[name].add(value)

    def skip(self) -> None:
        """Add a probe that could not be sent."""
        with self._lock:
            self._skipped += 1

    def told(self) -> tuple[dict[str, float], dict[str, Histogram]]:
        """Counters (``probe.requests``, ``probe.refusals``, one for each kind of fault) and histograms, all at once."""
        with self._lock:
            faults = {fault.name.lower(): float(self._faults[fault]) for fault in Fault}
            counts = {"requests": float(self._answered), "refusals": float(self._refused), **faults}
            histograms = {f"{PROBED}{name}": one.told() for name, one in self._buckets.items()}
        return {f"{PROBED}{name}": count for name, count in counts.items()}, histograms

    def seen(self) -> Probed:
        """What a person wants to know of it."""
        with self._lock:
            return Probed(self._answered, dict(self._faults), self._refused, self._first_fault, self._skipped)


def fault_of(answer: Answer) -> Fault | None:
    """The kind of fault of ``answer``; of what a probe of somebody's own does not name, the nearest one."""
    if answer.fault is not None:
        return answer.fault
    if answer.status == 0:
        return Fault.NO_ANSWER
    if not 200 <= answer.status < 300:
        return Fault.STATUS
    if not answer.finished:
        return Fault.TRUNCATED
    return Fault.UNEXPECTED if answer.error else None
