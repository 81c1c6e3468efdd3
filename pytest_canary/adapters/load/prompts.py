"""The prompts that synthetic users send: one JSON object per line."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from pytest_canary.errors import AdapterError
from pytest_canary.ports import Prompt

KEYS = tuple(field.name for field in fields(Prompt))


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Read one :class:`~pytest_canary.ports.Prompt` per line of ``path``, empty lines aside.

    Raises:
        AdapterError: the file is not there, holds no prompt, or a line is not one.

    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise AdapterError(
            f"{path}: {error.strerror}; `load: prompts:` names a file of one JSON object per line"
        ) from None
    prompts = tuple(_prompt(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())
    if not prompts:
        raise AdapterError(f"{path}: no prompt in it; expected one JSON object per line, with a `body`")
    return prompts


def _prompt(line: bytes, where: str) -> Prompt:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise AdapterError(f"{where}: not JSON ({error}); expected one object per line, with a `body`") from None
    if not isinstance(data, dict):
        raise AdapterError(f"{where}: found a {type(data).__name__}, expected an object with a `body`")
    unknown = sorted(set(data) - set(KEYS))
    if unknown:
        raise AdapterError(f"{where}: unknown key {unknown[0]!r}; a prompt has {', '.join(KEYS)}")
    if not isinstance(data.get("body"), dict | None):
        raise AdapterError(f"{where}: `body` is a {type(data['body']).__name__}, expected an object")
    return Prompt(**data)
