"""Where the pods of a build are: its Service, its labels for a metric source, and an address to ask it directly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pytest_canary.adapters.kube import Cluster, Json
from pytest_canary.adapters.kubernetes.each import EachPod
from pytest_canary.adapters.kubernetes.options import KubernetesOptions
from pytest_canary.adapters.kubernetes.pods import is_ready
from pytest_canary.adapters.kubernetes.reach import Tunnel, answers, pod_port
from pytest_canary.adapters.kubernetes.selectors import query
from pytest_canary.errors import AdapterError

Where: TypeAlias = Callable[[int | None], Mapping[str, str]]
"""Port, or None for that of the users -> each pod's base URL by its name."""

HANDLE = "backends"
"""Under this name the router finds, by address, the labels of what is there."""


POD = 58
"""Letters that a pod's name has of its owner's; five that mean nothing follow."""
HASH = 10
"""The most letters that name a template, between two hyphens."""


def pods_of(deployment: str) -> str:
    """A regular expression of the names of a Deployment's pods."""
    if len(deployment) + HASH + 2 <= POD:
        return f"{re.escape(deployment)}-[^-]+-[^-]+"
    # Too long a name is cut, first the hyphen, then the hash, then itself.
    begin = f"{deployment}-"[:POD]
    return f"{re.escape(begin)}[a-z0-9-]{{5,{POD + 5 - len(begin)}}}"


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service and the Deployment behind it."""

    service: Json
    deployment: str

    @property
    def name(self) -> str:
        """Of the Service."""
        return str(self.service["metadata"]["name"])

    def port(self, wanted: str | None) -> Json:
        """The port that users reach: the one called or numbered ``wanted``, or the first."""
        ports: list[Json] = self.service["spec"]["ports"]
        for port in ports:
            if wanted is None or wanted in (port.get("name"), str(port["port"])):
                return port
        names = ", ".join(f"{port.get('name', '')} {port['port']}".strip() for port in ports)
        raise AdapterError(
            f"Service {self.name} has no port {wanted!r}; it has {names}: mend `platform.kubernetes.port`"
        )


class Backends:
    """Finds addresses and remembers them, for as long as this process lives."""

    def __init__(
        self, cluster: Cluster, options: KubernetesOptions, known: dict[str, dict[str, str]], pods: dict[str, Where]
    ) -> None:
        self._cluster, self._options, self._known, self._where = cluster, options, known, pods
        self._tunnels: dict[str, Tunnel] = {}
        self._each: dict[str, EachPod] = {}
        self._addresses: dict[str, str] = {}

    def address(self, name: str, deployment: str) -> str:
        """Base URL of the Service ``name`` as it is reached from here.

        Raises:
            AdapterError: there is no such Service, or ``reach: direct`` is asked for and nothing answers.

        """
        if name not in self._addresses:
            found = self._cluster.get("services", name)
            if found is None:
                raise AdapterError(
                    f"there is no Service {name} in namespace {self._cluster.namespace}; deploy it first"
                )
            backend = Backend(found, deployment)
            labels = self._labels(backend)
            direct = self._direct(backend)
            address = direct or self._through(backend)
            self._addresses[name], self._known[address] = address, labels
            pods, port = query(found["spec"].get("selector") or {}), backend.port(self._options.port)
            self._each[name] = EachPod(self._cluster, pods, port, direct=bool(direct))
            self._where[address] = self._each[name].where
        return self._addresses[name]

    def forget(self, name: str) -> None:
        """The Service is gone."""
        address = self._addresses.pop(name, "")
        self._known.pop(address, None)
        self._where.pop(address, None)
        if each := self._each.pop(name, None):
            each.close()
        if tunnel := self._tunnels.pop(name, None):
            tunnel.close()

    def close(self) -> None:
        """Let go of every tunnel.  Safe to repeat."""
        for name in list(self._addresses):
            self.forget(name)

    def _direct(self, backend: Backend) -> str:
        if self._options.reach == "port-forward":
            return ""
        host, port = backend.service["spec"].get("clusterIP") or "None", backend.port(self._options.port)["port"]
        if host != "None" and (self._options.reach == "direct" or answers(host, port)):
            return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        if self._options.reach == "direct":
            raise AdapterError(f"Service {backend.name} has no address of its own; write `reach: port-forward`")
        return ""

    def _through(self, backend: Backend) -> str:
        wanted = query(backend.service["spec"].get("selector") or {})
        port = backend.port(self._options.port)

        def ready() -> list[tuple[str, int]]:
            pods = [pod for pod in self._cluster.find("pods", wanted) if is_ready(pod)]
            return [(pod["metadata"]["name"], pod_port(port, pod)) for pod in pods]

        tunnel = self._tunnels[backend.name] = Tunnel(self._cluster, ready)
        return tunnel.address

    def _labels(self, backend: Backend) -> dict[str, str]:
        return {
            "namespace": self._cluster.namespace,
            "service": backend.name,
            "port": str(backend.port(self._options.port)["port"]),
            "deployment": backend.deployment,
            "pod": pods_of(backend.deployment),
        }
