"""How the rollouts of a batch ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class How(IntEnum):
    """How one rollout ended."""

    PROMOTED = 0
    GATE = 1
    """Rolled back: a gate failed."""
    DEADLINE = 2
    """Rolled back: undecided, or too few requests, when a stage's time was over."""
    SPLIT = 3
    """Rolled back: the split was not the one that was set, or was not seen."""
    NOT_STARTED = 4
    """No user met it: what the stable build does cannot be compared with, or a stage can never pass."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One entry per rollout; every array has shape (batch,)."""

    how: NDArray[np.int8]
    gate: NDArray[np.int16]
    """Index of the gate that failed first in the plan's order; -1 where none did."""
    stage: NDArray[np.int16]
    """Index of the stage at which it ended; -1 before the first."""
    exposed: NDArray[np.float64]
    """Requests of users that the canary has answered."""
    seconds: NDArray[np.float64]
    """From the first share of traffic to the end."""
    looks: NDArray[np.int64]
    """Polls from the first share to the end."""
    why: tuple[str, ...]
    """Of those that did not start."""

    @classmethod
    def none(cls, size: int) -> Ended:
        """A batch of which nothing is known yet: none has started."""
        return cls(
            np.full(size, How.NOT_STARTED, dtype=np.int8), np.full(size, -1, dtype=np.int16),
            np.full(size, -1, dtype=np.int16), np.zeros(size), np.zeros(size), np.zeros(size, dtype=np.int64),
            ("",) * size,
        )  # fmt: skip

    @classmethod
    def together(cls, parts: Sequence[Ended]) -> Ended:
        """Several batches as one."""
        arrays = {
            one.name: np.concatenate([getattr(part, one.name) for part in parts])
            for one in fields(cls)
            if one.name != "why"
        }
        return cls(**arrays, why=tuple(text for part in parts for text in part.why))

    @property
    def size(self) -> int:
        """How many rollouts there are."""
        return int(self.how.size)

    @property
    def stopped(self) -> NDArray[np.bool_]:
        """Which were rolled back once users had met them."""
        return np.isin(self.how, (How.GATE, How.DEADLINE, How.SPLIT))

    @property
    def convicted(self) -> NDArray[np.bool_]:
        """Which a gate stopped, or the deadline of one that was undecided."""
        return np.isin(self.how, (How.GATE, How.DEADLINE))
