"""Where each pod of a build is, for a source that asks pods one by one: at its own address, or through a tunnel."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from pytest_canary.adapters.kube import Cluster, Json
from pytest_canary.adapters.kubernetes.pods import is_ready
from pytest_canary.adapters.kubernetes.reach import Tunnel, pod_port

HANDLE = "replicas"
"""Under this name the router finds, by the address of a build, what tells where its pods are."""


class EachPod:
    """The ready pods behind one Service; those that are not ready take no requests, and the platform tells why."""

    def __init__(self, cluster: Cluster, selector: str, service_port: Json, *, direct: bool) -> None:
        self._cluster, self._selector, self._port, self._direct = cluster, selector, service_port, direct
        self._tunnels: dict[tuple[str, int], Tunnel] = {}
        self._lock, self._closed = Lock(), False

    def where(self, port: int | None) -> Mapping[str, str]:
        """Name -> base URL of each, at ``port`` or at the one that its Service sends to.

        Raises:
            AdapterError: the API server does not answer, or a pod has no such port.

        """
        pods = [pod for pod in self._cluster.find("pods", self._selector) if is_ready(pod)]
        ports = {pod["metadata"]["name"]: port or pod_port(self._port, pod) for pod in pods}
        if self._direct:
            return {
                name: _url(pod["status"]["podIP"], ports[name]) for pod in pods if (name := pod["metadata"]["name"])
            }
        with self._lock:
            gone = [key for key in self._tunnels if key not in ports.items()]
            ended = [self._tunnels.pop(key) for key in gone]
            for key in ports.items():
                if key not in self._tunnels and not self._closed:
                    self._tunnels[key] = Tunnel(self._cluster, lambda key=key: [key])  # type: ignore[misc]
            found = {name: tunnel.address for (name, _), tunnel in self._tunnels.items()}
        for tunnel in ended:
            tunnel.close()
        return found

    def close(self) -> None:
        """Let go of every tunnel.  Safe to repeat."""
        with self._lock:
            self._closed, ended, self._tunnels = True, [*self._tunnels.values()], {}
        for tunnel in ended:
            tunnel.close()


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
