"""When the next request is due: fixed before the first one leaves, whatever the answers do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random


def schedule(rate: float, arrivals: str, seed: int, choices: int) -> Iterator[tuple[float, int]]:
    """Yield for ever (seconds after the start, which of ``choices`` prompts), ``rate`` per second on average.

    ``arrivals`` is ``poisson`` (independent users) or ``constant`` (evenly spaced).
    """
    draw, due = Random(seed), 0.0
    for number in count(1):
        due = number / rate if arrivals == "constant" else due + draw.expovariate(rate)
        yield due, draw.randrange(choices)
