"""What a recording tells of a service: the traffic by which it can be simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log, sqrt
from statistics import NormalDist, fmean, median

from pytest_canary.ports import PROBED, Histogram, Role, Sample
from pytest_canary.simulation.defaults import DEFAULT, TOKENS
from pytest_canary.simulation.traffic import Dependence, Lognormal, Part, Score, Spread, Traffic, Values

LEAST_POLLS = 10
"""Fewer readings of the stable build say nothing about how it goes on."""
LEAST_ERRORS = 30
"""Fewer errors in all say nothing about whether they come together."""
DISPERSED = 1.5
"""Variance over mean beyond this is no chance any more."""
TOP = 0.99
SCORES = ("quality",)
USUAL_SD, FLAT = 0.1, 0.05
"""Of scores that are all in one bucket; sigma of values that are all alike."""


def fitted(polls: Sequence[Mapping[Role, Sample]]) -> Traffic:
    """The traffic of a service whose cumulative counters were ``polls``, one after the other.

    The rate is that of all roles; all else is the stable build's: shares of all that was counted, values by the
    quantiles of their histograms (buckets kept), the pods that were told apart, and errors in clumps where they vary
    more than chance has it: ``(variance / mean + 1) / 2`` together, which is what geometric clumps of that mean do.

    Raises:
        ValueError: there are too few readings, or nobody was there; one line.

    """
    steps = [_Step.between(*pair) for pair in pairwise(polls)]
    told = [step for step in steps if step is not None]
    counted = [step.stable for step in told]
    if len(counted) < LEAST_POLLS:
        raise ValueError(
            f"found {len(counted)} readings of the stable build with requests, expected at least {LEAST_POLLS}; "
            "name a longer recording"
        )
    totals = _totals(counted)
    return replace(
        DEFAULT,
        rate=sum(step.requests for step in told) / sum(step.seconds for step in told),
        outcomes=_outcomes(totals),
        parts=_parts(totals),
        values={**DEFAULT.values, **_values(counted, totals["requests"])},
        gauges={**DEFAULT.gauges, **_gauges(counted)},
        pods=max(1, *(len(step.replicas) for step in counted)),
        dependence=Dependence(clumps=_clumps(counted)),
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """What was counted from one poll to the next."""

    stable: Sample
    requests: float
    """Of all roles."""
    seconds: float

    @classmethod
    def between(cls, one: Mapping[Role, Sample], other: Mapping[Role, Sample]) -> _Step | None:
        """None where the stable build served nobody, nobody knows, or its counters began anew."""
        before, after = one.get(Role.BASELINE), other.get(Role.BASELINE)
        stable = after.since(before) if before and after else None
        if stable is None or before is None or not stable.counters.get("requests") or stable.at <= before.at:
            return None
        every = [then.since(one[role]) for role, then in other.items() if role in one]
        return cls(stable, sum(max(each.of_users, 0.0) for each in every if each), stable.at - before.at)


def _totals(steps: Sequence[Sample]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for step in steps:
        for name, count in step.counters.items():
            if not name.startswith(PROBED):
                totals[name] = totals.get(name, 0.0) + count
    return totals


def _outcomes(totals: dict[str, float]) -> dict[str, float]:
    """Shares of the requests; what was not counted is as usual."""
    requests, usual = totals["requests"], DEFAULT.outcomes
    return {name: min(totals[name] / requests, 1.0) if name in totals else usual[name] for name in usual}


def _parts(totals: dict[str, float]) -> dict[str, Part]:
    parts = {}
    for name, usual in DEFAULT.parts.items():
        whole = totals.get(usual.of, 0.0) * (usual.each if usual.of == "requests" else 1.0)
        known = name in totals and whole > 0
        parts[name] = replace(usual, share=min(totals[name] / whole, 1.0)) if known else usual
    return parts


def _values(steps: Sequence[Sample], requests: float) -> dict[str, Values]:
    found = {}
    for name in sorted({name for step in steps for name in step.histograms if not name.startswith(PROBED)}):
        whole = _whole([step.histograms[name] for step in steps if name in step.histograms])
        if whole is None or not whole.number:
            continue
        spread = _spread(name, whole)
        if spread is not None:
            each = TOKENS if name == "itl" else 1.0
            among = min(whole.number / each / requests, 1.0)
            found[name] = Values(spread, among, whole.number / requests / among, whole.bounds)
    return found


def _whole(told: Sequence[Histogram]) -> Histogram | None:
    """All of them together, as long as the buckets stay the same."""
    same = [one for one in told if one.bounds == told[-1].bounds]
    if not same:
        return None
    counts = tuple(map(sum, zip(*(one.counts for one in same), strict=True)))
    return Histogram(same[-1].bounds, counts, sum(one.total for one in same))


def _spread(name: str, whole: Histogram) -> Spread | None:
    mean = whole.total / whole.number
    middle, top = whole.quantile(0.5), whole.quantile(TOP)
    if name in SCORES:
        low, high = whole.quantile(0.16), whole.quantile(0.84)
        sd = (high - low) / 2 if low is not None and high is not None and high > low else USUAL_SD
        return Score(min(max(mean, 0.0), 1.0), sd)
    if middle is None or middle <= 0:
        return None
    if top is not None and top > middle:
        return Lognormal(middle, log(top / middle) / NormalDist().inv_cdf(TOP))
    if mean > middle:  # the top lies above all buckets: the mean tells how far
        return Lognormal(middle, sqrt(2 * log(mean / middle)))
    return Lognormal(middle, FLAT)


def _gauges(steps: Sequence[Sample]) -> dict[str, float]:
    names = {name for step in steps for name in step.gauges if not name.startswith(PROBED)}
    return {name: fmean(step.gauges[name] for step in steps if name in step.gauges) for name in sorted(names)}


def _clumps(steps: Sequence[Sample]) -> float:
    """How many errors come together: from how much polls of about the same size differ, beyond chance."""
    pairs = [(step.counters["requests"], step.counters.get("errors", 0.0)) for step in steps]
    requests, errors = (sum(column) for column in zip(*pairs, strict=True))
    if errors < LEAST_ERRORS:
        return 1.0
    usual = median(number for number, _ in pairs)
    alike = [(n, e) for n, e in pairs if n > usual / 2]
    rate = errors / requests
    dispersion = fmean((e - n * rate) ** 2 / (n * rate) for n, e in alike)
    return min((dispersion + 1) / 2, 100.0) if dispersion > DISPERSED else 1.0
