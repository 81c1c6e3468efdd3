"""The stage in which sides are counted, as the rules see it."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_canary.gates.side import Side
from pytest_canary.stats.grid import Array

NOBODY = Side.nothing(1)


@dataclass(frozen=True, slots=True)
class Window:
    """One stage, as the rules see it; ``at`` is when its traffic was set, in seconds on the clock of each rollout."""

    index: int
    at: Array
    share: float
    compared: bool
    """Whether the baseline serves beside the canary, so that they can be compared."""
    hold_seconds: float
    min_requests: int
    frozen: Side = NOBODY
    """The baseline's last window beside the canary, or the one before the ramp."""
    captured: Side = NOBODY
    """The baseline's window before the ramp."""
    allowance: float = 1.0
    """How many times what the gate allows beyond 1 proof must exclude at this stage."""

    def __deepcopy__(self, memo: object) -> Window:
        """Itself: nothing in it ever changes."""
        return self
