"""What is known of a rate from its counts: posterior odds, an upper bound, and bounds valid at every look."""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma, log, pi

import numpy as np

from pytest_canary.stats.grid import Array

_POINTS = 401


def _posterior(requests: float, events: float) -> tuple[Array, Array]:
    """Points of a rate and the mass at or below each, under Beta(.5, .5) and the counts.

    On the scale arcsin(sqrt(rate)) that prior is flat and the posterior about normal with deviation 1/(2 sqrt n), so
    few points do at any number of requests.
    """
    events = min(max(events, 0.0), requests)
    centre = np.arcsin(np.sqrt(events / requests)) if requests else np.pi / 4
    reach = 5.0 / np.sqrt(requests + 1.0)
    angle = np.linspace(max(centre - reach, 1e-9), min(centre + reach, np.pi / 2 - 1e-9), _POINTS)
    log_density = 2 * events * np.log(np.sin(angle)) + 2 * (requests - events) * np.log(np.cos(angle))
    density = np.exp(log_density - log_density.max())
    below = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2))
    return np.sin(angle) ** 2, below / below[-1]


def odds_above(requests: float, events: float, limit: float) -> float:
    """P(rate > limit | counts)."""
    rates, below = _posterior(requests, events)
    return float(1.0 - np.interp(limit, rates, below, left=0.0, right=1.0))


def odds_above_each(requests: Array, events: Array, limits: Array) -> Array:
    """:func:`odds_above` of many counts and limits at once, each with requests; one entry each."""
    n = requests[:, None]
    k = np.minimum(np.maximum(events, 0.0), requests)[:, None]
    centre, reach = np.arcsin(np.sqrt(k / n)), 5.0 / np.sqrt(n + 1.0)
    low, high = np.maximum(centre - reach, 1e-9), np.minimum(centre + reach, np.pi / 2 - 1e-9)
    angle = low + (high - low) * np.linspace(0.0, 1.0, _POINTS)
    log_density = 2 * k * np.log(np.sin(angle)) + 2 * (n - k) * np.log(np.cos(angle))
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    below = np.cumsum((density[:, 1:] + density[:, :-1]) / 2, axis=1)
    below = np.concatenate([np.zeros_like(n), below], axis=1) / below[:, -1:]
    rates, rows = np.sin(angle) ** 2, np.arange(len(requests))
    at = np.clip((rates < limits[:, None]).sum(axis=1), 1, _POINTS - 1)
    left, right = rates[rows, at - 1], rates[rows, at]
    share = np.clip((limits - left) / np.maximum(right - left, 1e-300), 0.0, 1.0)
    return np.asarray(1.0 - (below[rows, at - 1] + share * (below[rows, at] - below[rows, at - 1])))


def odds_of_difference(canary: tuple[float, float], baseline: tuple[float, float], delta: float) -> float:
    """P(canary rate - baseline rate > delta | counts), each side given as (requests, events)."""
    rates, below = _posterior(*canary)
    base_rates, base_below = _posterior(*baseline)
    middle = (rates[1:] + rates[:-1]) / 2
    return float(np.diff(below) @ np.interp(middle - delta, base_rates, base_below, left=0.0, right=1.0))


def upper_bound(requests: float, events: float, level: float = 0.995) -> float:
    """The rate that the true one lies below with probability ``level``, given the counts."""
    rates, below = _posterior(requests, events)
    return float(np.interp(level, below, rates))


def bounds(requests: float, events: float, alpha: float) -> tuple[float, float]:
    """Lowest and highest rate that no look has ruled out; valid at every look, together at level ``alpha``.

    A rate goes out when the Beta(.5, .5) mixture beats it by 1/alpha (Ville).
    """
    if not requests:
        return 0.0, 1.0
    events = min(max(events, 0.0), requests)
    misses = requests - events
    mixture = lgamma(events + 0.5) + lgamma(misses + 0.5) - lgamma(requests + 1.0) - log(pi)

    def ruled_out(rate: float) -> bool:
        return mixture - events * log(rate) - misses * log(1.0 - rate) > log(1.0 / alpha)

    middle = min(max(events / requests, 1e-12), 1 - 1e-12)
    return _edge(ruled_out, middle, 1e-12), _edge(ruled_out, middle, 1 - 1e-12)


def _edge(ruled_out: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where, on the way from ``inside`` to ``outside``, rates begin to be ruled out."""
    if not ruled_out(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if ruled_out(middle) else (middle, outside)
    return inside
