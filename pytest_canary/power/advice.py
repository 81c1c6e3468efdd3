"""Which first stage catches a regression in time with the fewest users: the closed form, before it is simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, inf, log, sqrt
from statistics import NormalDist

from pytest_canary.gates import Gate, Kind
from pytest_canary.gates.words import number
from pytest_canary.plan import Plan, Stage
from pytest_canary.simulation.spread import quantile
from pytest_canary.simulation.traffic import Lognormal, Traffic

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
SURE = 0.9
_SLACK = 1.5
"""Nats that the second condition and the mixture over sizes cost."""
_LEVELS = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Information:
    """What one canary request tells about a regression, in nats: its mean and its variance."""

    mean: float
    variance: float

    def requests(self, alpha: float, sure: float = SURE) -> float:
        """Canary requests after which it is found with probability ``sure``: a first passage of a drifting walk.

        ``n = (B / mu) exp(z S - S^2 / 2)`` with ``S^2 = log(1 + v / (B mu))``, ``B = log(1 / alpha) + 1.5``.
        """
        if self.mean <= 0:
            return inf
        bound = log(1 / alpha) + _SLACK
        square = log(1 + self.variance / (bound * self.mean))
        return bound / self.mean * exp(NormalDist().inv_cdf(sure) * sqrt(square) - square / 2)


def of_rate(rate: float, share: float, ratio: float) -> Information:
    """Of events that are ``ratio`` times as frequent as ``rate``, at a ``share`` of the traffic (0..1)."""
    if not (0 < share < 1 and rate > 0 and ratio > 1):
        return Information(0.0, 0.0)
    mine = share * ratio / (share * ratio + 1 - share)
    won, lost = log(mine / share), log((1 - mine) / (1 - share))
    events = rate * (share * ratio + 1 - share) / share
    return Information(
        events * (mine * won + (1 - mine) * lost), events * (mine * won**2 + (1 - mine) * lost**2)
    )  # fmt: skip


def information(gate: Gate, traffic: Traffic, share: float, size: float) -> Information:
    """What one canary request tells of a build that is ``size`` times as bad in what ``gate`` counts."""
    metric = gate.metric
    if metric.kind is Kind.RATE:
        rate = sum(traffic.outcomes.get(name, 0.0) for name in (metric.events, *metric.also))
        return of_rate(rate, share, size)
    values = traffic.values.get(metric.histogram) or traffic.values.get(traffic.sums.get(metric.events, ("", True))[0])
    if values is None or not isinstance(values.spread, Lognormal):
        return Information(0.0, 0.0)
    if metric.kind is Kind.MEAN:
        relative = (size - 1) ** 2 * (1 - share) / (exp(values.spread.sigma**2) - 1) / 2
        return Information(relative * values.among, 2 * relative * values.among)
    return max((_of_tail(values.spread, level, share, size) for level in _LEVELS), key=lambda one: one.mean)


def _of_tail(spread: Lognormal, level: float, share: float, size: float) -> Information:
    """Of the requests beyond one quantile of the stable build."""
    beyond = 1 - NormalDist().cdf((log(quantile(spread, level)) - log(spread.median * size)) / spread.sigma)
    return of_rate(1 - level, share, beyond / (1 - level))


@dataclass(frozen=True, slots=True)
class First:
    """A first stage, and what the closed form expects of it."""

    share: float
    requests: int
    seconds: float

    def plan(self, plan: Plan) -> Plan:
        """``plan`` with this stage first, and those of its own after it that are larger."""
        own = plan.stages[0]
        deadline = None if own.deadline_seconds is None else max(own.deadline_seconds, 3 * self.seconds)
        first = replace(own, weight=self.share, hold_seconds=self.seconds, min_requests=self.requests)
        later = [stage for stage in plan.stages if stage.weight > self.share]
        stages: Sequence[Stage] = [replace(first, deadline_seconds=deadline), *later]
        return replace(plan, stages=tuple(replace(stage, index=index) for index, stage in enumerate(stages)))

    def __str__(self) -> str:
        return f"{{weight: {100 * self.share:g}, hold: {self.seconds:.0f}s, min_requests: {self.requests}}}"


def candidates(gate: Gate, traffic: Traffic, size: float, within: float) -> Iterator[First]:
    """First stages that find it within ``within`` seconds, the fewest users first."""
    for share in SHARES:
        needed = information(gate, traffic, share, size).requests(gate.alpha)
        seconds = needed / (traffic.rate * share)
        if seconds <= within:
            yield First(share, ceil(needed), ceil(seconds))


def traffic_needed(gate: Gate, traffic: Traffic, size: float, within: float) -> float:
    """Requests per second at which half of them are enough to find it in time."""
    return information(gate, traffic, 0.5, size).requests(gate.alpha) / (0.5 * within)


def never(gate: Gate, traffic: Traffic, size: float, within: float) -> str:
    """What to say where no share of the traffic is enough."""
    needed = traffic_needed(gate, traffic, size, within)
    if needed == inf:
        return f"nothing is known in advance of {gate.name}; try sizes with `--gate {gate.name}`"
    at_half = information(gate, traffic, 0.5, size).requests(gate.alpha)
    minutes = at_half / (0.5 * traffic.rate) / 60
    return (
        f"no share of {traffic.rate:g} requests/s finds it in {within / 60:g} min: half of the traffic takes "
        f"{minutes:,.0f} min ({number(at_half)} canary requests); it would take about {needed:,.0f} requests/s"
    )
