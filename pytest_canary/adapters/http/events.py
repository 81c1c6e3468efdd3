"""Server-sent events out of the bytes of a response."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

REPLACEMENT = "\ufffd"
LINE_END = re.compile(rb"\r\n|\r|\n")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type and its data, several ``data:`` lines joined by a line feed."""

    name: str
    data: str
    readable: bool = True
    """False where its bytes are no UTF-8; what is none of it reads U+FFFD then, as if the server had sent that."""


class EventReader:
    """Cuts a stream into events, whatever the pieces in which it arrives, at the byte that completes each.

    Lines end at CR, LF or both and nowhere else: U+2028, which JSON may hold as it is, ends a line for
    ``str.splitlines``.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._after_cr = False
        self._first = True
        self._name = ""
        self._data: list[str] = []
        self._readable = True

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that ``piece`` completes."""
        if not piece:
            return
        # The second half of a line end whose first half has ended its line already.
        rest = piece[1:] if self._after_cr and piece.startswith(b"\n") else piece
        self._after_cr = piece.endswith(b"\r")
        first, *others = LINE_END.split(rest)
        self._rest.append(first)
        for part in others:
            event = self._line(b"".join(self._rest))
            self._rest = [part]
            if event:
                yield event

    def end(self) -> Iterator[Event]:
        """Yield the event that a stream without a last blank line leaves open."""
        self._after_cr = False
        yield from self.feed(b"\n\n")

    def _line(self, raw: bytes) -> Event | None:
        if self._first:
            raw, self._first = raw.removeprefix(BYTE_ORDER_MARK), False
        line = raw.decode(errors="replace")
        # A server may send U+FFFD itself, for a token that is half a character: only the bytes tell.
        self._readable = self._readable and (REPLACEMENT not in line or line.encode() == raw)
        field, _, value = line.partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))
        elif field == "event":
            self._name = value.strip()
        return None if line else self._dispatch()

    def _dispatch(self) -> Event | None:
        """What a blank line completes; a type without data is no event, but an error without words still is one."""
        there = bool(self._data) or self._name == "error"
        event = Event(self._name or "message", "\n".join(self._data), self._readable) if there else None
        self._name, self._data, self._readable = "", [], True
        return event
