"""What our things in a cluster are called and marked with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]

LABEL = "pytest-canary/rollout"
"""Everything that is ours in a cluster carries it; its value is the stable Deployment's name."""
HANDLE = "kubernetes"
LONGEST = 63
APIS: Mapping[str, str] = {
    "pods": "api/v1",
    "services": "api/v1",
    "events": "api/v1",
    "namespaces": "api/v1",
    "secrets": "api/v1",
    "serviceaccounts": "api/v1",
    "nodes": "api/v1",
    "deployments": "apis/apps/v1",
    "replicasets": "apis/apps/v1",
    "jobs": "apis/batch/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "endpointslices": "apis/discovery.k8s.io/v1",
    "poddisruptionbudgets": "apis/policy/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "horizontalpodautoscalers": "apis/autoscaling/v2",
    "roles": "apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "apis/rbac.authorization.k8s.io/v1",
    "httproutes": "apis/gateway.networking.k8s.io/v1",
    "gateways": "apis/gateway.networking.k8s.io/v1",
}
CLUSTER_WIDE = frozenset({"namespaces", "nodes"})


def beside(file: str | None, home: Path) -> str | None:
    """A file that options name, relative to the rollout.yaml's folder ``home``."""
    return str(home / Path(file).expanduser()) if file else file


def short(name: str, most: int = LONGEST) -> str:
    """``name``, or its beginning and a hash, where it would be too long for a label or a pod."""
    if len(name) <= most:
        return name
    return f"{name[: most - 9].rstrip('-.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def lease_name(route: str) -> str:
    """What the Lease is called that holds the rollout of a route."""
    return short(f"pytest-canary-{route}")


def path_of(kind: str, name: str, namespace: str) -> str:
    """Where the API server has a kind of objects, or one of them."""
    where = "" if kind in CLUSTER_WIDE else f"/namespaces/{namespace}"
    return f"/{APIS[kind]}{where}/{kind}" + (f"/{name}" if name else "")
