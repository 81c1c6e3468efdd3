"""Batches of rollouts drawn from a seed: requests, errors, latencies and tokens in worlds of different kinds."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, log, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lab.series import Errors, Floats, Ints, Latency, Means

POLL_SECONDS = 5.0
SHARES = (0.05, 0.25, 0.50)
REPLICAS = 20
CANARIES = (1, 5, 10)
"""Replicas of the canary at each stage, so that every replica has the same traffic."""
CAPTURED_SECONDS = 600.0
"""Baseline alone before the ramp; rules that look at a window before the ramp see it."""

Kind = Literal["iid", "clump3", "clump10", "burst20", "burst5", "outage", "pods"]
KINDS: dict[Kind, str] = {
    "iid": "every request for itself",
    "clump3": "errors in clumps of 3 on average, such as retries",
    "clump10": "errors in clumps of 10 on average",
    "burst20": "each replica has 30 times the errors for 20 s, every 20 minutes",
    "burst5": "the same every 5 minutes",
    "outage": "both sides have 10 times the errors for a minute, every 10 minutes",
    "pods": "replicas differ for good, by 30 %",
}
Shape = Literal["lognormal", "pareto", "tail"]

BOUNDS: Floats = 0.05 * 1.2 ** (np.arange(84) / 2)
"""Latency boundaries in seconds, two to a factor of 1.2, up to 97 s."""


@dataclass(frozen=True)
class Timeline:
    """The stage of each poll, and the shares that belong to it."""

    stage: Ints

    @classmethod
    def at(cls, rate: float, seconds: float | None = None) -> Timeline:
        """``seconds`` a stage: five minutes, ten where five would not bring the canary 500 requests."""
        seconds = seconds or (300.0 if rate >= 100 else 600.0)
        return cls(np.repeat(np.arange(len(SHARES)), int(seconds / POLL_SECONDS)))

    @property
    def shares(self) -> Floats:
        """Share of the canary, per poll."""
        return np.asarray(SHARES)[self.stage]

    @property
    def canaries(self) -> Ints:
        """Replicas of the canary, per poll."""
        return np.asarray(CANARIES)[self.stage]


def errors(
    rollouts: int,
    rate: float,
    base: float,
    canary: float,
    kind: Kind,
    rng: np.random.Generator,
    stage_seconds: float | None = None,
) -> Errors:
    """Requests and errors; ``base`` and ``canary`` are rates of errors, 0..1, ``rate`` requests per second."""
    timeline = Timeline.at(rate, stage_seconds)
    before = int(CAPTURED_SECONDS / POLL_SECONDS)
    polls = before + timeline.stage.size
    requests = rng.poisson(rate * POLL_SECONDS / REPLICAS, (rollouts, polls, REPLICAS))
    mine = np.zeros((polls, REPLICAS), dtype=bool)
    mine[before:] = np.arange(REPLICAS) < timeline.canaries[:, None]
    chance = np.where(mine, canary, base) * trouble(kind, (rollouts, polls, REPLICAS), rng)
    failed = failures(requests, np.minimum(chance, 0.97), kind, rng)
    now, then = slice(before, polls), slice(0, before)
    side = mine[now]
    return Errors(
        POLL_SECONDS,
        timeline.stage,
        _sum(requests[:, now], side),
        _sum(failed[:, now], side),
        _sum(requests[:, now], ~side),
        _sum(failed[:, now], ~side),
        requests[:, now].astype(np.float64),
        failed[:, now].astype(np.float64),
        timeline.canaries,
        requests[:, then].sum(axis=2).astype(np.float64),
        failed[:, then].sum(axis=2).astype(np.float64),
    )


def _sum(counts: NDArray[np.int64], side: NDArray[np.bool_]) -> Floats:
    return np.where(side, counts, 0).sum(axis=2).astype(np.float64)


def failures(requests: NDArray[np.int64], chance: Floats, kind: Kind, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many of the requests fail, each with its chance."""
    if not kind.startswith("clump"):
        return rng.binomial(requests, chance)
    mean = float(kind.removeprefix("clump"))
    clumps = rng.poisson(requests * chance / mean)
    more = rng.negative_binomial(np.maximum(clumps, 1), 1 / mean)  # what the clumps hold beyond their first
    return np.minimum(np.where(clumps > 0, clumps + more, 0), requests)


def trouble(kind: Kind, shape: tuple[int, int, int], rng: np.random.Generator) -> Floats:
    """By what the chance of an error is multiplied, per rollout, poll and replica."""
    rollouts, polls, replicas = shape
    if kind == "pods":
        return np.broadcast_to(np.exp(rng.normal(0, 0.3, (rollouts, 1, replicas))), shape)
    if kind == "outage":
        return np.where(_spells(rollouts, polls, 1, 600.0, 60.0, rng), 10.0, 1.0)
    if kind.startswith("burst"):
        every = 60.0 * float(kind.removeprefix("burst"))
        return np.where(_spells(rollouts, polls, replicas, every, 20.0, rng), 30.0, 1.0)
    return np.ones((1, 1, 1))


def _spells(
    rollouts: int, polls: int, columns: int, every: float, length: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether a spell of ``length`` seconds is on; they begin at random, ``every`` so many seconds on average."""
    lasts = int(length / POLL_SECONDS)
    begins = rng.random((rollouts, polls + lasts, columns)) < POLL_SECONDS / every
    on = np.zeros((rollouts, polls, columns), dtype=bool)
    for back in range(lasts):
        on |= begins[:, lasts - back : lasts - back + polls]
    return on


def latency(rollouts: int, rate: float, times: float, shape: Shape, rng: np.random.Generator) -> Latency:
    """Latencies whose canary is ``times`` as slow; in the shape ``tail`` only 3 % of the requests are."""
    timeline = Timeline.at(rate)
    base, slow = _shares(shape, 1.0), _shares(shape, times)
    mine = rng.poisson(rate * POLL_SECONDS * timeline.shares, (rollouts, timeline.stage.size))
    theirs = rng.poisson(rate * POLL_SECONDS * (1 - timeline.shares), (rollouts, timeline.stage.size))
    before = rng.poisson(rate * POLL_SECONDS, (rollouts, int(CAPTURED_SECONDS / POLL_SECONDS)))
    counted = [rng.multinomial(n, p).astype(np.float64) for n, p in ((mine, slow), (theirs, base), (before, base))]
    return Latency(POLL_SECONDS, timeline.stage, BOUNDS, counted[0], counted[1], counted[2])


def _shares(shape: Shape, times: float) -> Floats:
    """Share of each bucket; the median is 1 s, and the p99 10.2 s where it is lognormal."""
    if shape == "tail":
        usual, slow = np.diff([0.0, *_below("lognormal", 1.0), 1.0]), np.diff([0.0, *_below("slow", times), 1.0])
        return np.asarray(0.97 * usual + 0.03 * slow)
    return np.diff([0.0, *_below(shape, times), 1.0])


def _below(shape: str, times: float) -> list[float]:
    scaled = BOUNDS / times
    if shape == "pareto":  # lognormal up to its p90, a power law with exponent 1.5 beyond
        knee = exp(1.2816)
        return [_normal(log(x)) if x <= knee else 1 - 0.1 * (knee / x) ** 1.5 for x in scaled]
    if shape == "slow":
        return [_normal((log(x) - log(8.0)) / 0.5) for x in scaled]
    return [_normal(log(x)) for x in scaled]


def _normal(z: float) -> float:
    return 0.5 * (1 + erf(z / sqrt(2)))


def means(rollouts: int, rate: float, times: float, cv: float, rng: np.random.Generator) -> Means:
    """Tokens per answer, lognormal around 400 with this coefficient of variation; the canary's ``times`` as many."""
    timeline = Timeline.at(rate)
    mine = rng.poisson(rate * POLL_SECONDS * timeline.shares, (rollouts, timeline.stage.size))
    theirs = rng.poisson(rate * POLL_SECONDS * (1 - timeline.shares), (rollouts, timeline.stage.size))
    return Means(POLL_SECONDS, timeline.stage, _moments(mine, 400.0 * times, cv, rng), _moments(theirs, 400.0, cv, rng))


def _moments(
    numbers: NDArray[np.int64], mean: float, cv: float, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    sigma = sqrt(log(1 + cv * cv))
    values = np.exp(rng.normal(log(mean) - sigma**2 / 2, sigma, int(numbers.sum())))
    cells = np.repeat(np.arange(numbers.size), numbers.ravel())
    total = np.bincount(cells, values, numbers.size).reshape(numbers.shape)
    squares = np.bincount(cells, values**2, numbers.size).reshape(numbers.shape)
    return numbers.astype(np.float64), total, squares
