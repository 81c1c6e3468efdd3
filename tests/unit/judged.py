"""Samples by hand for the tests of gates and verdicts."""

from dataclasses import replace
from itertools import pairwise
from math import log
from statistics import NormalDist

from pytest_canary.gates import Bursts, Gate, Levels, Limits, metric
from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.verdict import Judge

LADDER = tuple(round(0.05 * 1.2 ** (i / 2), 4) for i in range(40))


def buckets(*groups, bounds=LADDER):
    """Counts per bucket of ``(number, seconds)`` groups."""
    counts = [0.0] * (len(bounds) + 1)
    for number, seconds in groups:
        counts[sum(bound < seconds for bound in bounds)] += number
    return Histogram(bounds, tuple(counts))


def shaped(number, times=1.0):
    """Counts of ``number`` latencies as they are expected: lognormal around 200 ms, p99 at 807 ms, times ``times``."""
    below = [number * NormalDist(log(0.2 * times), 0.6).cdf(log(bound)) for bound in LADDER]
    edges = [0.0, *below, number]
    return Histogram(LADDER, tuple(high - low for low, high in pairwise(edges)))


def after(first, second):
    """The counters of a role that had ``first`` and then ``second`` happen to it."""
    counts = tuple(a + b for a, b in zip(first.counts, second.counts, strict=True))
    return Histogram(first.bounds, counts)


def sample(requests=0.0, errors=0.0, latency=None, at=0.0, client_errors=0.0):
    """What one role has counted; ``latency`` is a histogram."""
    counters = {"requests": requests, "errors": errors, "client_errors": client_errors}
    return Sample(at, counters, {"latency": latency} if latency else {})


UNGUARDED = Levels(bursts=Bursts.IGNORE)
"""So that one poll may say everything; what the guard does has tests of its own."""


def gate(name="error_rate", alpha=0.01, where="", **more):
    """A gate; names of limits and of fields alike."""
    limits = {kind: more.pop(kind) for kind in ("ratio", "delta", "max", "min", "shift") if kind in more}
    found = metric(name)
    assert found is not None
    return replace(Gate(name, found, Limits(**limits), alpha=alpha, where=where, levels=UNGUARDED), **more)


def judge(*gates, captured=None, stages=4):
    """A judge of ``gates`` that knows what is normal."""
    judge = Judge(gates, stages)
    judge.capture(captured or sample(10_000, 100, shaped(10_000)))
    return judge


def start(judge, index=0, at=0.0, share=0.1, compared=True, hold=10.0, least=50, canary=None, baseline=None):
    """Begin a stage at which counters stand where the two samples say."""
    samples = {Role.CANARY: canary or sample(), Role.BASELINE: baseline or sample()}
    judge.start_stage(index, at, share, compared, hold, least, samples)


def look(judge, canary=None, baseline=None, at=10.0):
    """One poll; returns what the first gate says then.  A role left out was not counted."""
    samples = {role: seen for role, seen in ((Role.CANARY, canary), (Role.BASELINE, baseline)) if seen is not None}
    judge.observe(samples, at)
    return judge.verdicts()[0]
