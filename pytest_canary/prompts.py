"""A file of prompts -> prompts: JSON lines or one JSON array, of our own kind or of those that others write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from pytest_canary.errors import SpecError
from pytest_canary.ports import Prompt

SIZE_LIMIT, PROMPT_LIMIT = 50 * 2**20, 10 * 2**20
"""Bytes of a file, and characters of one prompt."""
KEYS = {
    "path", "method", "body", "stream", "expect",
    "prompt", "messages", "model", "max_tokens", "temperature", "output_tokens",
}  # fmt: skip
BATCH_KEYS = {"custom_id", "method", "url", "body"}
ASKING = {"human": "user", "user": "user", "system": "system"}
"""Who speaks in a ShareGPT conversation before the model does -> role in a chat."""
LETTERS_PER_TOKEN, MOST_TOKENS, TOKENS_OTHERWISE = 4, 1024, 256
"""How long an answer to a ShareGPT conversation may be: about as long as the one on record."""

_SPACE = re.compile(r"\s*")
_PATH = re.compile(r"/[!-~]*")
_WANTED = 'expected an object such as {"prompt": "..."}'


class Kind(StrEnum):
    """What a record is, known by its keys."""

    PLAIN = "a prompt"
    SHAREGPT = "a ShareGPT conversation"
    BATCH = "an OpenAI batch request"


def read_prompts(path: Path, where: str) -> tuple[Prompt, ...]:
    """Read ``path``; ``where`` is the place that named it.

    A record is ``{"body": {...}}`` as it is sent, or ``{"messages": [...]}`` or ``{"prompt": "..."}`` for a chat; with
    ``path``, ``method``, ``stream`` and ``expect`` (what a right answer contains) where they differ.  ShareGPT
    conversations, OpenAI batch requests and vLLM's custom data set are read as well; one file holds one kind.

    Raises:
        SpecError: the file is not there, too large, or has a record that cannot be sent.

    """
    text = _text(path, where)
    of = _array if text.startswith("[", _after_space(text, 0)) else _lines
    prompts = tuple(_prompts(of(text, path.name)))
    if not prompts:
        raise SpecError(f"{where}: {path.name} holds no prompt")
    return prompts


def _text(path: Path, where: str) -> str:
    try:
        if path.exists() and not path.is_file():
            raise SpecError(f"{where}: {path.name} is not a file")
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            found = f"{path.name} is larger than 50 MB ({size / 2**20:.0f} MB)"
            raise SpecError(f"{where}: {found}; some hundred representative prompts do")
        data = path.read_bytes()
        return data.decode().removeprefix("\ufeff")
    except OSError as error:
        raise SpecError(f"{where}: {path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{where}: {path.name}:{line} is not UTF-8 text (byte {error.start})") from error


def _lines(text: str, name: str) -> Iterator[tuple[Any, str]]:
    """Each line's value, and where it stands; a line ends at a line feed only, U+2028 may stand in a text."""
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{name}:{number}"
        _refuse_long(len(line), where)
        if line.strip():
            try:
                yield json.loads(line), where
            except (ValueError, RecursionError) as error:
                raise SpecError(f"{where}: is not JSON: {_why(error)}") from None


def _array(text: str, name: str) -> Iterator[tuple[Any, str]]:
    """Each value of one array, and the line on which it begins."""
    decoder, at, line, counted = json.JSONDecoder(), text.index("["), 1, 0
    while text[at : at + 1] in ("[", ","):
        at = _after_space(text, at + 1)
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]":
            break
        where = f"{name}:{line}"
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", line)
            raise SpecError(f"{name}:{line}: is not JSON: {_why(error)}") from None
        _refuse_long(end - at, where)
        yield value, where
        at = _after_space(text, end)
    line += text.count("\n", counted, at)
    if text[at : at + 1] != "]":
        raise SpecError(f"{name}:{line}: is not JSON: the array does not go on with a comma and has no end")
    if text[at + 1 :].strip():
        raise SpecError(f"{name}:{line}: is not JSON: something follows the end of the array")


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _refuse_long(size: int, where: str) -> None:
    if size > PROMPT_LIMIT:
        raise SpecError(f"{where}: is longer than {PROMPT_LIMIT // 2**20} MB; expected one prompt")


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else "nested too deeply"


def _prompts(records: Iterable[tuple[Any, str]]) -> Iterator[Prompt]:
    """A prompt for each record, all of the kind of the first."""
    known: tuple[Kind, str] | None = None
    for data, where in records:
        if not isinstance(data, dict):
            raise SpecError(f"{where}: found {json.dumps(data)[:40]!r}, {_WANTED}")
        kind = _kind(data)
        known = known or (kind, where)
        if kind is not known[0]:
            raise SpecError(f"{where}: is {kind}, {known[1]} is {known[0]}; expected one kind in a file")
        prompt = READERS[kind](data, where)
        if prompt is not None:
            _refuse_what_cannot_be_sent(prompt, where)
            yield prompt


def _kind(data: dict[str, Any]) -> Kind:
    if "conversations" in data:
        return Kind.SHAREGPT
    return Kind.BATCH if "custom_id" in data or "url" in data else Kind.PLAIN


def _refuse_what_cannot_be_sent(prompt: Prompt, where: str) -> None:
    """Here, and not in the middle of a rollout."""
    if not _PATH.fullmatch(prompt.path):
        raise SpecError(f"{where}: found path {prompt.path[:60]!r}, expected one such as /v1/chat/completions")
    if not prompt.method.isalpha() or not prompt.method.isascii():
        raise SpecError(f"{where}: found method {prompt.method[:20]!r}, expected one such as POST")
    try:
        json.dumps(prompt.body, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise SpecError(f"{where}: holds half a character, such as \\ud83d alone") from None
    except ValueError:
        raise SpecError(f"{where}: holds NaN or Infinity, which JSON does not know") from None


def _plain(data: dict[str, Any], where: str) -> Prompt:
    _refuse_unknown(data, KEYS, where)
    expect = data.get("expect")
    if not isinstance(expect, str | None):
        raise SpecError(f"{where}: expect: found {expect!r}, expected text that a right answer contains")
    method = str(data.get("method", "POST")).upper()
    body = _body(data, where) if method != "GET" else None
    stream = bool(data.get("stream", (body or {}).get("stream", False)))
    if body is not None and stream:
        body = {**body, "stream": True} if "body" in data else _streamed(body)
    return Prompt(str(data.get("path", Prompt().path)), body, method, stream, expect)


def _body(data: dict[str, Any], where: str) -> dict[str, Any]:
    if "body" in data:
        return _object(data["body"], where)
    messages = data.get("messages")
    if messages is None and "prompt" in data:
        messages = [{"role": "user", "content": data["prompt"]}]
    if not isinstance(messages, list) or not messages:
        raise SpecError(f"{where}: found no body, messages or prompt: there is nothing to send")
    kept: dict[str, Any] = {key: data[key] for key in ("max_tokens", "temperature") if key in data}
    most = data.get("output_tokens")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise SpecError(f"{where}: output_tokens: found {most!r}, expected a whole number above 0")
    return {"model": data.get("model", "default"), "messages": messages} | ({"max_tokens": most} if most else {}) | kept


def _streamed(body: dict[str, Any]) -> dict[str, Any]:
    """A chat of ours, as a stream that says at its end how many tokens it was."""
    return {**body, "stream": True, "stream_options": {"include_usage": True}}


def _batch(data: dict[str, Any], where: str) -> Prompt:
    _refuse_unknown(data, BATCH_KEYS, where)
    body = _object(data.get("body"), where)
    path, method = str(data.get("url", Prompt().path)), str(data.get("method", "POST")).upper()
    return Prompt(path, body, method, bool(body.get("stream")))


def _sharegpt(data: dict[str, Any], where: str) -> Prompt | None:
    """What was asked before the first answer; None for a conversation in which nobody asks anything."""
    turns = data["conversations"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise SpecError(f"{where}: conversations: expected a list of turns")
    messages, most = list[dict[str, str]](), TOKENS_OTHERWISE
    for turn in turns:
        said, role = turn.get("value"), ASKING.get(str(turn.get("from")).lower())
        if not isinstance(said, str):
            raise SpecError(f"{where}: conversations: found a turn whose value is no text")
        if role:
            messages.append({"role": role, "content": said})
        elif any(message["role"] == "user" for message in messages):
            most = min(max(len(said) // LETTERS_PER_TOKEN, 1), MOST_TOKENS)
            break
    if not any(message["role"] == "user" for message in messages):
        return None
    return Prompt(body=_streamed({"model": "default", "messages": messages, "max_tokens": most}), stream=True)


def _refuse_unknown(data: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise SpecError(f"{where}: found key {unknown[0]!r}, expected some of {', '.join(sorted(known))}")


def _object(body: Any, where: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise SpecError(f"{where}: body: expected an object")
    return dict(body)


READERS: dict[Kind, Callable[[dict[str, Any], str], Prompt | None]] = {
    Kind.PLAIN: _plain,
    Kind.SHAREGPT: _sharegpt,
    Kind.BATCH: _batch,
}
