"""A recording as time that passes: who sleeps gets to the next moment that was recorded, and who asks hears of it.

The tape plays the part of the watcher too: where a look was recorded, it looks.  So a rollout over a tape sees the very
polls of the run that was recorded, in their order, and decides at the moments at which that run decided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TypeGuard

from pytest_canary.errors import RecordingEnds, SourceUnavailable
from pytest_canary.ports import Role, Sample
from pytest_canary.recording import Event, Header, Notice, Poll, Recorded
from pytest_canary.replay.oddities import Oddities
from pytest_canary.replay.then import Then

Line = Recorded | Event | Notice
FEW = 100
"""What may stand between the last look at a split and the moment at which it was seen; more belongs to the hold."""


class Phase(StrEnum):
    """Where on the tape the rollout is."""

    BASELINE = "baseline"
    BEFORE = "before"
    """A stage is about to begin; its first counters are asked for."""
    VERIFY = "verify"
    HOLD = "hold"
    AFTER = "after"
    """The stage has been decided on; what comes until the next one is still watched."""


class Tape:
    """A clock and the counters of one recording."""

    virtual = False
    """Nobody needs to look besides the tape."""

    def __init__(self, header: Header, lines: Iterator[Line]) -> None:
        self.phase = Phase.BASELINE
        self.look: Callable[[], None] = lambda: None
        """How the watcher looks."""
        self.over: Callable[[], bool] = lambda: False
        """Whether the rollout has taken the canary's traffic away: then nothing more is played."""
        self.looks = 0
        """Polls that the gates have seen."""
        self.interval: float | None = 0.0
        """Seconds in which the source of that run had news."""
        self.oddities, self.then = Oddities(), Then(header)
        self._header, self._lines, self._ahead = header, lines, deque[Line]()
        self._now = header.at
        self._latest: dict[Role, Sample] = {}
        self._looking: Recorded | None = None
        self._stage_at: float | None = None
        self._asked = False
        self.ended: RecordingEnds | None = None
        """Why the last who waited waited in vain."""

    # -- Clock -------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds on the clock of the run that was recorded."""
        return self._now

    def wall(self) -> float:
        """Seconds since 1970 at that moment; that clock itself where nobody wrote down what time it was."""
        wall = self._header.wall_of(self._now)
        return self._now if wall is None else wall

    def sleep(self, seconds: float) -> None:
        """Go on to the next moment that somebody waited for; raises RecordingEnds when there is none."""
        if self.over():
            self._now += max(0.0, seconds)
        elif self.phase is Phase.BASELINE:
            self._to_baseline_poll()
        elif self.phase is Phase.VERIFY:
            self._to_check()
        elif self.phase is Phase.HOLD:
            self._to_decision()
        else:
            self._pass(seconds)

    # -- what was counted --------------------------------------------------------------------------------------

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        """What was told at this moment; raises SourceUnavailable where nothing was."""
        if self._looking is not None:
            if self._looking.why:
                raise SourceUnavailable(self._looking.why)
            return {role: sample for role, sample in self._looking.samples.items() if role in roles}
        if self.phase is Phase.BASELINE and not self._latest:
            self._to_baseline_poll()
        told = {role: self._latest[role] for role in roles if role in self._latest}
        if self.phase is Phase.BEFORE:
            self._begin_stage()
        elif self.phase is Phase.VERIFY:
            self._to_split()
        return told

    def _begin_stage(self) -> None:
        """The first who asks is who waits for news; the second begins the stage."""
        if self._asked and self._stage_at is not None:
            self._now, self.phase = self._stage_at, Phase.VERIFY
        self._asked = True

    # -- played ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Hear what was written before the first poll: which builds were compared."""
        events = list[Line]()
        while isinstance(line := self._next(), Event):
            events.append(line)
        self._back(*events, line)

    def to_stage(self) -> None:
        """Play what is left of the stage before, up to the next one; raises RecordingEnds when there is none."""
        while not self.over():
            line = self._next()
            if isinstance(line, Event) and line.kind == "stage" and not line.data.get("whose"):
                break
            self._play(line)
        else:
            return
        before = self._next()
        if not isinstance(before, Recorded) or before.poll is not Poll.BEFORE:
            raise self._ends(f"the recording ends before the stage of line {line.line} began to count")
        self._latest.update(before.samples)
        self._stage_at, self._asked, self.phase = line.at, False, Phase.BEFORE
        interval = line.data.get("interval", 0.0)
        self.interval = interval if interval is None or isinstance(interval, int | float) else 0.0
        self._now = min([line.at, *(sample.at for sample in before.samples.values())])

    def to_the_end(self) -> None:
        """Play what is left of the run: it was watched until its outcome, or until the traffic returned."""
        while not self.over():
            line = self._next()
            if (
                line is None
                or isinstance(line, Notice)
                or (isinstance(line, Event) and line.kind in ("outcome", "stage"))
            ):
                return
            self._play(line)

    def unwind(self) -> None:
        """Read what was not played: how that run ended."""
        while self._next() is not None:
            pass

    def _to_baseline_poll(self) -> None:
        line = self._next()
        while isinstance(line, Event) and line.kind not in ("stage", "baseline", "outcome"):
            line = self._next()
        if not isinstance(line, Recorded) or line.poll is not Poll.BASELINE:
            self._back(line)
            if self._header.run == "record":
                alone = "it holds the stable build alone, as `pytest-canary record` writes it"
                raise self._ends(f"{alone}; type `pytest-canary calibrate FOLDER --from FILE`")
            raise self._ends("the recording ends in the window before the first stage")
        self._now = line.at
        self._latest.update(line.samples)

    def _to_check(self) -> None:
        """Play to the next look at the split; where that run saw the split after fewer, its hold begins there."""
        while not self.over():
            line = self._next()
            if isinstance(line, Recorded) and line.poll is Poll.CHECK:
                self._now = line.at
                self._latest.update(line.samples)
                return
            if isinstance(line, Event) and line.kind == "split":
                self._now, self.phase = line.at, Phase.HOLD
                return
            if isinstance(line, Event) and line.kind == "held":
                raise self._ends(f"line {line.line} ends a hold whose beginning is missing", goes_on=True)
            self._play(line)

    def _to_split(self) -> None:
        """Where no more looks at the split were recorded it was seen then: play to that moment."""
        looks = list[Line]()
        while _passes(line := self._next()) and len(looks) < FEW:
            looks.append(line)
        if not isinstance(line, Event) or line.kind != "split":
            self._back(*looks, line)
            return
        for look in looks:
            if self.over():
                return
            self._play(look)
        if not self.over():
            self._now, self.phase = line.at, Phase.HOLD

    def _to_decision(self) -> None:
        """Play to the moment at which the run decided."""
        while not self.over():
            line = self._next()
            if isinstance(line, Event) and line.kind == "held":
                self._now, self.phase = line.at, Phase.AFTER
                return
            self._play(line)

    def _pass(self, seconds: float) -> None:
        """Let ``seconds`` pass as far as the stage was recorded."""
        until = self._now + seconds
        while not self.over():
            line = self._next()
            if line is None or (isinstance(line, Event) and line.kind in ("outcome", "stage") and line.at < until):
                self._back(line)
                if isinstance(line, Event) and line.kind == "stage":
                    raise self._ends("the recording goes on before today's gates decide", goes_on=True)
                raise self._ends("the recording ends before today's gates decide")
            if not isinstance(line, Notice) and line.at > until:
                self._back(line)
                break
            self._play(line)
        self._now = max(self._now, until)

    def _play(self, line: Line | None) -> None:
        """Let the rollout live through ``line``; raises RecordingEnds where the run came to its end, or to a stage."""
        if isinstance(line, Event) and line.kind == "stage" and self.phase in (Phase.VERIFY, Phase.HOLD):
            self._back(line)
            raise self._ends("the recording goes on before today's gates decide", goes_on=True)
        if isinstance(line, Recorded) and line.poll is Poll.BEFORE:
            raise self._ends(f"line {line.line} has the counters of a stage whose beginning is missing")
        if isinstance(line, Recorded) and line.poll is Poll.LOOK:
            self._now, self._looking = line.at, line
            self.looks += 1
            try:
                self.look()
            finally:
                self._latest.update(line.samples)
                self._looking = None
        elif isinstance(line, Event) and line.kind == "cut":
            self._now = line.at
            why = line.data.get("why") or "nobody wrote down why"
            raise self._ends(f"the recording ends here, because the run was cut: {why}", cut=True)
        elif line is None or isinstance(line, Notice) or (isinstance(line, Event) and line.kind == "outcome"):
            raise self._ends("the recording ends here")

    def _ends(self, why: str, *, cut: bool = False, goes_on: bool = False) -> RecordingEnds:
        self.ended = RecordingEnds(why, cut=cut, goes_on=goes_on)
        return self.ended

    # -- lines -------------------------------------------------------------------------------------------------

    def _next(self) -> Line | None:
        if self._ahead:
            return self._ahead.popleft()
        line = next(self._lines, None)
        if isinstance(line, Recorded):
            if line.line:  # what was only made for the replay tells nothing of the file
                self.oddities.see(line)
            self.then.polled(line)
        elif isinstance(line, Event):
            self.then.hear(line)
        elif line is not None:
            self.oddities.stop(line)
        return line

    def _back(self, *lines: Line | None) -> None:
        self._ahead.extendleft(line for line in reversed(lines) if line is not None)


def _passes(line: Line | None) -> TypeGuard[Recorded | Event]:
    """Whether ``line`` may stand between the last look at a split and the moment at which it was seen."""
    if isinstance(line, Event):
        return line.kind not in ("split", "held", "cut", "stage", "outcome")
    return isinstance(line, Recorded) and line.poll is Poll.LOOK
