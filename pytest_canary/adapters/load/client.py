"""A lean HTTP/1.1 client: h11 on asyncio, connections kept and reused; a third of the cost of a general client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from pytest_canary.adapters.load.replies import Reply
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Prompt

HEADERS = "PYTEST_CANARY_LOAD_HEADERS"
"""Where the generator is told what else to send: everybody on the machine may read a command line."""
IDLE_SECONDS = 2.0
"""A connection that was idle for longer is not used again: below every server's own limit."""


class Broken(Exception):
    """The connection ended before the answer did; the text is the kind, as counted in ``dropped_why``."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request, ready to be sent any number of times."""

    head: h11.Request
    body: bytes


def call(prompt: Prompt, host: str, more: Mapping[str, str] | None = None) -> Call:
    """Prepare ``prompt`` for sending to ``host``, with ``more`` headers."""
    asked = dict(prompt.body) | ({"stream": True} if prompt.stream else {}) if prompt.body is not None else None
    body = b"" if asked is None else json.dumps(asked).encode()
    ours = {"user-agent": "pytest-canary-users", "accept-encoding": "identity"}
    headers = [("host", host), *(ours | dict(more or {})).items()]
    if body:
        headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
    return Call(h11.Request(method=prompt.method, target=prompt.path, headers=headers), body)


def endpoint(address: str) -> tuple[str, int]:
    """Return host and port of a base URL.

    Raises:
        AdapterError: it is not a plain ``http://`` URL.

    """
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        raise AdapterError(f"synthetic users cannot enter at {address!r}; expected http://HOST:PORT")
    return parts.hostname, parts.port or 80


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._http = h11.Connection(h11.CLIENT)
        self._reply = Reply()
        self._ended: asyncio.Future[None] | None = None
        self._used = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    async def send(self, call: Call, reply: Reply) -> None:
        """Send ``call``, fill ``reply``, return when it is complete.

        Raises:
            Broken: the answer did not come, or not to its end.

        """
        self._reply, self._ended = reply, asyncio.get_running_loop().create_future()
        out = self._http.send(call.head) or b""
        if call.body:
            out += self._http.send(h11.Data(data=call.body)) or b""
        self.transport.write(out + (self._http.send(h11.EndOfMessage()) or b""))
        try:
            await self._ended
        except BaseException:
            self.transport.abort()
            raise
        self._used = True

    def data_received(self, data: bytes) -> None:
        if self._ended is None:
            # Nobody has asked: what is said now would be taken for the answer to the next request.
            self.transport.abort()
            return
        self._http.receive_data(data)
        self._read()

    def eof_received(self) -> bool:
        self._http.receive_data(b"")
        self._read()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._break()
        self._pool.forget(self)

    def _read(self) -> None:
        try:
            while self._ended and (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._reply.head(event.status_code, dict(event.headers))
                elif isinstance(event, h11.Data):
                    self._reply.data(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._finish()
                elif isinstance(event, h11.ConnectionClosed):
                    self._break()
        except h11.RemoteProtocolError:
            self._break()

    def _finish(self) -> None:
        ended, self._ended = self._ended, None
        if ended and not ended.done():
            ended.set_result(None)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._pool.give(self)
        else:
            self.transport.close()

    def _break(self) -> None:
        ended, self._ended = self._ended, None
        if ended and not ended.done():
            before = "reset on a reused connection" if self._used else "reset"
            ended.set_exception(Broken("truncated" if self._reply.status else before))


class Pool:
    """Connections to one place; the one used last is used next, so that few are open."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[Connection] = []

    async def send(self, call: Call, reply: Reply) -> None:
        """Send ``call`` on an idle connection or a new one, never twice.

        Raises:
            Broken: the answer did not come, or not to its end.
            OSError: no connection could be made.

        """
        connection = self._take()
        if connection is None:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port)
        await connection.send(call, reply)

    def give(self, connection: Connection) -> None:
        """Keep a connection whose answer is complete."""
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that has ended."""
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close all idle connections."""
        for connection in self._idle:
            connection.transport.close()

    def _take(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and not connection.transport.is_closing():
                return connection
            connection.transport.close()
        return None
