"""What came back for one request, and whose fault it is when that is not a whole answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

LINE_END = re.compile(rb"\r\n|\r|\n")
LONGEST_LINE = 1 << 20
"""Bytes; what a server that never ends its line says beyond is not kept."""


class Outcome(StrEnum):
    """How a request ended, from where its user sits."""

    ANSWERED = "answered"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(slots=True)
class Stream:
    """Watches a stream of events go by: whether it ends as it should, and whether an error is in it."""

    done: bool = False
    error: bool = False
    _rest: bytes = b""
    _last: bytes = b""
    """The last event that spoke of how the answer finished."""

    def feed(self, piece: bytes) -> None:
        """Look at the lines that ``piece`` completes; between CR and LF there may seem to be one more, an empty one."""
        *lines, self._rest = LINE_END.split(self._rest + piece)
        self._rest = self._rest[:LONGEST_LINE]
        for line in lines:
            if line.startswith(b"data:"):
                self._data(line[5:].strip())
            elif line.startswith(b"event:"):
                self.error = self.error or line[6:].strip() == b"error"

    @property
    def finished(self) -> bool:
        """Whether [DONE] or a finish_reason was seen."""
        if self.done or not self._last:
            return self.done
        choices = _object(self._last).get("choices")
        return isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") for c in choices)

    def _data(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.done = True
        elif b'"finish_reason"' in data:
            self._last = data
        # Parsing every event would double the cost of the load; almost none has the word in it.
        if b'"error"' in data and not self.error:
            found = _object(data)
            self.error = bool(found.get("error")) or "error" in (found.get("object"), found.get("type"))


@dataclass(slots=True)
class Reply:
    """One answer while it arrives."""

    status: int = 0
    """0 until the head of the answer is there."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    began_at: float = 0.0
    """Wall time of the head."""
    stream: Stream | None = None

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Take status and headers (lower-case names)."""
        self.status, self.headers, self.began_at = status, headers, time.time()
        if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            self.stream = Stream()

    def data(self, piece: bytes) -> None:
        """Take a piece of the body; only a stream is looked into."""
        if self.stream:
            self.stream.feed(piece)

    @property
    def served_by(self) -> str:
        """The build that answered, empty when nobody says."""
        return self.headers.get(b"x-served-by", b"").decode("latin-1")

    @property
    def routers_own(self) -> bool:
        """Whether a router made this answer itself: Envoy tells how long the upstream took only when one answered."""
        return self.headers.get(b"server") == b"envoy" and b"x-envoy-upstream-service-time" not in self.headers

    def judge(self) -> tuple[Outcome, str]:
        """How a request ended whose answer is complete, and for a dropped one why."""
        if self.status >= 500:
            return (Outcome.DROPPED, f"router {self.status}") if self.routers_own else (Outcome.FAILED, "")
        if self.stream and self.stream.error:
            return Outcome.FAILED, ""
        if self.stream and not self.stream.finished:
            return Outcome.DROPPED, "unfinished stream"
        return Outcome.ANSWERED, ""


def _object(data: bytes) -> dict[str, object]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
