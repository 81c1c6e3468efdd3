"""The second opinion of the replicas: one bad minute of one of them convicts nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.gates.side import Side
from pytest_canary.gates.values import Levels
from pytest_canary.stats.grid import Array
from pytest_canary.stats.replicas import FEWEST, Evened, ReplicaEvidence, choices, evened
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column

WINDOW_WORTH = 10.0
"""The most that one window may be worth, so that no single moment convicts, however large the fleet."""
FEWEST_TO_CLEAR = 3
"""Canary replicas below which one of them cannot be told from the build."""

Events = Callable[[Side], Array | None]
"""How many of a side's requests count as events; None where nobody can say."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the replicas of one rollout say."""

    asked: bool
    uneven: bool
    agrees: bool
    log_e: float
    wanted: float
    """Evidence that is asked of them."""


class _Open(Rows):
    """What the replicas of one side have had in the window that is open; NaN for one that was not seen."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._seen: dict[str, tuple[Array, Array]] = {}

    def keep(self, rows: Index) -> None:
        self._batch = rows.size
        self._seen = {name: (n[rows], x[rows]) for name, (n, x) in self._seen.items()}

    def __bool__(self) -> bool:
        return bool(self._seen)

    def add(self, side: Side, events: Events, where: Flags) -> None:
        """Gather one poll."""
        for name, one in side.replicas.items():
            bad = events(one)
            if bad is not None:
                n, x = self._seen.get(name) or (np.full(self._batch, np.nan), np.zeros(self._batch))
                self._seen[name] = (
                    np.where(where, np.nan_to_num(n) + one.requests, n), np.where(where, x + bad, x)
                )  # fmt: skip

    @property
    def number(self) -> Array:
        """How many replicas there are, one number per rollout."""
        return np.asarray(np.sum([~np.isnan(n) for n, _ in self._seen.values()], axis=0, dtype=np.float64))

    def of(self, row: int) -> list[tuple[float, float]]:
        """Requests and events of each replica of one rollout."""
        sides = ((float(n[row]), float(x[row])) for n, x in self._seen.values())
        return [side for side in sides if not np.isnan(side[0])]

    def clear(self, rows: Index) -> None:
        """Begin another window."""
        if rows.size == self._batch:
            self._seen = {}
        for n, x in self._seen.values():
            n[rows], x[rows] = np.nan, 0.0


class SecondOpinion(Rows):
    """Windows of counts per replica; where they can be compared, they must agree before a canary is convicted."""

    AXES = axes(_began=0, _compared=0, _canaries=0, uneven=0)
    PARTS = ("_evidence", "_canary", "_baseline")

    def __init__(self, stages: int, levels: Levels, batch: int = 1) -> None:
        self._evidence = ReplicaEvidence(stages, batch, first=levels.first, worth=WINDOW_WORTH)
        self._levels = levels
        self._window_seconds = levels.replica_window_seconds
        self._begin(batch)

    def _begin(self, batch: int) -> None:
        self._began = np.full(batch, np.nan)
        self._canary, self._baseline = _Open(batch), _Open(batch)
        self._compared, self._canaries = np.zeros(batch, dtype=bool), np.zeros(batch)
        self.uneven = np.zeros(batch, dtype=bool)
        """Whether there were replicas on both sides, but none of equal traffic."""

    def start_stage(self, hold_seconds: float) -> None:
        """Begin the copy that starts at this stage; a fifth of the hold is the longest window."""
        self._evidence.start_stage()
        self._window_seconds = min(self._levels.replica_window_seconds, hold_seconds / 5)
        canaries = self._canaries
        self._begin(canaries.size)
        self._canaries = canaries

    def add(self, canary: Side, baseline: Side, events: Events, at: ArrayLike, where: Flags | None = None) -> None:
        """Add one poll, which ended at ``at`` seconds."""
        if self._levels.replicas <= 1:
            return
        if not (canary.replicas or baseline.replicas or self._canary or self._baseline):
            return
        batch = self._began.size
        ended, here = column(at, batch), np.ones(batch, dtype=bool) if where is None else where
        fresh = here & np.isnan(self._began)
        over = here & ~fresh & (ended - np.nan_to_num(self._began) >= self._window_seconds - 1e-6)
        if over.any():
            self._close(np.flatnonzero(over))
        self._began = np.where(fresh | over, ended, self._began)
        self._canary.add(canary, events, here)
        self._baseline.add(baseline, events, here)

    def _close(self, rows: Index) -> None:
        found: dict[tuple[int, int], list[tuple[int, Evened]]] = {}
        for row in rows.tolist():
            mine, theirs = self._canary.of(row), self._baseline.of(row)
            if not mine or not theirs:
                continue
            even = evened(mine, theirs)
            self.uneven[row] = even is None
            if even is not None:
                found.setdefault((len(even[0]), len(even[1])), []).append((row, even))
        for (canaries, _), alike in found.items():
            self._window(canaries, alike)
        self._canary.clear(rows)
        self._baseline.clear(rows)

    def _window(self, canaries: int, alike: Iterable[tuple[int, Evened]]) -> None:
        """Judge the windows of rollouts that have as many replicas of either side."""
        both = [(row, [*canary, *baseline]) for row, (canary, baseline) in alike]
        rows = np.array([row for row, _ in both])
        counts = np.array([sides for _, sides in both])
        self._evidence.window(counts[..., 0], counts[..., 1], canaries, rows)
        self._compared[rows], self._canaries[rows] = True, canaries

    @property
    def asked(self) -> Flags:
        """Whether the replicas have anything to say at this stage."""
        if not self._canary or not self._baseline:
            return self._compared
        mine, theirs = self._canary.number, self._baseline.number
        pairs = {(int(a), int(b)) for a, b in zip(mine, theirs, strict=True)}
        enough = [(mine == a) & (theirs == b) for a, b in pairs if choices(a, b) >= FEWEST]
        return np.asarray(self._compared | (~self.uneven & np.any(enough, axis=0)) if enough else self._compared)

    @property
    def log_e(self) -> Array:
        """Log evidence of "the canary's replicas are not like the others"."""
        return self._evidence.log_e

    @property
    def agrees(self) -> Flags:
        """Whether the replicas do not stand in the way of a conviction."""
        asked = self.asked
        return np.asarray(~asked | (self.log_e >= log(self._levels.replicas))) if asked.any() else ~asked

    @property
    def clears(self) -> Flags:
        """Whether one bad moment of one replica explains what totals hold against the canary.

        It can bring the evidence to 10 at most, the worth of one window; a build twice as bad, with three replicas or
        more, is far above that after a hold.
        """
        may = self._compared & (self._canaries >= FEWEST_TO_CLEAR)
        return may & (self.log_e <= log(WINDOW_WORTH)) if may.any() else may

    def of(self, row: int) -> Opinion:
        """What the replicas of one rollout say."""
        log_e = float(self.log_e[row])
        return Opinion(
            bool(self.asked[row]), bool(self.uneven[row]), bool(self.agrees[row]), log_e, self._levels.replicas
        )
