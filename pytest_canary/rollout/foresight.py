"""The polls to come, where time is virtual and the source knows them: judged at once, as far as they decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from pytest_canary.plan import Stage
from pytest_canary.ports import Foreseen, Role, World
from pytest_canary.verdict import Judge

if TYPE_CHECKING:  # loads numpy
    from pytest_canary.verdict.ahead import Ahead

AT_ONCE = 256
"""Polls that are judged at once ..."""
WORTH_IT = 8
"""... and how many it takes to be worth it."""
MOST_LOOKS = 128
"""Polls that are looked at one by one, at most, before it is tried again."""


class StageRules(TypedDict):
    """When a stage may end; seconds."""

    hold: float
    min_requests: int
    deadline: float | None
    pace: str
    when_undecided: str


class Foresight:
    """Looks ahead in one rollout; where there was little to pass over, it takes its time before it looks again."""

    def __init__(self, world: World, judge: Judge, poll_seconds: float) -> None:
        self._clock, self._judge, self._poll = world.clock, judge, poll_seconds
        self._ahead: Callable[[Sequence[Role], Sequence[float]], Mapping[Role, Foreseen]] | None = (
            getattr(world.source, "ahead", None) if world.clock.virtual else None
        )
        self._looks = self._pause = 0

    def polls(
        self, roles: Sequence[Role], stage: Stage, start: float, rules: StageRules
    ) -> tuple[Mapping[Role, Foreseen], Ahead] | None:
        """The polls from now on, and what the judge would know after each; None where one has to look.

        ``start`` is when the split of ``stage`` was verified.
        """
        if self._ahead is None or self._looks > 0 or not self._judge.follows:
            self._looks -= 1
            return None
        times = [self._clock.now()]
        while len(times) < AT_ONCE and times[-1] - start < stage.hold_seconds:
            times.append(times[-1] + self._poll)
        told = self._ahead(roles, times) if len(times) >= WORTH_IT else {}
        seen = self._judge.ahead(told, times, start, dict(rules)) if told else None
        if seen is None:
            self.went(0)
            return None
        return told, seen

    def went(self, polls: int) -> bool:
        """Remember how many polls could be passed over; whether to look ahead again at once."""
        self._pause = 0 if polls >= WORTH_IT else min(max(2 * self._pause, 1), MOST_LOOKS)
        self._looks = self._pause
        return polls == AT_ONCE
