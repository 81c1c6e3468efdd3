"""Server-sent events out of the bytes of a response."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type and its data, several ``data:`` lines joined by a line feed."""

    name: str
    data: str


class EventReader:
    """Cuts a stream into events, whatever the pieces in which it arrives.

    Lines end at a line feed and nowhere else: U+2028, which JSON may hold as it is, ends a line for ``str.splitlines``.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that ``piece`` completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            event = self._line(line.rstrip(b"\r").decode(errors="replace"))
            if event:
                yield event

    def end(self) -> Iterator[Event]:
        """Yield the event that a stream without a last blank line leaves open."""
        yield from self.feed(b"\n\n")

    def _line(self, line: str) -> Event | None:
        field, _, value = line.partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))
        elif field == "event":
            self._name = value.strip()
        if line or not self._data:
            return None
        event = Event(self._name or "message", "\n".join(self._data))
        self._name, self._data = "", []
        return event
