"""A batch of rollouts as they go: rollout k draws the same numbers alone and among a thousand others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from math import ceil, cos, pi

import numpy as np
from numpy.typing import NDArray

from pytest_canary.ports import Role
from pytest_canary.simulation.changed import changed, slowed
from pytest_canary.simulation.injection import COLD_SLOWDOWN
from pytest_canary.simulation.layout import Counts, Layout
from pytest_canary.simulation.scene import Scene
from pytest_canary.simulation.traffic import DAY_SECONDS, Traffic
from pytest_canary.simulation.unrest import Unrest

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
ROLES = (Role.BASELINE, Role.CONTROL, Role.CANARY)
"""The order of the axis of roles."""
LEVELS_OF_COLD = 16
_SILENCE = np.empty((len(ROLES), 0))
Who = tuple[bool, bool]
"""Whether a role's build is changed, and whether its processes are young."""


@dataclass(frozen=True, slots=True)
class Part:
    """Who stands for a role."""

    share: float | Floats
    """Of the traffic, 0..1; one number, or one for each rollout of the batch."""
    changed: bool = False
    """Whether it is the build that is shipped, so that the injections are in it."""
    young: bool = False
    """Whether its processes are new, so that it may be cold."""


@dataclass(slots=True)
class Drawn:
    """What was drawn for a batch of N rollouts, or for one at N times."""

    counts: Whole
    """``[N, roles, rows, width]``, as the layout has it."""
    sums: Floats
    """``[N, roles, rows]``: of the values in a histogram's row."""
    gauges: Floats
    """``[N, roles, gauges]``: of the last poll alone."""

    def add(self, other: Drawn) -> None:
        """Count on, in place; gauges are those of ``other``."""
        self.counts += other.counts
        self.sums += other.sums
        self.gauges = other.gauges

    def copy(self) -> Drawn:
        """One that may be counted on by itself."""
        return Drawn(self.counts.copy(), self.sums.copy(), self.gauges.copy())

    def rows(self, first: int, last: int) -> Drawn:
        """Some of them; what is counted on there is counted on here."""
        return Drawn(self.counts[first:last], self.sums[first:last], self.gauges[first:last])

    def onward(self, before: Drawn) -> Drawn:
        """Where each is what one rollout drew after the other: what it has counted by then, from ``before`` on."""
        counts = before.counts + np.cumsum(self.counts, axis=0)
        # One after the other, as floats are when they are added one by one.
        sums = np.cumsum(np.concatenate([before.sums, self.sums]), axis=0)[1:]
        return Drawn(counts, sums, self.gauges)

    def forget(self, place: int) -> None:
        """Let the role in this place have counted nothing."""
        self.counts[:, place], self.sums[:, place] = 0, 0.0


@dataclass(frozen=True, slots=True)
class _Table:
    """What every role is like, ``[roles, rows, width]``: the chance of each column, and what one there is worth."""

    chances: Floats
    worth: Floats
    levels: Floats
    """``[roles, gauges]``."""


class Draws:
    """The state of ``len(seeds)`` rollouts of one scene; :meth:`advance` lets time pass.

    Every rollout has a stream of chance of its own, ``default_rng(seed)``, which is drawn from in the same order
    whatever the others do: what rollout k counts depends on its seed, its shares and its polls alone.  What no gate
    asks for has another stream, so a test that looks at it changes nothing that a gate sees.
    """

    def __init__(self, scene: Scene, seeds: Sequence[int]) -> None:
        self.scene, self.size = scene, len(seeds)
        self.layout = Layout(scene.traffic, scene.gates, scene.besides)
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        self._besides = [np.random.default_rng([seed, 1]) for seed in seeds] if scene.besides else []
        """Chance of what no gate asks for: whether it is drawn or not changes nothing that one sees."""
        self._aside = [np.random.default_rng([seed, 2]) for seed in seeds] if scene.besides else []
        """The same for the noise of gauges."""
        self._asked_gauges = np.array([name not in scene.besides for name in scene.traffic.gauges], dtype=bool)
        self._heard = int(self._asked_gauges.sum())
        self._now = [0.0] * self.size
        self._pods = np.zeros((self.size, len(ROLES)), dtype=np.int64)
        """How many run for each role: never fewer than before."""
        self._served = np.zeros((self.size, len(ROLES)))
        self._asked = np.zeros(len(ROLES))
        self._tables: dict[tuple[object, ...], _Table] = {}
        self._slow_tables: dict[tuple[object, ...], Floats] = {}
        self._unrest = Unrest(scene.traffic, self.layout, self._rngs)
        self._coldest = max((one.amount for one in scene.injections if one.kind == "cold"), default=0.0)

    def fork(self) -> Draws:
        """Another future that begins as this one would go on."""
        shared = [self.scene, self.layout, self._tables, self._slow_tables, self.scene.traffic]
        return deepcopy(self, {id(one): one for one in shared})

    # -- what is asked -------------------------------------------------------------------------------------------

    def advance(
        self, seconds: float | Floats, parts: Mapping[Role, Part], alive: NDArray[np.bool_] | None = None
    ) -> Mapping[Role, Counts]:
        """Let ``seconds`` pass (one number, or one for each rollout) and return what every role counted meanwhile.

        Rollouts that are not ``alive`` are left where they are, and have counted nothing.
        """
        return self.read(self.draw(seconds, parts, alive), parts)

    def warmed(self, role: Role, answers: float) -> None:
        """Say how many requests the processes of ``role`` have answered that no user sent: they warm it."""
        self._asked[ROLES.index(role)] = answers

    def renew(self, role: Role) -> None:
        """New processes stand for ``role`` now."""
        place = ROLES.index(role)
        self._served[:, place], self._pods[:, place], self._asked[place] = 0.0, 0, 0.0

    def nothing(self, number: int | None = None) -> Drawn:
        """What a batch has counted that no time has passed for, or one rollout at so many times."""
        layout, rows, roles = self.layout, self.size if number is None else number, len(ROLES)
        return Drawn(
            np.zeros((rows, roles, layout.rows, layout.width), dtype=np.int64),
            np.zeros((rows, roles, layout.rows)),
            np.zeros((rows, roles, len(self.scene.traffic.gauges))),
        )

    # -- chance --------------------------------------------------------------------------------------------------

    def draw(
        self, seconds: float | Floats, parts: Mapping[Role, Part], alive: NDArray[np.bool_] | None = None
    ) -> Drawn:
        """What :meth:`advance` reads, as it was drawn."""
        drawn = self.nothing()
        passed = np.broadcast_to(np.asarray(seconds, dtype=np.float64), (self.size,)).tolist()
        shares = np.zeros((self.size, len(ROLES)))
        for role, part in parts.items():
            shares[:, ROLES.index(role)] = part.share
        who, each = _who(parts), shares.tolist()
        for k in range(self.size) if alive is None else np.flatnonzero(alive).tolist():
            if passed[k] > 0:
                self._in_turn(k, passed[k : k + 1], each[k], who, drawn.rows(k, k + 1))
        return drawn

    def in_turn(self, seconds: Sequence[float], parts: Mapping[Role, Part]) -> Drawn:
        """What a batch of one draws when so many seconds pass again and again: a row for each time."""
        drawn = self.nothing(len(seconds))
        share = [float(parts[role].share) if role in parts else 0.0 for role in ROLES]
        self._in_turn(0, seconds, share, _who(parts), drawn)
        return drawn

    def _in_turn(
        self, k: int, seconds: Sequence[float], share: Sequence[float], who: Sequence[Who], drawn: Drawn
    ) -> None:
        """What gates ask for is drawn time by time, all the rest at once: each stream goes on in its own order."""
        turns = [self._turn(k, passed, share, who, row) for passed, row in zip(seconds, drawn.counts, strict=True)]
        asked, traffic, tables = self.layout.asked, self.scene.traffic, [table for _, table, _ in turns]
        if asked < self.layout.rows:
            others = np.stack([number[:, asked:] for number, _, _ in turns])
            chances = _shared([table.chances for table in tables])
            drawn.counts[:, :, asked:] = self._besides[k].multinomial(others, chances[..., asked:, :])
        worth = _shared([table.worth for table in tables])
        np.einsum("trqw,rqw->trq" if worth.ndim == 3 else "trqw,trqw->trq", drawn.counts, worth, out=drawn.sums)
        if traffic.gauges:
            levels, noise = _shared([table.levels for table in tables]), np.stack([one for _, _, one in turns])
            drawn.gauges[:] = levels * (1.0 + traffic.gauge_noise * self._all_noise(k, noise))

    def _turn(
        self, k: int, seconds: float, share: Sequence[float], who: Sequence[Who], counted: Whole
    ) -> tuple[Whole, _Table, Floats]:
        """Draw into ``counted`` what gates ask for; the requests of each row, their chances, and noise of gauges."""
        rng, asked = self._rngs[k], self.layout.asked
        expected = self._rate(self._now[k]) * seconds
        self._now[k] += seconds
        keys = tuple(self._key(k, place, share[place], *who[place]) for place in range(len(ROLES)))
        requests = rng.poisson(self._spread(k, share, expected))
        table = self._table(keys)
        chances = self._unrest.troubled(k, seconds, table.chances, lambda factor: self._slower(keys, factor))
        whole = requests.sum(axis=1, keepdims=True)
        each = requests if self.layout.pods == 1 else np.concatenate([requests, whole], axis=1)
        number = each[:, self.layout.pod_of]
        counted[:, :asked] = rng.multinomial(number[:, :asked], chances[:, :asked])
        self._unrest.clump(counted, rng)
        if self._coldest:
            self._served[k] += whole[:, 0]
        noise = rng.standard_normal((len(ROLES), self._heard)) if self._heard else _SILENCE
        return number, table if chances is table.chances else replace(table, chances=chances), noise

    def _all_noise(self, k: int, asked: Floats) -> Floats:
        """``[times, roles, gauges]``, standard normal; of those that gates ask for it is known."""
        heard = self._asked_gauges
        if heard.all():
            return asked
        noise = np.empty((*asked.shape[:2], heard.size))
        noise[..., heard] = asked
        noise[..., ~heard] = self._aside[k].standard_normal((*asked.shape[:2], heard.size - self._heard))
        return noise

    def _rate(self, at: float) -> float:
        daily = self.scene.traffic.daily
        if daily is None:
            return self.scene.traffic.rate
        away = 2 * pi * (daily.start + at - daily.peak) / DAY_SECONDS
        return self.scene.traffic.rate * (1.0 + daily.swing * cos(away))

    def _spread(self, k: int, shares: Sequence[float], expected: float) -> Floats:
        """Requests to expect at each pod, ``[roles, pods]``."""
        pods = self.scene.traffic.pods
        if pods == 1:
            return np.array([[expected * share] for share in shares])
        table = np.zeros((len(ROLES), pods))
        for place, share in enumerate(shares):
            if share > 0:
                wanted = pods if place == 0 else max(1, ceil(share * pods - 1e-9))
                run = self._pods[k, place] = max(wanted, int(self._pods[k, place]))
                table[place, :run] = expected * share / run
        return table

    # -- who they are --------------------------------------------------------------------------------------------

    def _key(self, k: int, place: int, share: float, is_changed: bool, young: bool) -> tuple[object, ...]:
        """What tells the chances of a role from others."""
        injections = self.scene.injections
        if not injections or share <= 0:
            return ()
        mine = tuple(one for one in injections if is_changed and one.kind != "cold" and share >= one.share - 1e-9)
        cold = self._coldness(k, place) if young or is_changed else 0
        return (mine, cold) if mine or cold else ()

    def _coldness(self, k: int, place: int) -> int:
        """0 (warm) to 16: how much of the cold answers is still to come."""
        if not self._coldest:
            return 0
        left = 1.0 - float(self._served[k, place] + self._asked[place]) / self._coldest
        return ceil(max(left, 0.0) * LEVELS_OF_COLD)

    def _like(self, key: tuple[object, ...]) -> Traffic:
        if not key:
            return self.scene.traffic
        traffic = changed(self.scene.traffic, key[0])  # type: ignore[arg-type]
        cold: float = key[1] / LEVELS_OF_COLD  # type: ignore[operator]
        return slowed(traffic, 1.0 + (COLD_SLOWDOWN - 1.0) * cold) if cold else traffic

    def _slower(self, keys: tuple[tuple[object, ...], ...], factor: float) -> Floats:
        """The chances of everybody while everything takes ``factor`` times as long."""
        slow = (*keys, (factor,))
        if slow not in self._slow_tables:
            like = [slowed(self._like(key), factor) for key in keys]
            self._slow_tables[slow] = np.stack([self.layout.chances(one) for one in like])
        return self._slow_tables[slow]

    def _table(self, keys: tuple[tuple[object, ...], ...]) -> _Table:
        if keys not in self._tables:
            like = [self._like(key) for key in keys]
            self._tables[keys] = _Table(
                np.stack([self.layout.chances(one) for one in like]),
                np.stack([self.layout.worth(one) for one in like]),
                np.array([[*one.gauges.values()] for one in like]),
            )
        return self._tables[keys]

    # -- told ----------------------------------------------------------------------------------------------------

    def read(self, drawn: Drawn, roles: Iterable[Role]) -> Mapping[Role, Counts]:
        """What ``drawn``, or several of them added up, says of each role."""
        places = {role: ROLES.index(role) for role in roles}
        return {
            role: self.layout.read(drawn.counts[:, place], drawn.sums[:, place], drawn.gauges[:, place])
            for role, place in places.items()
        }


def _who(parts: Mapping[Role, Part]) -> list[Who]:
    return [(parts[role].changed, parts[role].young) if role in parts else (False, False) for role in ROLES]


def _shared(tables: Sequence[Floats]) -> Floats:
    """The one that all are, or a row for each."""
    return tables[0] if all(one is tables[0] for one in tables) else np.stack(tables)
