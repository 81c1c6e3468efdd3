"""Many polls of one rollout at once, where all of them are known beforehand: hours of virtual time in a blink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_canary.ports import Foreseen, Role
from pytest_canary.verdict.course import Rules
from pytest_canary.verdict.frame import Frame
from pytest_canary.verdict.panel import Panel


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a judge would know after each of some polls."""

    panel: Panel
    """A row for each."""
    quiet: int
    """How many of the first of them bring no decision: no gate fails, and the stage cannot end."""
    frames: Mapping[Role, Frame]

    def last(self, polls: int) -> dict[Role, Frame]:
        """What the last of so many polls has told."""
        return {role: frame.keep(np.array([polls - 1])) for role, frame in self.frames.items()}


def look_ahead(
    panel: Panel, told: Mapping[Role, Foreseen], at: Sequence[float], began: float, rules: Mapping[str, Any],
    last: Mapping[Role, Frame],
) -> Ahead | None:  # fmt: skip
    """As :meth:`~pytest_canary.verdict.Judge.ahead` has it."""
    frames = {role: Frame.foreseen(one, last.get(role)) for role, one in told.items()}
    times = np.asarray(at, dtype=np.float64)
    if panel.stage is None or not panel.stage.followed_by(frames):
        return None
    ahead, sure = panel.ahead(frames, times)
    if not sure or ahead.stage is None:
        return None
    ends = ahead.failing().any(axis=0) | ahead.worthless
    ends |= Rules(**rules).open(times - began, np.floor(ahead.stage.requests))
    loud = np.flatnonzero(ends[:sure])
    return Ahead(ahead, int(loud[0]) if loud.size else sure, frames)
