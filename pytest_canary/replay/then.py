"""How the run that was recorded went, by the events of its recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_canary.ports import NOTHING
from pytest_canary.recording import Event, Header, Poll, Recorded


class Then:
    """Kept up line by line, as they are read."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.end = ""
        """``promoted``, ``rolled back``, ``not started`` and so on; empty where nobody wrote it down."""
        self.why = ""
        self.stage = ""
        """The last stage that was begun."""
        self.looks = 0
        """Polls that the gates had seen when the traffic was taken away, or in all."""
        self.cut_at: float | None = None
        """When the traffic was taken away, on the run's clock."""
        self.verdicts: dict[tuple[str, str], Mapping[str, Any]] = {}
        """Stage and gate -> what the gate said when the hold ended."""
        self.builds: Mapping[str, Any] = NOTHING
        self.returned = False
        """Whether the traffic returned to a stable build that was started anew."""

    def polled(self, line: Recorded) -> None:
        """A poll was recorded."""
        if line.poll is Poll.LOOK and self.cut_at is None and not self.returned:
            self.looks += 1

    def hear(self, event: Event) -> None:
        """Something was recorded."""
        data = event.data
        if event.kind == "stage":
            self.returned = self.returned or bool(data.get("whose"))
            self.stage = str(data.get("stage", data["index"]))
        elif event.kind == "held" and not self.returned:
            stage = str(data.get("stage", self.stage))
            verdicts = data.get("verdicts")
            for verdict in verdicts if isinstance(verdicts, list) else ():
                if isinstance(verdict, Mapping):
                    self.verdicts[stage, str(verdict.get("gate"))] = verdict
        elif event.kind == "cut" and self.cut_at is None:
            self.cut_at, self.why = event.at, str(data.get("why", ""))
        elif event.kind == "builds" and not self.builds:
            self.builds = data
        elif event.kind == "outcome":
            self.end, self.why = str(data.get("end", "")), self.why or str(data.get("why", ""))

    @property
    def blamed(self) -> tuple[str, ...]:
        """Gates that failed at the stage at which the traffic was taken away."""
        failed = [gate for (stage, gate), told in self.verdicts.items() if stage == self.stage and _failed(told)]
        return tuple(failed) if self.cut_at is not None else ()

    def __str__(self) -> str:
        if self.end == "promoted":
            return "promoted"
        if self.cut_at is not None or self.end:
            by = ", ".join(self.blamed) or self.why
            polls = f" after {self.looks} polls" if self.cut_at is not None else ""
            at = f" at {self.stage}{polls}" if self.stage else ""
            return f"{self.end or 'cut'}{at}{f' by {by}' if self.blamed else f' ({by})' if by else ''}"
        return f"no outcome, last at {self.stage}" if self.stage else "no outcome"


def _failed(verdict: Mapping[str, Any]) -> bool:
    return verdict.get("status") == "fail" and not verdict.get("alert")
