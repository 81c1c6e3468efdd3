"""What a scene will count, drawn before its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pytest_canary.ports import Role
from pytest_canary.simulation.draws import Drawn, Draws, Part


@dataclass(slots=True)
class Future:
    """Of one rollout, from the time ``until`` on, as long as nothing happens but that time passes."""

    draws: Draws
    """As they are at the beginning."""
    parts: Mapping[Role, Part]
    counted: Drawn
    """What had been counted then, and is by the last time that has passed."""
    until: float
    _end: Draws = field(init=False)
    _times: list[float] = field(init=False, default_factory=list)
    """Those that are drawn, ..."""
    _drawn: Drawn = field(init=False)
    """... what will have been counted by each, ..."""
    _gone: int = field(init=False, default=0)
    """... and how many of them have passed."""
    _passed: list[float] = field(init=False, default_factory=list)
    """Seconds of every draw whose time has come."""

    def __post_init__(self) -> None:
        self._end, self._drawn = self.draws.fork(), self.counted.rows(0, 0)

    def at(self, times: Sequence[float]) -> Drawn | None:
        """What will have been counted at these times; None where they are not those that were asked for before."""
        known = self._times[self._gone :][: len(times)]
        if known != list(times[: len(known)]):
            return None
        if len(known) < len(times):
            self._draw(times[len(known) :])
        return self._drawn.rows(self._gone, self._gone + len(times))

    def _draw(self, times: Sequence[float]) -> None:
        last, left = self._times[-1] if self._times else self.until, self._drawn.rows(self._gone, len(self._times))
        before = self._drawn.rows(len(self._times) - 1, len(self._times)) if self._times else self.counted
        now = times[0] == last  # the first may be now, by when nothing more is counted
        seconds = [end - begin for begin, end in zip([last, *times][now:], times[now:], strict=False)]
        parts = [left, before] if now else [left]
        if seconds:
            parts.append(self._end.in_turn(seconds, self.parts).onward(before))
        self._drawn = _joined(parts)
        self._times, self._gone = [*self._times[self._gone :], *times], 0

    def pass_by(self, now: float, *, too: bool) -> None:
        """Let those times pass that come before ``now``, and that one ``too``: what was foreseen has happened."""
        begin = self._gone
        while self._gone < len(self._times) and (
            self._times[self._gone] < now or (too and self._times[self._gone] == now)
        ):
            time = self._times[self._gone]
            if time > self.until:
                self._passed.append(time - self.until)
            self._gone, self.until = self._gone + 1, time
        if self._gone > begin:
            self.counted = self._drawn.rows(self._gone - 1, self._gone)

    def left(self) -> Draws:
        """The draws as they are by the last time that has passed; nothing more is asked of this future."""
        if self._gone == len(self._times):
            return self._end
        if self._passed:
            self.draws.in_turn(self._passed, self.parts)
        return self.draws


def _joined(parts: Sequence[Drawn]) -> Drawn:
    return Drawn(
        np.concatenate([one.counts for one in parts]),
        np.concatenate([one.sums for one in parts]),
        np.concatenate([one.gauges for one in parts]),
    )
