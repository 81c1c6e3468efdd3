"""Whether a namespace is there: one line that all who miss something in it share."""

from __future__ import annotations

from pytest_canary.adapters.kube.cluster import Cluster
from pytest_canary.adapters.kube.errors import Refused


def no_namespace(cluster: Cluster, name: str) -> str:
    """What to type where there is no namespace ``name``; empty where there is, or where that is kept from us."""
    try:
        if cluster.get("namespaces", name) is not None:
            return ""
    except Refused:
        return ""
    return f"there is no namespace {name}; `kubectl get namespaces` lists what is there"
