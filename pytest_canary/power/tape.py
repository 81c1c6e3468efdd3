"""The traffic of a batch as frames: what every role has counted so far, drawn whenever somebody looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pytest_canary.ports import Role
from pytest_canary.power.prelude import Prelude
from pytest_canary.simulation.draws import Draws, Part
from pytest_canary.simulation.layout import Counts
from pytest_canary.simulation.scene import Scene
from pytest_canary.verdict.frame import Array, Flags, Frame, Index, Layout

ROLES = (Role.BASELINE, Role.CONTROL, Role.CANARY)


class Tape:
    """Of ``len(seeds)`` rollouts of one scene; each has a clock of its own, as if it were alone."""

    def __init__(self, scene: Scene, seeds: Sequence[int], prelude: Prelude, control: bool) -> None:
        self._draws, self.size = Draws(scene, seeds), len(seeds)
        self._roles = [role for role in ROLES if control or role is not Role.CONTROL]
        self.now, self._until = np.zeros(self.size), np.zeros(self.size)
        self._layouts: dict[tuple[str, ...], Layout] = {}
        everybody = np.ones(self.size, dtype=bool)
        self._counted = self._frames(self._draws.advance(0.0, self._parts({})))
        for span in prelude.spans:
            self._draw(np.full(self.size, span.seconds), dict(span.shares), everybody)
        self.now[:], self._until[:] = prelude.now, prelude.until

    def _parts(self, shares: Mapping[Role, float]) -> Mapping[Role, Part]:
        return {
            role: Part(shares.get(role, 0.0), changed=role is Role.CANARY, young=role is not Role.BASELINE)
            for role in self._roles
        }

    def sleep(self, seconds: Array, where: Flags) -> None:
        """Let time pass ``where`` rollouts still go on."""
        self.now = np.where(where, self.now + seconds, self.now)

    def poll(self, shares: Mapping[Role, float], where: Flags) -> None:
        """Count until now ``where`` rollouts still go on, at the ``shares`` that roles had since the last time."""
        seconds = np.where(where, self.now - self._until, 0.0)
        self._until = np.where(where, self.now, self._until)
        if (seconds > 0).any():
            self._draw(seconds, shares, where & (seconds > 0))

    def _draw(self, seconds: Array, shares: Mapping[Role, float], where: Flags) -> None:
        drawn = self._frames(self._draws.advance(seconds, self._parts(shares), where))
        self._counted = {role: _counted_on(self._counted[role], new, where) for role, new in drawn.items()}

    def counted(self, roles: Sequence[Role], rows: Index) -> dict[Role, Frame]:
        """What these roles have counted in these rollouts, and that it is true now."""
        at = self.now[rows]
        return {role: replace(self._counted[role].keep(rows), at=at) for role in roles}

    def users(self, role: Role) -> Array:
        """Requests of users that ``role`` has answered so far."""
        return self._counted[role].of_users

    def _frames(self, told: Mapping[Role, Counts]) -> dict[Role, Frame]:
        return {role: self._frame(counts, f"{role}-") for role, counts in told.items()}

    def _frame(self, counts: Counts, named: str = "") -> Frame:
        names = (*counts.counters, *counts.histograms, *counts.gauges)
        if names not in self._layouts:
            histograms = tuple((name, one.bounds, len(one.bounds) + 1) for name, one in counts.histograms.items())
            self._layouts[names] = Layout(tuple(counts.counters), histograms, tuple(counts.gauges))
        replicas = {f"{named}{number}": self._frame(pod) for number, pod in enumerate(counts.pods)}
        parts = {name: replace(pod, there=pod.counter("requests") > 0) for name, pod in replicas.items()}
        return Frame(self.now, self._layouts[names], counts.table, parts)


def _counted_on(before: Frame, new: Frame, where: Flags) -> Frame:
    """Both times together; gauges stay as they are where no time has passed."""
    after = before + new
    gauges = len(after.layout.gauges)
    if gauges and not where.all():
        after.values[~where, -gauges:] = before.values[~where, -gauges:]
    seen = {name: replace(pod, there=pod.counter("requests") > 0) for name, pod in after.replicas.items()}
    return replace(after, replicas=seen) if seen else after
