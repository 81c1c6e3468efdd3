"""In what requests depend on each other: bad spells of pods and of everybody, pods that differ, errors in clumps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_canary.simulation.layout import OUTCOMES, Layout
from pytest_canary.simulation.spells import Trouble
from pytest_canary.simulation.traffic import Spells, Traffic

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Slower = Callable[[float], Floats]
"""How many times as slow -> the chances of everybody who is."""
ROLES = 3
"""How many roles a draw has rows for."""
MOST_FAILED = 0.97
"""However bad a spell of trouble is, some requests are answered."""


class Unrest:
    """The dependence of a batch, each rollout by its own stream of chance."""

    def __init__(self, traffic: Traffic, layout: Layout, rngs: Sequence[np.random.Generator]) -> None:
        self._traffic, self._layout = traffic, layout
        told, pods = traffic.dependence, traffic.pods
        self._bursts = _troubles(told.bursts, ROLES * pods, rngs)
        self._outages = _troubles(told.outages, 1, rngs)
        self._effects = (
            [np.exp(told.pods_sd * rng.standard_normal((ROLES, pods))) for rng in rngs] if told.pods_sd else []
        )
        self._quiet = not (self._bursts or self._outages or self._effects)

    def troubled(self, k: int, seconds: float, chances: Floats, slower: Slower) -> Floats:
        """``chances`` [roles, rows, width] of one poll of rollout ``k``, with the trouble that pods have in it."""
        if self._quiet:
            return chances
        traffic = self._traffic
        told = traffic.dependence
        errors = np.ones((ROLES, traffic.pods))
        slow = list[tuple[float, Floats]]()
        if self._effects:
            errors = errors * self._effects[k]
        for spells, troubles, columns in (
            (told.bursts, self._bursts, (ROLES, traffic.pods)), (told.outages, self._outages, (1, 1)),
        ):  # fmt: skip
            if spells is not None:
                on = troubles[k].share(seconds).reshape(columns)
                errors = errors * (1.0 + (spells.errors_x - 1.0) * on)
                if spells.latency_x != 1.0 and on.any():
                    slow.append((spells.latency_x, np.broadcast_to(on, errors.shape)))
        table = chances.copy()
        start, pods = self._layout.starts[OUTCOMES], traffic.pods
        block = table[:, start : start + pods]
        failed = block[:, :, self._layout.failed]
        now = np.where(failed >= MOST_FAILED, failed, np.minimum(failed * errors, MOST_FAILED))
        left = np.divide(1.0 - now, 1.0 - failed, out=np.ones_like(now), where=failed < 1.0)
        block *= left[:, :, None]
        block[:, :, self._layout.failed] = now
        for factor, on in slow:
            self._slow_down(table, slower(factor), on)
        return table

    def _slow_down(self, table: Floats, slow: Floats, on: Floats) -> None:
        """Latencies of pods in trouble: those of the poll are a mixture of both."""
        for one in self._layout.families:
            if one.name != "latency":
                continue
            start = self._layout.starts[one.name]
            if one.apart:
                rows, weight = slice(start, start + self._layout.pods), on[:, :, None]
            else:
                rows, weight = slice(start, start + 1), on.mean(axis=1)[:, None, None]
            table[:, rows] = (1.0 - weight) * table[:, rows] + weight * slow[:, rows]

    def clump(self, counted: Whole, rng: np.random.Generator) -> None:
        """Errors come several at a time: what was drawn are the clumps, thinned by how many each holds."""
        mean = self._traffic.dependence.clumps
        if mean <= 1:
            return
        start, pods, column = self._layout.starts[OUTCOMES], self._layout.pods, self._layout.failed
        block = counted[:, start : start + pods]
        errors = block[:, :, column]
        clumps = rng.binomial(errors, 1.0 / mean)
        more = rng.negative_binomial(np.maximum(clumps, 1), 1.0 / mean)
        fine = block[:, :, -1]
        wanted = np.minimum(np.where(clumps > 0, clumps + more, 0), errors + fine)
        fine += errors - wanted
        errors[:] = wanted


def _troubles(spells: Spells | None, columns: int, rngs: Sequence[np.random.Generator]) -> list[Trouble]:
    return [Trouble(spells, columns, rng) for rng in rngs] if spells is not None else []
