"""What tests put into a cluster: a namespace, and a service with a route of its own."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.console import wait

_SERVED_IN_A_ROW = 5
"""A proxy is several workers; each of them is to know the route."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is installed; the route has its name, and so have the Deployment and the Service."""

    cluster: Cluster
    namespace: str
    name: str
    host: str
    image: str

    def ask(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of one request through the Gateway; ``x_role="a"`` is the header ``x-role: a``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.cluster.gateway + path, data, {"Host": self.host, **named})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


def namespace(cluster: Cluster) -> str:
    """A fresh namespace in which pods can be made at once; to wait for its end would take longer than most tests."""
    name = f"t-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    # Before it has these two, pods are refused.
    needed = ("get", "serviceaccount/default", "configmap/kube-root-ca.crt", "-o", "name")
    wait(f"namespace {name}", lambda: cluster.kubectl("-n", name, *needed))
    return name


def install(
    cluster: Cluster,
    namespace: str,
    image: str,
    *,
    name: str = "inference-gateway",
    replicas: int = 2,
    port: int = 8080,
    ready: str = "/health",
    metrics_port: int | None = None,
    extra: Mapping[str, Any] | None = None,
    seconds: float = 60,
) -> Service:
    """Install ``image`` as the stable version of ``name`` and return once the Gateway serves it.

    ``image`` is ``name:tag`` of our registry, or the whole name; ``extra`` is merged into the Deployment.
    """
    full = image if "/" in image else f"{cluster.registry}/{image}"
    made = Service(cluster, namespace, name, f"{namespace}.example", full)
    deployment = _deployment(made, replicas, port, ready, metrics_port or port)
    cluster.apply(merged(deployment, extra or {}), _service(made), _route(made))
    workload = f"deployment/{name}"
    cluster.kubectl("-n", namespace, "rollout", "status", workload, f"--timeout={seconds:.0f}s")
    wait(f"the route of {name}", lambda: all(_serves(made, ready) for _ in range(_SERVED_IN_A_ROW)), seconds)
    return made


def merged(whole: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """``whole`` with ``part`` in it: mappings are merged, everything else is replaced."""
    both = {key: merged(whole[key], part[key]) for key in part if _mappings(whole.get(key), part[key])}
    return {**whole, **part, **both}


def _mappings(*values: object) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _serves(service: Service, path: str) -> bool:
    return service.ask(path)[0] == 200


def _deployment(service: Service, replicas: int, port: int, ready: str, metrics_port: int) -> dict[str, Any]:
    labels = {"app": service.name}
    container = {
        "name": service.name,
        "image": service.image,
        "ports": [{"name": "http", "containerPort": port}],
        # On a busy machine an answer may take longer than the second that is the default.
        "readinessProbe": {"httpGet": {"path": ready, "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        # New connections stop a moment after the pod has left its Service; until then it serves.
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    }
    scrape = {"prometheus.io/scrape": "true", "prometheus.io/port": str(metrics_port)}
    template = {
        "metadata": {"labels": labels, "annotations": scrape},
        "spec": {"terminationGracePeriodSeconds": 20, "containers": [container]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", service, spec)


def _service(service: Service) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return _object("v1", "Service", service, {"selector": {"app": service.name}, "ports": ports})


def _route(service: Service) -> dict[str, Any]:
    """Two rules: a rollout moves the traffic of the first, and whatever else is here stays as it is."""
    backends = [{"name": service.name, "port": 80}]
    marked = {
        "matches": [{"headers": [{"name": "x-debug", "value": "1"}]}],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [_DEBUGGED]}}],
        "backendRefs": backends,
    }
    gateway = {"name": service.cluster.gateway_name, "namespace": service.cluster.gateway_namespace}
    spec = {"parentRefs": [gateway], "hostnames": [service.host], "rules": [{"backendRefs": backends}, marked]}
    return _object("gateway.networking.k8s.io/v1", "HTTPRoute", service, spec)


_DEBUGGED = {"name": "x-debugged", "value": "yes"}


def _object(version: str, kind: str, service: Service, spec: dict[str, Any]) -> dict[str, Any]:
    about = {"name": service.name, "namespace": service.namespace, "labels": {"app": service.name}}
    return {"apiVersion": version, "kind": kind, "metadata": about, "spec": spec}
