"""What a scene will count, drawn before its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    _last: Drawn = field(init=False)
    _to_come: deque[tuple[float, Drawn]] = field(init=False, default_factory=deque)
    _passed: list[float] = field(init=False, default_factory=list)
    """Seconds of every draw whose time has come."""

    def __post_init__(self) -> None:
        self._end, self._last = self.draws.fork(), self.counted

    def at(self, times: Sequence[float]) -> list[Drawn] | None:
        """What will have been counted at these times; None where they are not those that were asked for before."""
        known = [one for one, _ in self._to_come][: len(times)]
        if known != list(times[: len(known)]):
            return None
        last = self._to_come[-1][0] if self._to_come else self.until
        for time in times[len(known) :]:
            self._last = self._last.copy()
            if time > last:
                self._last.add(self._end.draw(time - last, self.parts))
            self._to_come.append((time, self._last))
            last = time
        return [one for _, one in self._to_come][: len(times)]

    def pass_by(self, now: float, *, too: bool) -> None:
        """Let those times pass that come before ``now``, and that one ``too``: what was foreseen has happened."""
        while self._to_come and (self._to_come[0][0] < now or (too and self._to_come[0][0] == now)):
            time, self.counted = self._to_come.popleft()
            if time > self.until:
                self._passed.append(time - self.until)
            self.until = time

    def left(self) -> Draws:
        """The draws as they are by the last time that has passed; nothing more is asked of this future."""
        if not self._to_come:
            return self._end
        for seconds in self._passed:
            self.draws.draw(seconds, self.parts)
        return self.draws
