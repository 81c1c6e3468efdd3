"""What a rule finds at a poll in every rollout of a batch, before anybody asks for sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from pytest_canary.gates.values import By, Status
from pytest_canary.stats.grid import Array
from pytest_canary.stats.rows import Flags

Codes = NDArray[np.int8]

STATUSES = (Status.FAIL, Status.NO_DATA, Status.UNDECIDED, Status.PASS)
"""In the order in which they count where a gate has several limits; a code is an index."""
FAIL, NO_DATA, UNDECIDED, PASS = range(4)
GROUNDS: tuple[By | None, ...] = (None, *By)
"""Grounds by their codes."""


def ground(by: By | None) -> int:
    """The code of a ground."""
    return GROUNDS.index(by)


@dataclass(slots=True)
class Look:
    """One entry per rollout: codes of status and ground, whether there is no sign of harm, log evidence and odds."""

    status: Codes
    by: Codes
    harmless: Flags
    log_e: Array
    odds: Array
    held: Flags
    """Where totals speak against the canary, and its replicas do not."""

    @classmethod
    def undecided(cls, batch: int) -> Look:
        """Nothing known yet."""
        return cls(
            np.full(batch, UNDECIDED, dtype=np.int8), np.zeros(batch, dtype=np.int8),
            np.zeros(batch, dtype=bool), np.zeros(batch), np.zeros(batch), np.zeros(batch, dtype=bool),
        )  # fmt: skip

    def copy(self) -> Look:
        """One that may be changed."""
        return replace(self, status=self.status.copy(), by=self.by.copy(), harmless=self.harmless.copy())

    def put(self, where: Flags, status: int, by: By | None = None) -> None:
        """Set the status, and its ground, where that is so."""
        self.status[where] = status
        self.by[where] = ground(by)

    def status_of(self, row: int) -> Status:
        """Of one rollout."""
        return STATUSES[int(self.status[row])]

    def by_of(self, row: int) -> By | None:
        """Of one rollout."""
        return GROUNDS[int(self.by[row])]


def unharmed(log_e: Array, odds: Array, alpha: float) -> Flags:
    """No sign of harm: evidence below 1/sqrt(alpha), and the data do not favour "worse than the gate"."""
    return np.asarray((log_e < -0.5 * log(alpha)) & (odds < 0.5))


def combined_look(looks: Sequence[Look], batch: int) -> Look:
    """That of a gate with several limits: fails if any fails, passes if all pass, else the least known."""
    if len(looks) == 1:
        return looks[0]
    told = Look.undecided(batch)
    if not looks:
        told.put(np.ones(batch, dtype=bool), PASS)
        told.harmless[:] = True
        return told
    keys = [np.stack([one.status.astype(float), one.harmless.astype(float), -one.odds]) for one in looks]
    chosen, best = np.zeros(batch, dtype=np.intp), keys[0].copy()
    for index, key in enumerate(keys[1:], start=1):
        less = _before(key, best)
        chosen[less], best[:, less] = index, key[:, less]
    for name in ("status", "by", "harmless", "log_e", "odds", "held"):
        setattr(told, name, np.stack([getattr(one, name) for one in looks])[chosen, np.arange(batch)])
    return told


def _before(one: Array, other: Array) -> Flags:
    """Whether a column comes before another one, as words do in a dictionary."""
    less, same = np.zeros(one.shape[1], dtype=bool), np.ones(one.shape[1], dtype=bool)
    for a, b in zip(one, other, strict=True):
        less, same = less | same & (a < b), same & (a == b)
    return less
