"""How long the demo gateway takes: lognormal times, as served models have, slept and not computed."""

from __future__ import annotations

from math import log
from random import Random

SHORT_MEDIAN, SHORT_SIGMA = 0.040, 0.57
"""Seconds; the 99th percentile of a short answer is 150 ms."""
FIRST_TOKEN_MEDIAN, FIRST_TOKEN_SIGMA = 0.050, 0.40
STREAM_SECONDS = (0.3, 1.5)


class Timing:
    """Draws times; ``slowness`` stretches them."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = Random(seed)

    def chance(self, ratio: float) -> bool:
        """Return True in a share ``ratio`` of the calls."""
        return self._random.random() < ratio

    def short(self, slowness: float) -> float:
        """Seconds until a short answer is complete."""
        return slowness * self._random.lognormvariate(log(SHORT_MEDIAN), SHORT_SIGMA)

    def stream(self, chunks: int, first_slowness: float, slowness: float) -> tuple[float, float]:
        """Seconds until the first of ``chunks`` tokens, and between one and the next."""
        first = self._random.lognormvariate(log(FIRST_TOKEN_MEDIAN), FIRST_TOKEN_SIGMA)
        whole = self._random.uniform(*STREAM_SECONDS)
        return first_slowness * first, slowness * max(whole - first, 0.0) / max(chunks - 1, 1)
