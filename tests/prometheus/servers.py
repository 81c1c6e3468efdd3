"""A real Prometheus, what it scrapes, and a proxy in front of it: on loopback, each ended by its own handle."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BINARY = Path(__file__).parents[2] / ".venv" / "foreign" / "prometheus"
CHAT = json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"}]})
WRONG = json.dumps({"messages": []})


@dataclass(frozen=True)
class Pod:
    """A place that is scraped, whether or not anything listens there."""

    namespace: str
    name: str
    port: int
    job: str = "second"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


def told(*pods: Pod) -> dict[str, str]:
    """What a router would tell of the role that these pods stand for."""
    return {
        "namespace": pods[0].namespace,
        "pod": "|".join(re.escape(pod.name) for pod in pods),
        "service": "gw",
        "port": "80",
        "deployment": "gw",
    }


@dataclass
class Prometheus:
    """A server that scrapes pods: those of the job `second` once a second, those of `quick` ten times.

    Those of `exporter` too, and what they say of other pods is theirs to say.
    """

    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    pods: list[Pod]
    later: Pod
    """A place that is not scraped as yet."""
    taken: list[Pod] = field(default_factory=list)

    def take(self, number: int = 1, job: str = "second") -> list[Pod]:
        """So many pods that no other test has."""
        free = [pod for pod in self.pods if pod.job == job and pod not in self.taken][:number]
        assert len(free) == number, "too few pods; raise their number"
        self.taken += free
        return free

    def ask(self, query: str) -> list[dict[str, object]]:
        """What an instant query answers."""
        with_query = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        parts = urllib.parse.urlsplit(with_query)
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        with closing(connection):
            connection.request("GET", f"{parts.path}?{parts.query}")
            answered = json.loads(connection.getresponse().read())
        assert answered["status"] == "success", answered
        return answered["data"]["result"]

    def wait(self, pod: Pod, since: float | None = None, up: bool = True, seconds: float = 20) -> None:
        """Until a scrape of `pod` that began after `since` (wall time; now) is there."""
        since = time.time() if since is None else since
        scraped = f'up{{namespace="{pod.namespace}",pod="{pod.name}"}}'
        # timestamp() knows the time of a scrape only of a plain selector.
        query = f"timestamp({scraped}) > {since:.3f} and {scraped} == {int(up)}"
        until(lambda: self.ask(query), seconds, f"a scrape of {pod}")


def until(true: Callable[[], object], seconds: float = 20, what: str = "it") -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


@contextmanager
def prometheus(folder: Path, pods: Mapping[str, int]) -> Iterator[Prometheus]:
    """Started with so many pods of each job; it takes some seconds until the first scrape."""
    assert BINARY.exists(), f"{BINARY} is not there; type scripts/foreign"
    with ExitStack() as held:
        places = [
            Pod("test", f"{job}-{nth}", _held_port(held), job) for job, number in pods.items() for nth in range(number)
        ]
        port = _held_port(held)
        configure(folder, [(pod, {}) for pod in places])
        later = Pod("test", "later", _held_port(held), "quick")
        with _running(folder, port, "--scrape.discovery-reload-interval=100ms") as process:
            server = Prometheus(f"http://127.0.0.1:{port}", process, folder, places, later)
            until(lambda: _answers(server), 30, "Prometheus")
            yield server


@contextmanager
def prometheus_of(config: Path) -> Iterator[Prometheus]:
    """Started with a user's own prometheus.yml, as a user would."""
    assert BINARY.exists(), f"{BINARY} is not there; type scripts/foreign"
    with ExitStack() as held:
        port = _held_port(held)
        with _running(config.parent, port) as process:
            server = Prometheus(f"http://127.0.0.1:{port}", process, config.parent, [], Pod("", "", 0))
            until(lambda: _answers(server), 60, "Prometheus")
            yield server


@contextmanager
def _running(folder: Path, port: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        str(BINARY),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        *more,
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(20)


def configure(folder: Path, targets: list[tuple[Pod, dict[str, str]]]) -> None:
    """Write what is scraped; a running server takes it up within five seconds."""
    intervals = {"second": "1s", "quick": "250ms", "exporter": "250ms"}
    jobs = [
        {
            "job_name": job,
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "honor_labels": job == "exporter",  # it tells of others, by their names
            "file_sd_configs": [{"files": [str(folder / f"{job}.json")]}],
        }
        for job, interval in intervals.items()
    ]
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}))
    for job in intervals:
        told = [
            {"targets": [pod.target], "labels": {"namespace": pod.namespace, "pod": pod.name, **more}}
            for pod, more in targets
            if pod.job == job
        ]
        aside = folder / f"{job}.json.new"
        aside.write_text(json.dumps(told))
        aside.rename(folder / f"{job}.json")


@contextmanager
def gateway(pod: Pod, build: str = "v1") -> Iterator[subprocess.Popen[bytes]]:
    """The demo gateway in a pod's place."""
    command = [sys.executable, "-m", "pytest_canary.demo", f"--port={pod.port}", f"--build={build}", "--seed=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline().startswith(b"build ")
            yield process
        finally:
            process.kill()
            process.wait(20)


def chat(pod: Pod, requests: int, body: str = CHAT) -> list[int]:
    """Send so many chats, ten at once; the statuses."""

    def one(_: int) -> int:
        connection = http.client.HTTPConnection(pod.target, timeout=20)
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    with ThreadPoolExecutor(10) as pool:
        return list(pool.map(one, range(requests)))


class Exposed:
    """Says exactly the metrics that a test wants, in a pod's place."""

    def __init__(self, pod: Pod) -> None:
        self.pod, self.text = pod, ""

    def __call__(self) -> str:
        return self.text


@contextmanager
def exposing(pod: Pod, text: str | Callable[[], str]) -> Iterator[Exposed]:
    """Serve `text` to whoever scrapes; `.text` changes it."""
    exposed = Exposed(pod)
    exposed.text = text if isinstance(text, str) else ""
    say = text if callable(text) else exposed

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = say().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    with _serving(Handler, pod.port):
        yield exposed


@dataclass
class Proxy:
    """In front of Prometheus; `asked` are the requests that came: path with query, headers."""

    url: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    longest: int = 0
    """Characters of the longest address."""


@contextmanager
def proxy(
    server: Prometheus, lets_in: Callable[[Mapping[str, str]], int] = lambda _: 200, certificate: Path | None = None
) -> Iterator[Proxy]:
    """Asks `server` for those whose headers `lets_in` answers with 200, and answers that status to the others.

    With a `certificate`, which has its key in the same file, over TLS.
    """
    place = urllib.parse.urlsplit(server.url).netloc
    shown: list[Proxy] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(f"{self.path}?{body}", len(self.path))

        def do_GET(self):
            self._answer(self.path, len(self.path))

        def _answer(self, path, length):
            shown[0].asked.append((path, dict(self.headers)))
            shown[0].longest = max(length, shown[0].longest)
            status = lets_in({name.lower(): value for name, value in self.headers.items()})
            body = b"<html>log in</html>"
            if status == 200:
                upstream = http.client.HTTPConnection(place, timeout=10)
                upstream.request("GET", path)
                answer = upstream.getresponse()
                status, body = answer.status, answer.read()
                upstream.close()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/login")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    with _serving(Handler, 0, certificate) as port:
        shown.append(Proxy(f"http{'s' if certificate else ''}://127.0.0.1:{port}"))
        yield shown[0]


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], port: int, certificate: Path | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.handle_error = lambda *_: None  # who does not like our certificate hangs up
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def _held_port(held: ExitStack) -> int:
    """A free port that nobody else is given, and on which we may still listen."""
    holder = held.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder.getsockname()[1]


def _answers(server: Prometheus) -> bool:
    assert server.process.poll() is None, (server.folder / "log").read_text()
    with suppress(OSError, http.client.HTTPException, ValueError):  # not ready: 503 and no JSON
        return bool(server.ask("vector(1)"))
    return False
