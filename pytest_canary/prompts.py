"""prompts.jsonl -> prompts: one JSON object a line, a chat body or what stands for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_canary.errors import SpecError
from pytest_canary.ports import Prompt

SIZE_LIMIT = 50 * 2**20
KEYS = {"path", "method", "body", "stream", "expect", "prompt", "messages", "model", "max_tokens", "temperature"}


def read_prompts(path: Path, where: str) -> tuple[Prompt, ...]:
    """Read ``path``; ``where`` is the place that named it.

    A line is ``{"body": {...}}`` as it is sent, or ``{"messages": [...]}`` or ``{"prompt": "..."}`` for a chat; with
    ``path``, ``method``, ``stream`` and ``expect`` (what a right answer contains) where they differ.

    Raises:
        SpecError: the file is not there, too large, or has a line that cannot be sent.

    """
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise SpecError(f"{where}: {path.name} is larger than 50 MB; some hundred representative prompts do")
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SpecError(f"{where}: {path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{where}: {path.name} is not UTF-8 text (byte {error.start})") from error
    prompts = tuple(_prompt(line, f"{path.name}:{n}") for n, line in enumerate(lines, start=1) if line.strip())
    if not prompts:
        raise SpecError(f"{where}: {path.name} holds no prompt")
    return prompts


def _prompt(line: str, where: str) -> Prompt:
    try:
        data: Any = json.loads(line)
    except ValueError as error:
        raise SpecError(f"{where}: is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise SpecError(f'{where}: found {line.strip()[:40]!r}, expected an object such as {{"prompt": "..."}}')
    unknown = sorted(set(data) - KEYS)
    if unknown:
        raise SpecError(f"{where}: found key {unknown[0]!r}, expected some of {', '.join(sorted(KEYS))}")
    method = str(data.get("method", "POST")).upper()
    body = _body(data, where) if method != "GET" else None
    stream = bool(data.get("stream", (body or {}).get("stream", False)))
    if body is not None and stream:
        body = {**body, "stream": True}
    return Prompt(str(data.get("path", Prompt().path)), body, method, stream, data.get("expect"))


def _body(data: dict[str, Any], where: str) -> dict[str, Any]:
    if "body" in data:
        if not isinstance(data["body"], dict):
            raise SpecError(f"{where}: body: expected an object")
        return dict(data["body"])
    messages = data.get("messages")
    if messages is None and "prompt" in data:
        messages = [{"role": "user", "content": data["prompt"]}]
    if not isinstance(messages, list) or not messages:
        raise SpecError(f"{where}: found no body, messages or prompt: there is nothing to send")
    kept: dict[str, Any] = {key: data[key] for key in ("max_tokens", "temperature") if key in data}
    return {"model": data.get("model", "default"), "messages": messages, **kept}
