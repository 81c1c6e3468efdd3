"""Who plays the canary, and when: random replicas from a random moment on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pytest_canary.errors import UsageError
from pytest_canary.plan import Plan
from pytest_canary.play.history import History

PRESENT = 0.8
"""A replica that had requests in so many of the steps takes part."""


@dataclass(frozen=True, slots=True)
class Part:
    """One stage of the plan as it is played: so many steps, with so many replicas as the canary."""

    index: int
    steps: int
    canaries: int
    weight: float


@dataclass(frozen=True, slots=True)
class Cast:
    """Which replicas stand for whom in every play.

    ``starts`` has shape (plays,), the step at which each begins, first of all with ``before`` steps of the baseline
    alone; ``orders`` shape (plays, replicas): at each stage the first so many of them are the canary.
    """

    parts: tuple[Part, ...]
    before: int
    starts: NDArray[np.intp]
    orders: NDArray[np.intp]
    step_seconds: float = 5.0

    @property
    def plays(self) -> int:
        """How many plays there are."""
        return len(self.starts)

    def first(self, plays: int) -> Cast:
        """The first so many plays."""
        return replace(self, starts=self.starts[:plays], orders=self.orders[:plays])

    @property
    def steps(self) -> int:
        """How long one play is."""
        return self.before + sum(part.steps for part in self.parts)

    @property
    def replicas(self) -> int:
        """How many replicas take part in a play."""
        return int(self.orders.shape[1])


def parts_of(plan: Plan, history: History, replicas: int) -> tuple[Part, ...]:
    """The stages that compare, each with as many replicas as carry the share of its weight.

    A stage of all the traffic leaves nobody to compare with, so it is not played unless some is held back.
    """
    parts = []
    for stage in plan.stages:
        weight = min(stage.weight, 1 - plan.holdback)
        if weight >= 1:
            continue
        canaries = min(max(round(weight * replicas), 1), replicas - 1)
        steps = max(ceil(stage.hold_seconds / history.step_seconds - 1e-9), 1)
        parts.append(Part(stage.index, steps, canaries, weight))
    return tuple(parts)


def cast(plan: Plan, history: History, plays: int, rng: np.random.Generator) -> Cast:
    """Draw ``plays`` random starts and orders of replicas for the stages of ``plan``.

    Raises:
        UsageError: there are fewer than two replicas, or the history is shorter than one rollout.

    """
    if history.replicas < 2:
        found = f"{history.replicas} replica{'' if history.replicas == 1 else 's'} of the stable build"
        raise UsageError(
            f"found {found}, expected at least 2: one plays the canary, the others the baseline; record a source that "
            "counts by replica (prometheus or scrape), or give the stable build more replicas"
        )
    before = ceil(plan.baseline_seconds / history.step_seconds - 1e-9)
    length = before + sum(part.steps for part in parts_of(plan, history, history.replicas))
    starts = history.starts(length)
    if not starts.size:
        raise UsageError(
            f"found {_minutes(history.seconds)} without a gap long enough, expected at least "
            f"{_minutes(length * history.step_seconds)}, which one rollout of this plan takes; record longer"
        )
    return _drawn(plan, history, before, starts, plays, rng)


def _drawn(
    plan: Plan, history: History, before: int, starts: NDArray[np.intp], plays: int, rng: np.random.Generator
) -> Cast:
    length = before + sum(part.steps for part in parts_of(plan, history, history.replicas))
    there = np.vstack([np.zeros((1, history.replicas)), np.cumsum(history.requests > 0, axis=0)])
    present = (there[starts + length] - there[starts]) >= PRESENT * length
    together = present.sum(axis=1)
    replicas = int(np.quantile(together, 0.25))
    fitting = np.flatnonzero(together >= max(replicas, 2))
    if replicas < 2 or not fitting.size:
        raise UsageError(
            f"found {int(together.max())} replicas with requests at one time, expected at least 2: one plays the "
            "canary, the others the baseline; record while more of them have traffic"
        )
    chosen = rng.choice(fitting, plays)
    # Those that are there come first, in random order; the rest is cut off.
    rank = rng.random((plays, history.replicas)) + np.where(present[chosen], 0.0, 2.0)
    orders = np.argsort(rank, axis=1)[:, :replicas]
    return Cast(parts_of(plan, history, replicas), before, starts[chosen], orders, history.step_seconds)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def fewest(parts: Sequence[Part]) -> int:
    """How many replicas the canary has at the first stage."""
    return parts[0].canaries if parts else 1
