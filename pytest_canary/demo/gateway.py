"""The demo gateway itself: a plain ASGI application."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from itertools import count
from typing import Any

from pytest_canary.demo.answers import REFUSAL, answer, drawn_out, pieces
from pytest_canary.demo.builds import Build
from pytest_canary.demo.measures import CONTENT_TYPE, Measures
from pytest_canary.demo.requests import MODEL, Chat, RequestError, read
from pytest_canary.demo.timing import Timing

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_BYTES = 1 << 20


class Gateway:
    """Serves one build: chat completions, models, health and metrics."""

    def __init__(self, build: Build, seed: int | None = None, minute: float = 60.0) -> None:
        self.build = build
        self._timing = Timing(seed)
        self._minute, self._began = minute, time.monotonic()
        self._measures = Measures(build)
        self._ids, self._asked = count(1), count(1)
        self._routes: dict[str, tuple[str, Callable[[Receive, Send], Awaitable[None]]]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/models": ("GET", self._models),
            "/health": ("GET", self._health),
            "/metrics": ("GET", self._metrics),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        method, serve = self._routes.get(scope["path"], ("", None))
        if serve is None:
            await _refuse(send, 404, f"nothing is served at {scope['path']}")
        elif scope["method"] != method:
            await _refuse(send, 405, f"{scope['path']} takes {method}, not {scope['method']}")
        else:
            await serve(receive, send)

    async def _health(self, receive: Receive, send: Send) -> None:
        if not self.build.ready:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await _json(send, 200, {"status": "ok", "build": self.build.name})

    async def _metrics(self, _: Receive, send: Send) -> None:
        await _whole(send, 200, CONTENT_TYPE, self._measures.exposition())

    async def _models(self, _: Receive, send: Send) -> None:
        version = self.build.model_version
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "pytest-canary"}
        await _json(
            send, 200, {"object": "list", "data": [model | {"root": f"{MODEL}-v{version}", "version": version}]}
        )

    async def _chat(self, receive: Receive, send: Send) -> None:
        start, code = time.perf_counter(), 499
        self._measures.in_flight.inc()
        try:
            code = await self._answer(read(await _body(receive)), send)
        except RequestError as error:
            code = error.status
            await _refuse(send, code, str(error))
        finally:
            self._measures.in_flight.dec()
            self._measures.requests.labels(str(code)).inc()
            self._measures.seconds.observe(time.perf_counter() - start)

    async def _answer(self, chat: Chat, send: Send) -> int:
        nth, build = next(self._asked), self.build
        self._give_up_after(nth)
        refused = nth > build.good_requests and self._timing.chance(build.refusal_ratio)
        words = drawn_out(REFUSAL if refused else answer(chat.asked), build.wordiness)
        whole = "content_filter" if refused else "stop"
        finish = "length" if chat.max_tokens is not None and len(words) > chat.max_tokens else whole
        said = words[: chat.max_tokens]
        slowness = build.first_slowness(nth)
        if build.errs_at(nth, self._minutes) and self._timing.chance(build.error_ratio):
            await asyncio.sleep(self._timing.short(slowness))
            await _json(send, 500, {"error": {"message": "the model worker failed", "type": "server_error"}})
            return 500
        usage = {"prompt_tokens": len(chat.asked.split()), "completion_tokens": len(said)}
        usage["total_tokens"] = sum(usage.values())
        head = {"id": f"chatcmpl-{next(self._ids)}", "created": int(time.time()), "model": MODEL}
        head["system_fingerprint"] = build.system_fingerprint
        if chat.stream:
            cut = nth > build.good_requests and self._timing.chance(build.cut_ratio)
            parts = pieces(" ".join(said))
            chunks = _chunks(head, parts, finish, usage if chat.usage else None)
            await self._stream(send, chunks[: len(chunks) // 2] if cut else chunks, len(parts), nth, whole=not cut)
        else:
            await asyncio.sleep(self._timing.short(slowness))
            choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": " ".join(said)}}
            await _json(send, 200, head | {"object": "chat.completion", "choices": [choice], "usage": usage})
        self._measures.answered(usage["prompt_tokens"], len(said), refused=finish == "content_filter")
        return 200

    @property
    def _minutes(self) -> float:
        return (time.monotonic() - self._began) / self._minute

    def _give_up_after(self, nth: int) -> None:
        """End the process, or refuse everyone, where the build does so after so many requests."""
        if self.build.crashes_after is not None and nth > self.build.crashes_after:
            sys.stderr.write("fatal: out of memory\n")
            sys.stderr.flush()
            os._exit(134)
        if self.build.refuses_after is not None and nth > self.build.refuses_after:
            raise RequestError(401, "the API key is not valid")

    async def _stream(self, send: Send, chunks: Sequence[bytes], parts: int, nth: int, *, whole: bool) -> None:
        first, gap = self._timing.stream(parts, self.build.first_slowness(nth), self.build.stream_slowness(nth))
        await _begin(send, 200, b"text/event-stream", None)
        for number, chunk in enumerate(chunks):
            if number == 0:  # the role comes when the first token is there, as from a real model server
                await asyncio.sleep(first)
                self._measures.first_token.observe(first)
            elif 2 <= number <= parts:
                await asyncio.sleep(gap)
                self._measures.gap.observe(gap)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if not whole:
            raise CutShort
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})


class CutShort(Exception):
    """Makes the server close the connection in the middle of an answer."""


def _chunks(head: dict[str, Any], parts: list[str], finish: str, usage: dict[str, int] | None) -> list[bytes]:
    """Return the events of a stream: the role, one per part, how it finished, and what it took."""
    head = head | {"object": "chat.completion.chunk"}
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": part}, None) for part in parts]
    deltas.append(({}, finish))
    events = [_event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]}) for delta, end in deltas]
    return [*events, _event(head | {"choices": [], "usage": usage})] if usage else events


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_BYTES:
            raise RequestError(413, f"the body has more than {BODY_BYTES} bytes")
    return body


async def _refuse(send: Send, status: int, why: str) -> None:
    await _json(send, status, {"error": {"message": why, "type": "invalid_request_error"}})


async def _json(send: Send, status: int, data: dict[str, Any]) -> None:
    await _whole(send, status, "application/json", json.dumps(data).encode())


async def _whole(send: Send, status: int, kind: str, body: bytes) -> None:
    await _begin(send, status, kind.encode(), len(body))
    await send({"type": "http.response.body", "body": body})


async def _begin(send: Send, status: int, kind: bytes, length: int | None) -> None:
    headers = [(b"content-type", kind)]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
