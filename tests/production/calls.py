"""gRPC clients of a service in the cluster: many calls and streams over few connections, through the Gateway."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import grpc

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING = b"\x08\x01"
"""`HealthCheckResponse{status: SERVING}` on the wire; the request is empty."""
STREAM_SECONDS = 3.0
PAUSE_SECONDS = 0.03


class Calls:
    """What the clients have asked, and what went wrong."""

    def __init__(self, gateway: str, host: str) -> None:
        self.answered, self.streams = 0, 0
        self.failed: Counter[str] = Counter()
        self._place = f"{urlsplit(gateway).hostname}:{urlsplit(gateway).port or 80}"
        self._host, self._over = host, threading.Event()

    def _channel(self) -> Any:
        options = [("grpc.default_authority", self._host), ("grpc.enable_retries", 0)]
        return grpc.insecure_channel(self._place, options=options)

    def ready(self) -> bool:
        """Whether a first call is answered."""
        with self._channel() as channel, suppress(grpc.RpcError):
            return bool(channel.unary_unary(CHECK)(b"", timeout=2) == SERVING)
        return False

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Ask and watch without a pause until the block ends."""
        threads = [threading.Thread(target=act) for act in (self._ask, self._watch, self._watch)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _ask(self) -> None:
        with self._channel() as channel:
            check = channel.unary_unary(CHECK)
            while not self._over.wait(PAUSE_SECONDS):
                try:
                    assert check(b"", timeout=10) == SERVING
                    self.answered += 1
                except grpc.RpcError as error:
                    self.failed[f"call: {error.code()} {error.details()}"] += 1

    def _watch(self) -> None:
        """Streams of some seconds, which their client ends."""
        with self._channel() as channel:
            watch = channel.unary_stream(WATCH)
            while not self._over.is_set():
                stream = watch(b"", timeout=30)
                ends = threading.Timer(STREAM_SECONDS, stream.cancel)
                ends.start()
                began = time.monotonic()
                try:
                    for _ in stream:
                        pass
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.CANCELLED or time.monotonic() - began < STREAM_SECONDS / 2:
                        self.failed[f"stream: {error.code()} {error.details()}"] += 1
                ends.cancel()
                self.streams += 1
