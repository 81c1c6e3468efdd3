"""What a rollout writes down as it goes: facts before the act, rows after it, and what went wrong on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from pytest_canary.errors import LedgerError, Lost
from pytest_canary.outcome import Row
from pytest_canary.ports import Clock, Fact, Ledger, Role, Sample
from pytest_canary.recording import Poll, Recording


class Listener(Protocol):
    """Who hears how a rollout goes; it decides nothing."""

    def tick(self, text: str) -> None:
        """Something is waited for; called several times a second."""

    def row(self, row: Row) -> None:
        """A step has ended."""

    def said(self, text: str) -> None:
        """Something worth a line happened."""


class Text:
    """What a step has to say when it goes well; set inside the ``with`` of :meth:`Book.step`."""

    def __init__(self) -> None:
        self.text = ""
        self.numbers: Mapping[str, str] = {}
        """More that stands in the JUnit, as properties."""


class Book:
    """One writer for ledger, recording and listener."""

    def __init__(self, ledger: Ledger, recording: Recording, listener: Listener, clock: Clock) -> None:
        self.ledger, self.recording, self.listener, self.clock = ledger, recording, listener, clock
        self.rows: list[Row] = []
        self.trouble: list[str] = []
        self.not_restored = False
        self.lost = ""
        """Who has taken over this rollout, in one line; from then on nothing of it is ours to touch."""

    def note(self, kind: str, **data: Any) -> None:
        """Write a fact before the act it names; raises LedgerError, and then the act must not happen."""
        try:
            self.ledger.append(Fact(kind, self.clock.wall(), data))
        except Lost as error:
            self.lost = self.lost or (str(error) if error.taken else "")
            raise

    def safely_note(self, kind: str, **data: Any) -> None:
        """Write a fact on the way back, where nothing may stop us, not even a full disk."""
        try:
            self.note(kind, **data)
        except LedgerError as error:
            self.in_trouble(str(error))

    def event(self, kind: str, *, moment: float | None = None, **data: Any) -> None:
        """Add an event to the recording, if it can be written; ``moment`` is when, on the run's clock."""
        with suppress(OSError):
            self.recording.write_event(self.clock.now() if moment is None else moment, kind, **data)

    def polled(self, at: float, stage: int, samples: Mapping[Role, Sample], poll: Poll, why: str = "") -> None:
        """Add what was counted to the recording, if it can be written."""
        with suppress(OSError):
            self.recording.write_sample(at, stage, samples, poll, why)

    @property
    def records(self) -> bool:
        """Whether anybody keeps what was counted."""
        return self.recording.keeps

    def in_trouble(self, text: str, *, not_restored: bool = False) -> None:
        """Remember what went wrong while putting things right."""
        self.trouble.append(text)
        self.not_restored = self.not_restored or not_restored

    def attempt(self, name: str, act: Callable[[], object], *, vital: bool = False) -> None:
        """Do ``act``; whatever it raises, the rest of the way back is walked.  Vital: a human must look if it fails."""
        try:
            act()
        except Exception as error:
            self.in_trouble(f"{name}: {error}", not_restored=vital)

    @contextmanager
    def step(self, name: str) -> Iterator[Text]:
        """Time a step and write its row, however it ends."""
        began, text = self.clock.now(), Text()
        try:
            yield text
        except BaseException as error:
            why = str(error) or type(error).__name__
            self.row(Row(name, False, why, self.clock.now() - began, text.numbers))
            raise
        self.row(Row(name, True, text.text, self.clock.now() - began, text.numbers))

    def row(self, row: Row) -> None:
        """Keep ``row`` for the outcome and tell the listener."""
        self.rows.append(row)
        self.event("step", name=row.name, passed=row.passed, text=row.text, seconds=round(row.seconds, 3))
        self.listener.row(row)
