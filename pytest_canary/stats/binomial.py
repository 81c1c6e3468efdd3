"""How far a share that was counted may be from the true one (Clopper and Pearson 1934)."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma, log


def share_interval(events: int, number: int, level: float = 0.95) -> tuple[float, float]:
    """Lowest and highest true share for which ``events`` of ``number`` are not beyond chance, each side half of it."""
    tail = (1 - level) / 2
    low = 0.0 if events == 0 else _where(lambda p: 1 - _at_most(events - 1, number, p) >= tail)
    high = 1.0 if events >= number else _where(lambda p: _at_most(events, number, p) <= tail)
    return low, high


def _at_most(events: int, number: int, share: float) -> float:
    """P(no more than ``events`` of ``number``)."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return float(events >= number)
    ways = (lgamma(number + 1) - lgamma(k + 1) - lgamma(number - k + 1) for k in range(events + 1))
    return sum(exp(way + k * log(share) + (number - k) * log(1 - share)) for k, way in enumerate(ways))


def _where(reached: Callable[[float], bool]) -> float:
    """The least share at which ``reached`` is true."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
