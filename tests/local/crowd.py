"""Clients that real gateways have, each kind in a thread of its own: what they got, and what they lost."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

CHAT = {"model": "demo-llm", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
TIMEOUT = 30.0


def body(*, stream: bool = False) -> bytes:
    """A chat request."""
    return json.dumps({**CHAT, "stream": stream}).encode()


class Crowd:
    """Everybody asks ``address`` without a pause, as long as the block lasts.

    An answer of a build, good or bad, is an answer; no answer, half of one, or an error that the router made is lost.
    """

    def __init__(self, address: str) -> None:
        self.answered, self.lost = Counter[str](), Counter[str]()
        self._address, self._over = address, threading.Event()
        url = urlsplit(address)
        self._place = (url.hostname or "", url.port or 80)
        kinds: dict[str, Callable[[], None]] = {
            "keeps its connection": self._keeps,
            "HTTP/1.0": lambda: self._raw("POST /v1/chat/completions HTTP/1.0\r\n", "HTTP/1.0"),
            "Connection: close": lambda: self._raw(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n", "Connection: close"
            ),
            "streams": self._streams,
            "goes away": self._goes_away,
        }
        self._threads = [threading.Thread(target=self._on_and_on, args=kind, name=kind[0]) for kind in kinds.items()]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _on_and_on(self, name: str, ask: Callable[[], None]) -> None:
        while not self._over.wait(0.01):
            try:
                ask()
                self.answered[name] += 1
            except (OSError, httpx.HTTPError, ValueError) as error:
                self.lost[f"{name}: {type(error).__name__}: {error}"] += 1

    def _keeps(self) -> None:
        with httpx.Client(timeout=TIMEOUT) as client:
            for number in range(50):
                answer = client.post(f"{self._address}/v1/chat/completions", content=body())
                _from_a_build(dict(answer.headers))
                # Now and then the connection rests, as long as servers like to close it after.
                if self._over.wait(0.7 if number % 10 == 9 else 0.0):
                    return

    def _streams(self) -> None:
        with httpx.stream(
            "POST", f"{self._address}/v1/chat/completions", content=body(stream=True), timeout=TIMEOUT
        ) as answer:
            text = "".join(answer.iter_text())
            _from_a_build(dict(answer.headers))
        if answer.status_code == 200 and "[DONE]" not in text:
            raise ValueError("half a stream")

    def _raw(self, first: str, name: str) -> None:
        """One request on a connection that ends with its answer."""
        with socket.create_connection(self._place, timeout=TIMEOUT) as connection:
            asked = body()
            connection.sendall(f"{first}content-length: {len(asked)}\r\n\r\n".encode() + asked)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        head, _, rest = answer.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
        headers = {key.lower(): value for key, _, value in lines}
        _from_a_build(headers)
        if len(rest) != int(headers.get("content-length", -1)):
            raise ValueError(f"{name}: {len(rest)} bytes of {headers.get('content-length')}")

    def _goes_away(self) -> None:
        """Closes in the middle of a stream; what it did not want cannot be lost."""
        with socket.create_connection(self._place, timeout=TIMEOUT) as connection:
            asked = body(stream=True)
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-length: {len(asked)}\r\n\r\n"
            connection.sendall(head.encode() + asked)
            if not connection.recv(10):
                raise ValueError("no answer at all")


def _from_a_build(headers: dict[str, str]) -> None:
    if "x-canary-router" in headers or "x-served-by" not in headers:
        raise ValueError(f"no build answered: {headers.get('x-canary-router', 'nothing at all')}")
