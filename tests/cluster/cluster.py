"""A cluster, as tests see it: addresses, and kubectl."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import images, places, registry, settings
from tests.cluster.console import Broken, sh


@dataclass(frozen=True, slots=True)
class Cluster:
    """One Kubernetes with a Gateway, a Prometheus and a registry, all of which this machine reaches."""

    kubeconfig: Path
    context: str
    gateway: str
    """Base URL of the Gateway; the Host header chooses the route."""
    prometheus: str
    registry: str
    """Host and port of the registry, under one name for this machine and for the node."""
    program: Path
    """kubectl."""
    gateway_namespace: str = places.GATEWAY_NAMESPACE
    gateway_name: str = places.GATEWAY_NAME
    audit: Path | None = None
    """One line of JSON for each write that a person or a test made, where the cluster keeps such a log."""

    def kubectl(self, *words: object, stdin: str | None = None) -> str:
        """What kubectl writes; what it complains of is raised as Broken."""
        return sh(self.program, "--kubeconfig", self.kubeconfig, "--context", self.context, *words, stdin=stdin)

    def get(self, *words: object) -> Any:
        """What ``kubectl get ... -o json`` says."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects on the server's side."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--field-manager=tests", "-f", "-", stdin=json.dumps(listed))

    def image(self, name: str) -> str:
        """``name:tag`` as the node pulls it, by digest."""
        repository, _, tag = name.partition(":")
        digest = registry.find(self.registry, repository, tag)
        if digest is None:
            raise Broken(f"the registry at {self.registry} has no {name}")
        return f"{self.registry}/{repository}@{digest}"

    def push_again(self, like: str, tag: str, **changes: Any) -> str:
        """Push ``like`` once more as another tag, with another ``env`` or ``architecture``; its name by digest."""
        return images.push_again(self.registry, like, tag, **changes)


def ours() -> Cluster:
    """The cluster that this folder starts."""
    return Cluster(
        kubeconfig=places.ADMIN,
        context=places.CONTEXT,
        gateway=places.GATEWAY,
        prometheus=places.PROMETHEUS,
        registry=places.REGISTRY,
        program=places.binaries() / "kubectl",
        audit=settings.AUDIT_LOG,
    )
