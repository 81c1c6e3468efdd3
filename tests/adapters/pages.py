"""Pages of metrics on loopback, which say what a test wants: text, kind, status, and whether they answer at all."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass
class Page:
    """One replica's."""

    url: str
    text: str | bytes
    kind: str = TEXT
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hangs: threading.Event = field(default_factory=threading.Event)
    """While it is set, nobody is answered."""
    packed: bool = False
    paths: tuple[str, ...] = ("/metrics",)
    asked: list[dict[str, str]] = field(default_factory=list)
    """The headers of every request, in lower case."""

    @property
    def name(self) -> str:
        """What the replica is called where nobody else names it."""
        return self.url.removeprefix("http://")

    def body(self) -> bytes:
        """What is sent."""
        plain = self.text if isinstance(self.text, bytes) else self.text.encode()
        return gzip.compress(plain) if self.packed else plain


@contextmanager
def page(text: str | bytes = "", kind: str = TEXT, certificate: Path | None = None) -> Iterator[Page]:
    """Serve it until the end of the block; a request that hangs then is let go of.

    With a `certificate`, which has its key in the same file, over TLS.
    """
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            shown.asked.append({name.lower(): value for name, value in self.headers.items()})
            while shown.hangs.is_set() and not over.wait(0.02):
                pass
            known = self.path in shown.paths
            body = shown.body() if known else b"not found"
            self.send_response(shown.status if known else 404)
            packed = {"Content-Encoding": "gzip"} if shown.packed else {}
            head = {"Content-Type": shown.kind, "Content-Length": str(len(body)), **packed, **shown.headers}
            for name, value in head.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # who has waited long enough hangs up
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    shown = Page(f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}", text, kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield shown
    finally:
        over.set()
        server.shutdown()
        thread.join(10)
        server.server_close()
