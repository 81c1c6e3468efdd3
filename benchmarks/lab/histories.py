"""Hours of a stable build in worlds of different kinds, and fresh rollouts in the same world: what calibration meets.

The eight worlds are those of ``statistics-2.md`` 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lab import worlds
from lab.series import Floats
from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.plan import Plan, Stage
from pytest_canary.play import Cast, History
from pytest_canary.play.cast import parts_of
from pytest_canary.ports import Change

World = Literal["iid", "clump3", "clump10", "burst20", "burst5", "tenth", "pods", "diurnal"]
WORLDS: dict[World, str] = {
    "iid": "every request for itself",
    "clump3": "errors in clumps of 3 on average, such as retries",
    "clump10": "errors in clumps of 10 on average",
    "burst20": "each replica has 30 times the errors for 20 s, every 20 minutes",
    "burst5": "the same every 5 minutes",
    "tenth": "one replica in ten has 1.5 times the errors, for good",
    "pods": "replicas differ for good, by 30 %",
    "diurnal": "traffic and errors double and halve over four hours",
}
DAY_SECONDS = 4 * 3600.0
SHARES, HOLD_SECONDS, WINDOW_SECONDS = (0.05, 0.25, 0.50, 1.0), 300.0, 600.0


@dataclass(frozen=True)
class Drawn:
    """Stretches of one length one after the other, of a good build and of one that is so many times worse."""

    good: History
    bad: History


def plan(gate: float = 1.5) -> Plan:
    """5, 25, 50 and 100 % of the traffic, five minutes each, after ten minutes of the baseline alone."""
    found = metric("error_rate")
    assert found is not None
    stages = tuple(Stage("r", nth, share, HOLD_SECONDS, 0, 1800.0) for nth, share in enumerate(SHARES))
    gates = (Gate("error_rate", found, Limits(ratio=gate)),)
    return Plan(
        "r", "gateway", "lab", Path(), None, Change(), stages, gates, poll_seconds=worlds.POLL_SECONDS,
        baseline_seconds=WINDOW_SECONDS,
    )  # fmt: skip


def hours(world: World, number: float, rate: float, base: float, rng: np.random.Generator) -> History:
    """One stretch of so many hours: ``rate`` requests per second, of which the share ``base`` fails."""
    return _stretches(world, 1, round(number * 3600 / worlds.POLL_SECONDS), rate, base, (1.0,), rng)[0]


def rollouts(world: World, number: int, rate: float, base: float, times: float, rng: np.random.Generator) -> Drawn:
    """So many stretches, each long enough for a rollout that waits; every one has replicas of its own."""
    steps = round((WINDOW_SECONDS + len(SHARES) * HOLD_SECONDS) / worlds.POLL_SECONDS)
    return Drawn(*_stretches(world, number, steps, rate, base, (1.0, times), rng))


def cast_of(drawn: Drawn, told: Plan, rng: np.random.Generator) -> Cast:
    """Every stretch is one rollout, whose canary is the first replicas of a random order."""
    parts = parts_of(told, drawn.good, worlds.REPLICAS)
    before = round(told.baseline_seconds / drawn.good.step_seconds)
    assert drawn.good.follows is not None
    starts = np.flatnonzero(~drawn.good.follows)
    orders = np.argsort(rng.random((len(starts), worlds.REPLICAS)), axis=1)
    return Cast(parts, before, starts, orders, drawn.good.step_seconds)


def _stretches(
    world: World, number: int, steps: int, rate: float, base: float, times: tuple[float, ...], rng: np.random.Generator
) -> list[History]:
    """The same traffic and trouble for each of ``times``, by which errors are more frequent."""
    shape = (number, steps, worlds.REPLICAS)
    day = _day(shape, rng) if world == "diurnal" else np.ones((1, 1, 1))
    requests = rng.poisson(np.broadcast_to(rate * worlds.POLL_SECONDS / worlds.REPLICAS * day, shape))
    trouble = _uneven(shape, rng) if world == "tenth" else day
    kind: worlds.Kind = "iid" if world in ("tenth", "diurnal") else world  # type: ignore[assignment]
    trouble = trouble * worlds.trouble(kind, shape, rng)
    found = []
    for one in times:
        failed = worlds.failures(requests, np.minimum(base * one * trouble * np.ones(shape), 0.97), kind, rng)
        follows = np.tile(np.arange(steps) > 0, number)
        flat = [counts.reshape(-1, worlds.REPLICAS).astype(np.float64) for counts in (requests, failed)]
        found.append(History(worlds.POLL_SECONDS, {"requests": flat[0], "errors": flat[1]}, follows=follows))
    return found


def _day(shape: tuple[int, int, int], rng: np.random.Generator) -> Floats:
    began = rng.random((shape[0], 1, 1)) * DAY_SECONDS
    at = began + np.arange(shape[1])[:, None] * worlds.POLL_SECONDS
    return np.asarray(2 ** (0.5 * np.sin(2 * np.pi * at / DAY_SECONDS)))


def _uneven(shape: tuple[int, int, int], rng: np.random.Generator) -> Floats:
    return np.asarray(np.where(rng.random((shape[0], 1, shape[2])) < 0.1, 1.5, 1.0))
