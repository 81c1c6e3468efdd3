"""What a replay has found: what happened, what would happen now, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pytest_canary.replay.then import Then
from pytest_canary.verdict import Verdict


class Now(StrEnum):
    """What today's gates make of a recording."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    NOT_STARTED = "not started"
    NOT_DECIDED = "not decided"
    """The recording ends before today's gates have decided."""


@dataclass(frozen=True)
class Played:
    """One recording, replayed."""

    path: Path
    then: Then
    now: Now
    why: str
    stage: str = ""
    """The stage at which the traffic was taken away, or the last one."""
    looks: int = 0
    """Polls that today's gates had seen by then."""
    seconds: float | None = None
    """How much earlier than in the run the traffic was taken away; None unless both did."""
    verdicts: tuple[Verdict, ...] = ()
    """Of every stage that was held, in order."""
    blamed: tuple[str, ...] = ()
    """Gates that failed."""
    cut_by_others: bool = False
    """Whether the recording ends because the run was cut, and today's gates had not spoken until then."""
    notes: tuple[str, ...] = ()
    """What could not be replayed, and what was odd about the recording."""

    @property
    def same(self) -> bool:
        """Whether what would happen now is what happened, at the same poll; as far as the recording tells."""
        then = self.then
        if self.now is Now.NOT_DECIDED:  # what else ended it, such as a person or a smoke test, is no gate's doing
            return then.end != Now.PROMOTED if then.cut_at is None else self.cut_by_others and not then.blamed
        if self.now is Now.ROLLED_BACK:
            return then.cut_at is not None and (self.looks, self.stage) == (then.looks, then.stage)
        return then.end == self.now

    @property
    def line(self) -> str:
        """All of it in one line."""
        notes = "".join(f" [{note}]" for note in self.notes)
        return f"{self.path.stem}: then {self.then}; now {self._now()}{notes}"

    def _now(self) -> str:
        if self.now is Now.NOT_DECIDED and self.stage:
            return f"{self.now} at {self.stage}: {self.why}"
        if self.now is not Now.ROLLED_BACK:
            return f"{self.now}: {self.why}"
        if self.same:
            return f"the same, at the same poll: {self.why}"
        return f"{self.now} at {self.stage} after {self.looks} polls{self._earlier()}: {self.why}"

    def _earlier(self) -> str:
        if self.seconds is None or (self.looks, self.stage) == (self.then.looks, self.then.stage):
            return ""
        return f", {abs(self.seconds):.1f} s {'earlier' if self.seconds >= 0 else 'later'}"
