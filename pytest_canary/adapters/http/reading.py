"""What has been read of one answer so far, and whether it is a right one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_canary.adapters.http.events import Event
from pytest_canary.ports import Answer, Prompt


@dataclass(slots=True)
class Reading:
    """Grows while the bytes of an answer arrive; :meth:`answer` is the judgement."""

    prompt: Prompt
    status: int = 0
    parts: list[str] = field(default_factory=list)
    ttft_seconds: float | None = None
    spoke: bool = False
    """Whether anything that counts as an answer has come: text, reasoning or a tool call."""
    finished: bool = False
    fault: str | None = None
    """The first thing that was wrong."""
    model: str | None = None
    tokens: int | None = None

    @property
    def chat(self) -> bool:
        """Whether the path is one that answers in text."""
        return self.prompt.path.partition("?")[0].endswith("/completions")

    def wrong(self, fault: str) -> None:
        """Keep the first fault; what follows it is mostly its consequence."""
        self.fault = self.fault or fault

    def event(self, event: Event, seconds: float) -> None:
        """Take one event of a stream that arrived after ``seconds``."""
        if event.data.strip() == "[DONE]":
            self.finished = True
            return
        try:
            chunk = json.loads(event.data)
        except ValueError:
            self.wrong(f"an event of the stream is not JSON: {clip(event.data)}")
            return
        if event.name == "error" or not isinstance(chunk, Mapping):
            self.wrong(f"error event inside the stream: {clip(event.data)}")
            return
        self.take(chunk)
        if self.spoke and self.ttft_seconds is None:
            self.ttft_seconds = seconds

    def whole(self, body: bytes) -> None:
        """Take a body that came in one go."""
        self.finished = True
        if not self.chat:
            self.parts.append(body.decode(errors="replace"))
            return
        try:
            data = json.loads(body)
        except ValueError:
            data = None
        if isinstance(data, Mapping):
            self.take(data)
        else:
            self.wrong(f"the answer is not a JSON object: {clip(body.decode(errors='replace'))}")

    def take(self, data: Mapping[str, Any]) -> None:
        """Take a completion, or one chunk of it."""
        if data.get("error"):
            self.wrong(f"error inside the answer: {clip(_message(data['error']))}")
        model, usage, choices = data.get("model"), data.get("usage"), data.get("choices")
        if isinstance(model, str):
            self.model = model
        if isinstance(usage, Mapping) and isinstance(usage.get("completion_tokens"), int):
            self.tokens = usage["completion_tokens"]
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, Mapping):
                self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> None:
        said = choice.get("delta") or choice.get("message") or choice
        if isinstance(said, Mapping):
            text = said.get("content") or said.get("text") or ""
            self.parts.append(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False))
            self.spoke = self.spoke or bool(text or said.get("reasoning_content") or said.get("tool_calls"))
        self.finished = self.finished or bool(choice.get("finish_reason"))

    def answer(self, seconds: float) -> Answer:
        """Judge what was read when it ended after ``seconds``."""
        text = "".join(self.parts)
        if self.status and not 200 <= self.status < 300:
            self.fault = f"status {self.status}, expected 200" + (f": {self.fault}" if self.fault else "")
        elif not self.finished:
            self.wrong("the answer was cut short: neither [DONE] nor a finish_reason")
        elif self.chat and not self.spoke:
            self.wrong("empty answer")
        elif self.prompt.expect is not None and self.prompt.expect not in text:
            self.wrong(f"the answer does not contain {self.prompt.expect!r}: {clip(text)}")
        return Answer(self.status, seconds, self.ttft_seconds, text, self.finished, self.fault, self.model, self.tokens)


def clip(text: str, most: int = 120) -> str:
    """Return ``text`` on one line, short enough for a message."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _message(error: Any) -> str:
    return str(error.get("message", error)) if isinstance(error, Mapping) else str(error)
