"""What stands in a recording, once it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pytest_canary.ports import NOTHING, Role, Sample

VERSION = 3
READABLE = (2, VERSION)
"""Versions that are read; lines of version 2 have no numbers, so nobody can tell whether one is missing."""


class Poll(StrEnum):
    """What a poll was for."""

    BASELINE = "baseline"
    """The window before the ramp, in which "normal" is read: the stable build alone."""
    BEFORE = "before"
    """The counters from which a stage counts."""
    CHECK = "check"
    """Whether requests follow the share that was set; no gate sees it."""
    LOOK = "look"
    """What the gates have seen."""


@dataclass(frozen=True, slots=True)
class Header:
    """What was recorded."""

    service: str = ""
    target: str = ""
    image: str | None = None
    run: str = ""
    at: float = 0.0
    """Seconds on the run's clock when the file was begun ..."""
    wall: float | None = None
    """... and seconds since 1970 at that moment; None where nobody knows."""
    plan: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Everything of the plan that a replay needs, as ``recording.header`` writes it."""
    version: int = VERSION

    @property
    def stages(self) -> tuple[Mapping[str, Any], ...]:
        """The stages of the plan: ``weight``, ``hold``, ``min_requests`` and so on."""
        return tuple(self.plan.get("stages", ()))

    @property
    def gates(self) -> tuple[Mapping[str, Any], ...]:
        """The gates of the plan: ``name``, ``limits``, ``decide``, ``alpha``."""
        return tuple(self.plan.get("gates", ()))

    def wall_of(self, at: float) -> float | None:
        """Seconds since 1970 at ``at`` on the run's clock."""
        return None if self.wall is None else self.wall + at - self.at


@dataclass(frozen=True, slots=True)
class Recorded:
    """What every role that was told of had counted at one poll; ``at`` is seconds on the run's clock."""

    at: float
    stage: int
    """Number of the stage that was on; -1 before the first."""
    samples: Mapping[Role, Sample]
    poll: Poll = Poll.LOOK
    why: str = ""
    """Why nobody was told of, where the metric source did not answer."""
    line: int = field(default=0, compare=False)
    """Where it stands in the file, from 1."""
    twice: int = field(default=0, compare=False)
    """How many lines since the poll before were those before them once more, and were passed over."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between two polls."""

    at: float
    kind: str
    data: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """Why what follows in the file was not read; the last of what is read."""

    line: int
    text: str
    """What was found, what that means, what to do: one line."""
