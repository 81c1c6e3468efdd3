"""What one canary request tells about a regression, and how soon that is enough: the closed form of the planner."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt
from statistics import NormalDist

from pytest_canary.gates import Gate, Kind
from pytest_canary.simulation.spread import quantile
from pytest_canary.simulation.traffic import Lognormal, Traffic

SURE = 0.9
_SLACK = 1.5
"""Nats that the second condition and the mixture over sizes cost."""
_LEVELS = (0.5, 0.9, 0.95, 0.99)
_NORMAL = NormalDist()


def bound_of(alpha: float) -> float:
    """What a walk has to pass so that a gate with this part of the budget convicts, in nats."""
    return log(1 / alpha) + _SLACK


@dataclass(frozen=True, slots=True)
class Information:
    """What one canary request tells about a regression, in nats: its mean and its variance."""

    mean: float
    variance: float

    def __add__(self, other: Information) -> Information:
        """Of both together."""
        return Information(self.mean + other.mean, self.variance + other.variance)

    def __mul__(self, many: float) -> Information:
        """Of so many requests."""
        return Information(self.mean * many, self.variance * many)

    def found(self, alpha: float) -> float:
        """How probably it has been found by now: the walk has passed the bound.

        ``P = Phi((M - B) / sqrt V) + exp(2 M B / V) Phi(-(M + B) / sqrt V)``.
        """
        if self.mean <= 0 or self.variance <= 0:
            return 0.0
        bound, deviation = bound_of(alpha), sqrt(self.variance)
        direct = _NORMAL.cdf((self.mean - bound) / deviation)
        tail = _NORMAL.cdf(-(self.mean + bound) / deviation)
        # The second term is a product of a huge and a tiny number; where the tiny one is none, so is it.
        return min(direct + (exp(log(tail) + 2 * self.mean * bound / self.variance) if tail > 0 else 0.0), 1.0)

    def requests(self, alpha: float, sure: float = SURE) -> float:
        """Canary requests after which it is found with probability ``sure``: a first passage of a drifting walk.

        ``n = (B / mu) exp(z S - S^2 / 2)`` with ``S^2 = log(1 + v / (B mu))``, ``B = log(1 / alpha) + 1.5``.
        """
        if self.mean <= 0:
            return inf
        bound = bound_of(alpha)
        square = log(1 + self.variance / (bound * self.mean))
        return bound / self.mean * exp(_NORMAL.inv_cdf(sure) * sqrt(square) - square / 2)


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
    beyond = 1 - _NORMAL.cdf((log(quantile(spread, level)) - log(spread.median * size)) / spread.sigma)
    return of_rate(1 - level, share, beyond / (1 - level))
