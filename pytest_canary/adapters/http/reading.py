"""What has been read of one answer so far, and whether it is a right one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_canary.adapters.http.events import BYTE_ORDER_MARK, Event
from pytest_canary.adapters.http.pace import Pace
from pytest_canary.adapters.http.refusals import refusal
from pytest_canary.ports import Answer, Fault, Prompt

PINGS = ("ping", "heartbeat", "keepalive", "keep-alive")
"""Types of events that only keep a connection open."""
SPOKEN = ("reasoning_content", "reasoning", "tool_calls", "function_call", "refusal")
"""What a model may say besides text; a user waits for it all the same."""
FAILED_FINISHES = ("error", "abort")


@dataclass(slots=True)
class Reading:
    """Grows while the bytes of an answer arrive; :meth:`answer` is the judgement."""

    prompt: Prompt
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    error: str | None = None
    """The first thing that was wrong, and in ``fault`` its kind."""
    fault: Fault | None = None
    _texts: dict[int, list[str]] = field(default_factory=dict)
    """Choice -> what it said."""
    _open: dict[int, bool] = field(default_factory=dict)
    """Choice -> whether its finish_reason is still to come."""
    _whole: bool = False
    _broken: bool = False
    _spoke: bool = False
    """Whether anything that counts as an answer has come: text, reasoning, a refusal or a tool call."""
    _model: str | None = None
    _fingerprint: str | None = None
    _tokens: int | None = None
    _prompt_tokens: int | None = None
    _finish: str | None = None
    _refusal: str | None = None

    @property
    def chat(self) -> bool:
        """Whether the path is one that answers in text."""
        return self.prompt.path.partition("?")[0].endswith("/completions")

    @property
    def finished(self) -> bool:
        """Whether it was said that the answer is complete, and for every choice of it."""
        said = self._whole or (bool(self._open) and not any(self._open.values()))
        return said and not self._broken

    def wrong(self, fault: Fault, error: str) -> None:
        """Keep the first fault; what follows it is mostly its consequence."""
        if self.fault is None:
            self.fault, self.error = fault, error

    def broken(self, error: str) -> None:
        """Keep that the answer ended early, or never began."""
        self._broken = True
        self.wrong(Fault.TRUNCATED if self.status else Fault.NO_ANSWER, error)

    def event(self, event: Event, seconds: float) -> None:
        """Take one event of a stream that arrived after ``seconds``."""
        data = event.data.strip()
        if not event.readable:
            self.wrong(Fault.UNEXPECTED, f"an event of the stream is not UTF-8 text: {clip(data)}")
        if event.name == "error":
            self.wrong(Fault.STREAM_ERROR, f"error event inside the stream: {clip(data)}")
        elif data == "[DONE]":
            self._whole = True
        elif data and event.name.lower() not in PINGS:
            self._chunk(data, seconds)

    def body(self, body: bytes) -> None:
        """Take a body that came in one go."""
        self._whole = True
        text = body.removeprefix(BYTE_ORDER_MARK).decode(errors="replace")
        if not self.chat:
            self._texts[0] = [text]
            return
        if text.encode() != body.removeprefix(BYTE_ORDER_MARK):
            self.wrong(Fault.UNEXPECTED, f"the answer is not UTF-8 text: {clip(text)}")
        data = _json(text)
        if isinstance(data, Mapping):
            self._take(data, None)
        else:
            self.wrong(Fault.UNEXPECTED, f"the answer is not a JSON object: {clip(text)}")

    def closed(self) -> None:
        """Keep that a stream ended as HTTP says it should: enough, unless it is a chat, which says so itself."""
        self._whole = self._whole or not self.chat

    def answer(self, seconds: float) -> Answer:
        """Judge what was read when it ended after ``seconds``."""
        text = _paired("\n".join("".join(parts) for parts in self._texts.values()))
        self._judge(text)
        return Answer(
            self.status,
            seconds,
            self.pace.first_seconds,
            text,
            self.finished,
            self.error,
            self._model and clip(self._model),
            self._tokens,
            self._prompt_tokens,
            self.pace.mean_seconds,
            self.pace.longest_seconds,
            self._finish,
            clip(self._refusal or refusal(text) or "") or None,
            self.fault,
            self._fingerprint and clip(self._fingerprint),
            self.headers,
        )

    def _judge(self, text: str) -> None:
        if self.status and not 200 <= self.status < 300:
            self.error = f"status {self.status}, expected 200" + (f": {self.error}" if self.error else "")
            self.fault = Fault.STATUS
        elif not self.finished:
            self.wrong(Fault.TRUNCATED, "the answer was cut short: neither [DONE] nor a finish_reason")
        elif self.chat and not self._spoke:
            why = f" (finish_reason {self._finish})" if self._finish not in (None, "stop") else ""
            self.wrong(Fault.EMPTY, f"empty answer{why}")
        elif self.prompt.expect is not None and self.prompt.expect not in text:
            self.wrong(Fault.UNEXPECTED, f"the answer does not contain {self.prompt.expect!r}: {clip(text)}")

    def _chunk(self, text: str, seconds: float) -> None:
        data = _json(text)
        if isinstance(data, Mapping):
            self._take(data, seconds)
        elif self.chat:
            wanted = "JSON" if data is None else "a JSON object"
            self.wrong(Fault.UNEXPECTED, f"an event of the stream is not {wanted}: {clip(text)}")
        if not self.chat:
            self._texts.setdefault(0, []).append(f"{text}\n")

    def _take(self, data: Mapping[str, Any], seconds: float | None) -> None:
        """Take a completion, or one chunk of it that arrived after ``seconds``."""
        if error := data.get("error") or (data if "error" in (data.get("object"), data.get("type")) else None):
            self.wrong(Fault.STREAM_ERROR, f"error inside the answer: {clip(_message(error))}")
        model, usage, choices = data.get("model"), data.get("usage"), data.get("choices")
        if isinstance(model, str):
            self._model = model
        if isinstance(fingerprint := data.get("system_fingerprint"), str) and fingerprint:
            self._fingerprint = fingerprint
        if isinstance(usage, Mapping):
            self._tokens = _number(usage.get("completion_tokens"), self._tokens)
            self._prompt_tokens = _number(usage.get("prompt_tokens"), self._prompt_tokens)
        # The last chunk of a stream may hold the usage and no choice at all.
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, Mapping):
                self._choice(choice, seconds)

    def _choice(self, choice: Mapping[str, Any], seconds: float | None) -> None:
        index = _number(choice.get("index"), 0) or 0
        said = choice.get("delta") or choice.get("message") or choice
        if isinstance(said, Mapping):
            text = _text(said.get("content") or said.get("text"))
            if self.chat:
                self._texts.setdefault(index, []).append(text)
            if isinstance(no := said.get("refusal"), str) and no:
                self._refusal = (self._refusal or "") + no
            if text or any(said.get(name) for name in SPOKEN):
                self._spoke = True
                if seconds is not None:
                    self.pace.token(index, seconds)
        self._end(index, choice.get("finish_reason"))

    def _end(self, index: int, finish: Any) -> None:
        self._open[index] = self._open.get(index, True) and not finish
        if finish:
            self._finish = clip(str(finish))
        if finish == "content_filter":
            self._refusal = self._refusal or "content_filter"
        elif isinstance(finish, str) and finish in FAILED_FINISHES:
            self.wrong(Fault.STREAM_ERROR, f"the answer ended with finish_reason {finish}")


def clip(text: str, most: int = 120) -> str:
    """Return ``text`` on one line, short enough for a message."""
    line = " ".join(_paired(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _paired(text: str) -> str:
    """``text`` with half characters put together: a token may end between the two escapes of an emoji."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _json(text: str) -> Any:
    """What ``text`` says; None when it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _message(error: Any) -> str:
    return str(error.get("message", error)) if isinstance(error, Mapping) else str(error)


def _number(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _text(content: Any) -> str:
    """The text of a message, whether it is a string or a list of parts; empty where there is none."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""
