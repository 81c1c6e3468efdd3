"""Servers for tests: the demo gateway as a process, and a server that says exactly the bytes a test wants."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Demo:
    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def demo(build: str) -> Iterator[Demo]:
    """The demo gateway on a free port; what it draws is the same in every run."""
    command = [sys.executable, "-m", "pytest_canary.demo", "--port=0", f"--build={build}", "--seed=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield Demo(process.stdout.readline().split()[-1].decode(), process)
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server whose every connection is ``handle``'d in a thread of its own, and closed when it returns."""
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            handle(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=[connection]))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
            for thread in threads:
                thread.join(10)


def request(connection: socket.socket) -> tuple[str, bytes] | None:
    """Path and body of the next request; None when the client has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < size:
        body += connection.recv(65536)
    return head.split(b" ")[1].decode(), body


def plain(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole answer, connection kept."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def said(text: str, finish: str | None = None) -> bytes:
    """One event of a chat stream, characters as they are."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"model": "m", "choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"
