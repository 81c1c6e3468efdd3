"""The probe: one request at a time and thread, judged to its last byte."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pytest_canary.adapters.headers import Sends
from pytest_canary.adapters.http.events import EventReader
from pytest_canary.adapters.http.reading import Reading, clip
from pytest_canary.ports import Answer, Fault, Prompt, Shared

if TYPE_CHECKING:
    import httpx

KEEP_ALIVE_SECONDS = 2.0
"""Below every server's own, so that no request is sent on a connection that is being closed."""

MARK = "x-canary-probe"
"""Header of every request that goes past the router, so that whoever counts users can leave it out."""


class ProbeOptions(Sends):
    """What ``probe: {http: {...}}`` may say; ``timeout`` in seconds."""

    timeout: float = Field(default=60.0, gt=0)
    """An answer that is not complete by then ends as a fault; so does one that is silent for as long."""
    body_limit: int = Field(default=8 << 20, gt=0)
    """Bytes of an answer that are read at most."""


class HttpProbe:
    """A :class:`~pytest_canary.ports.Probe` over httpx; may be asked from several threads at once."""

    Options = ProbeOptions

    def __init__(self, options: ProbeOptions | None = None) -> None:
        self._options = options or ProbeOptions()
        self._client: httpx.Client | None = None
        self._making = Lock()

    @classmethod
    def connect(cls, options: ProbeOptions | Mapping[str, Any], shared: Shared) -> HttpProbe:  # noqa: ARG003
        """Make a probe from the options of a rollout.yaml."""
        return cls(ProbeOptions.model_validate(dict(options)))

    def ask(self, address: str, prompt: Prompt) -> Answer:
        import httpx

        reading, start = Reading(prompt), time.perf_counter()
        try:
            self._read(address, reading, start)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reading.broken(_trouble(error, reading.status, address))
        return reading.answer(time.perf_counter() - start)

    def close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None

    def _read(self, address: str, reading: Reading, start: float) -> None:
        prompt = reading.prompt
        url = address.rstrip("/") + prompt.path
        with self._connected().stream(prompt.method, url, **_content(prompt)) as response:
            reading.status, reading.headers = response.status_code, dict(response.headers)
            kind = response.headers.get("content-type", "")
            streamed = kind.startswith("text/event-stream")
            if prompt.stream and not streamed and response.is_success:
                reading.wrong(Fault.UNEXPECTED, f"asked for a stream, got {kind or 'a body without content-type'}")
            events, pieces, size = EventReader(), list[bytes](), 0
            for piece in response.iter_bytes():
                size += len(piece)
                seconds = time.perf_counter() - start
                if streamed:
                    for event in events.feed(piece):
                        reading.event(event, seconds)
                else:
                    pieces.append(piece)
                if self._over(reading, size, seconds):
                    return
            for event in events.end():
                reading.event(event, time.perf_counter() - start)
            if streamed:
                reading.closed()
            else:
                reading.body(b"".join(pieces))

    def _over(self, reading: Reading, size: int, seconds: float) -> bool:
        """Whether the answer is too large or takes too long; if so, it is not finished and says why."""
        limits = self._options
        if size <= limits.body_limit and seconds <= limits.timeout:
            return False
        if size > limits.body_limit:
            reading.broken(f"the answer is larger than {limits.body_limit} bytes")
        else:
            reading.broken(f"the answer did not end within {limits.timeout:g} s")
        return True

    def _connected(self) -> httpx.Client:
        with self._making:
            self._client = self._client or self._connect()
            return self._client

    def _connect(self) -> httpx.Client:
        import httpx

        return httpx.Client(
            timeout=httpx.Timeout(self._options.timeout, connect=min(self._options.timeout, 10.0)),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEP_ALIVE_SECONDS),
            headers={
                "accept-encoding": "identity",
                "user-agent": "pytest-canary",
                MARK: "1",
                **self._options.plain_headers,
            },
            trust_env=False,
        )


def _content(prompt: Prompt) -> dict[str, Any]:
    """The body of ``prompt`` in ASCII, as users send it: half a character in it is the server's to refuse."""
    if prompt.body is None:
        return {}
    body = dict(prompt.body) | ({"stream": True} if prompt.stream else {})
    return {"content": json.dumps(body).encode(), "headers": {"content-type": "application/json"}}


def _trouble(error: Exception, status: int, address: str) -> str:
    """Say in one line what went wrong on the way."""
    why = clip(str(error)) or type(error).__name__
    if status:
        return f"the answer was cut short: {why}"
    return f"no answer from {address}: {why}"
