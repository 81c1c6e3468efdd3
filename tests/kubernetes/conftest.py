"""The cluster that all tests share, and a service of the module's own in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import install
from tests.cluster import namespace as fresh
from tests.cluster.cluster import Cluster
from tests.cluster.fixtures import cluster, namespace
from tests.kubernetes.place import QUICK, Place

__all__ = ["cluster", "namespace", "place"]


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[Place]:
    """Two pods of podinfo behind a Service and a route; what tests add to it they take away."""
    name = fresh(cluster)
    service = install(cluster, name, "podinfo:6.9.0", name="podinfo", port=9898, ready="/readyz", extra=QUICK)
    yield Place(cluster, service)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def platform(place, tmp_path):
    """Started, and cleared away."""
    platform = place.platform(place.shared(tmp_path))
    platform.start()
    yield platform
    place.clear()
    platform.stop()
