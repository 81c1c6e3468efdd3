"""Where things lie and what has which address."""

from __future__ import annotations

import hashlib
import os
from functools import cache as once
from pathlib import Path

from tests.cluster import pins

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

STATE = Path("/tmp/pytest-canary-cluster")
"""All of one cluster; short, because a path of a unix socket has at most 107 bytes."""
RUN, LOG, PKI = STATE / "run", STATE / "log", STATE / "pki"
ADMIN, CONTEXT = STATE / "admin.kubeconfig", "pytest-canary"
TARGETS = STATE / "targets.json"
READY = STATE / "ready"
"""There when everything was ready once."""

HIDDEN = ("/run", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
"""Where containerd, its network plugins and kubelet write whatever they are told; inside, these are folders of ours."""

LINK, UPLINK = "canary0", "uplink"
HOST, NODE, NAME = "10.123.0.1", "10.123.0.2", "node1"
PODS, SERVICES = "10.244.0.0/16", "10.96.0.0/16"
KUBERNETES_IP, DNS_IP, CONTOUR_IP, ENVOY_IP = "10.96.0.1", "10.96.0.10", "10.96.0.20", "10.96.0.21"
API, REGISTRY, PROMETHEUS = f"https://{NODE}:6443", f"{NODE}:5000", f"http://{NODE}:9090"
GATEWAY, GATEWAY_NAMESPACE, GATEWAY_NAME = f"http://{ENVOY_IP}", "projectcontour", "contour"

CGROUP = "pytest-canary-cluster"
"""The cgroup above all pods, so that no other kubelet of the machine is met."""


def caches() -> Path:
    """The folder of all caches, of whatever versions."""
    given = os.environ.get("CANARY_CLUSTER_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else home / "pytest-canary" / "cluster"


@once
def cache() -> Path:
    """The folder of what these pins and these sources give."""
    told = hashlib.sha256(repr(sorted((k, v) for k, v in vars(pins).items() if k.isupper())).encode())
    for source in (HERE / "pause" / "main.go", *sorted((HERE / "servers").iterdir())):
        told.update(f"{source.name}\0".encode() + source.read_bytes())
    return caches() / told.hexdigest()[:12]


def binaries() -> Path:
    """The folder of all programs that are built, and of the wrappers of those that are unpacked."""
    return cache() / "bin"
