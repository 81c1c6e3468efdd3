"""What the demo gateway is asked: a body is a chat request, or there is one line that says why not."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pytest_canary.demo.answers import question

MODEL = "demo-llm"
NAMES = (MODEL, "default")
"""What a request may call the model; many servers take ``default`` for the only one they have."""


class RequestError(Exception):
    """A request that the client has to change: an HTTP status from 400 to 499, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat request that can be answered."""

    asked: str
    stream: bool
    usage: bool
    """Whether a stream ends with a usage chunk."""
    max_tokens: int | None


def read(body: bytes) -> Chat:
    """Read an OpenAI chat request.

    Raises:
        RequestError: it is no JSON object, has no messages, asks for another model or for a senseless length.

    """
    try:
        data = json.loads(body)
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from error
    messages = data.get("messages") if isinstance(data, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise RequestError(400, "'messages' must be a list of at least one message")
    if data.get("model", MODEL) not in NAMES:
        raise RequestError(404, f"the model {data['model']!r} does not exist; this gateway serves {MODEL!r}")
    most = data.get("max_completion_tokens", data.get("max_tokens"))
    if most is not None and (not isinstance(most, int) or most < 1):
        raise RequestError(400, f"'max_tokens' must be a whole number above 0, not {most!r}")
    options = data.get("stream_options") or {}
    usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return Chat(question(messages), bool(data.get("stream")), usage, most)
