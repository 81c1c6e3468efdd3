"""A real Kubernetes of one node for tests, made of pinned parts: ``python -m tests.cluster up``."""

from tests.cluster.cluster import Cluster
from tests.cluster.images import push_again
from tests.cluster.sharing import running
from tests.cluster.workload import Service, install, namespace

__all__ = ["Cluster", "Service", "install", "namespace", "push_again", "running"]
