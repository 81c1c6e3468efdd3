"""How many requests a proof takes."""

from __future__ import annotations

from math import inf, log

_SLACK = 1.5
"""Nats that mixing over alternatives costs."""


def divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of a coin with chance ``p`` from one with chance ``q``, in nats."""
    heads = p * log(p / q) if p > 0 else 0.0
    tails = (1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0
    return max(heads + tails, 0.0)


def requests_to_prove_ratio(share: float, rate: float, margin: float, beta: float, true: float = 1.0) -> float:
    """Canary requests that prove "ratio < margin" at level beta when it is ``true`` (Wald).

    ``share`` of the traffic goes to the canary, ``rate`` is the baseline's; infinite where nothing can be learnt.
    """

    def canary_share(ratio: float) -> float:
        return ratio * share / (ratio * share + 1 - share)

    if not (0 < share < 1 and rate > 0):
        return inf
    events = rate * (true * share + 1 - share) / share
    gain = events * divergence(canary_share(true), canary_share(margin))
    return (log(1 / beta) + _SLACK) / gain if gain > 0 and true < margin else inf


def requests_to_prove_limit(rate: float, limit: float, beta: float) -> float:
    """Requests that prove "rate < limit" at level beta when it is ``rate``; infinite when it is not below."""
    gain = divergence(rate, limit) if 0 <= rate < limit < 1 else 0.0
    return (log(1 / beta) + _SLACK) / gain if gain > 0 else inf
