"""How a probe gets from here to the pods of one build, past the router: directly, or through the API server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from pytest_canary.adapters.kube import Cluster, Json
from pytest_canary.errors import AdapterError

TRY_SECONDS = 1.0
REFUSED_SECONDS = 3.0
AGAIN_SECONDS = 0.05
CHUNK = 1 << 16
GOODBYE_SECONDS = 0.5
END_SECONDS = 2.0
"""How long one connection may take to end."""


def answers(host: str, port: int) -> bool:
    """Whether somebody takes connections there, as seen from here.

    Who is refused has found the way: a Service learns of its first pod a moment after the pod is ready.
    """
    until = time.monotonic() + REFUSED_SECONDS
    while True:
        try:
            with socket.create_connection((host, port), timeout=TRY_SECONDS):
                return True
        except ConnectionRefusedError:
            if time.monotonic() >= until:
                return False
            time.sleep(AGAIN_SECONDS)
        except OSError:
            return False


def pod_port(service_port: Json, pod: Json) -> int:
    """The number of the port in ``pod`` that a port of a Service means."""
    target = service_port.get("targetPort", service_port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == target:
                return int(port["containerPort"])
    raise AdapterError(f"pod {pod['metadata']['name']} has no port named {target!r}, which its Service asks for")


class Tunnel:
    """A port on loopback whose connections end in ready pods, in turn, through the API server's port-forward.

    ``pods`` gives those that are ready now, as (name, port).
    """

    def __init__(self, cluster: Cluster, pods: Callable[[], list[tuple[str, int]]]) -> None:
        self._cluster, self._pods, self._turn = cluster, pods, count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock, self._closed = threading.Lock(), False
        self._open: set[Any] = set()
        self._threads: set[threading.Thread] = set()
        self._start(self._accept)

    def close(self) -> None:
        """Take no more connections, end those there are, and return when nothing of them is left.  Safe to repeat."""
        with self._lock:
            self._closed = True
            ends, threads = list(self._open), list(self._threads)
        for one in (self._listener, *ends):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # closing alone wakes nobody
        for thread in threads:
            thread.join(END_SECONDS)
        self._listener.close()

    def _start(self, act: Callable[..., None], *args: Any) -> threading.Thread | None:
        """A thread that is waited for at the end; None when that has come."""

        def run() -> None:
            try:
                act(*args)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name="canary-tunnel", daemon=True)
        with self._lock:
            if self._closed:
                return None
            self._threads.add(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._start(self._carry, near) is None:
                near.close()

    def _carry(self, near: socket.socket) -> None:
        try:
            far, forward = self._dial()
        except Exception:  # whatever the reason: to the probe it is a connection that was closed at once
            near.close()
            return
        wire = forward.websocket.sock
        with self._lock:
            late = self._closed
            self._open |= {near, far}
        back = None if late else self._start(_pump, far, near)
        if back is not None:
            _pump(near, far)
            back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()
        _hang_up(forward, wire)

    def _dial(self) -> tuple[Any, Any]:
        import kubernetes
        import kubernetes.stream as streams

        pods = self._pods()
        if not pods:
            raise AdapterError("no pod is ready")
        name, port = pods[next(self._turn) % len(pods)]
        client: Any = kubernetes.client
        opened: Any = streams
        # An API client of its own: the stream replaces a method of it for the time of the call.
        with client.ApiClient(self._cluster.configuration) as ours:
            api = client.CoreV1Api(ours)
            forward = opened.portforward(
                api.connect_get_namespaced_pod_portforward, name, self._cluster.namespace, ports=str(port)
            )
        return forward.socket(port), forward


def _hang_up(forward: Any, wire: Any) -> None:
    """End a port-forward, which says goodbye in a thread of its own; that may take longer than anybody waits."""
    until = time.monotonic() + GOODBYE_SECONDS
    while forward.websocket.sock is not None and time.monotonic() < until:
        time.sleep(AGAIN_SECONDS / 5)
    with suppress(Exception):
        wire.close()


def _pump(source: Any, sink: Any) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    # Neither side of a port-forward can be half closed: whoever ends, ends both.
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
