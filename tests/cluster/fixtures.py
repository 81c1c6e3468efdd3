"""Fixtures that any folder of tests may import into its conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import node
from tests.cluster.cluster import Cluster
from tests.cluster.console import Unavailable
from tests.cluster.sharing import leave, running
from tests.cluster.workload import namespace as fresh


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that all tests share; where none can be run they fail, and say why: nothing is skipped unseen."""
    why = ""
    try:
        yield running()
    except Unavailable as reason:
        why = f"{reason}; `scripts/test --no-cluster` leaves these tests out and says so"
    if why:  # not in the handler above: one line is all there is to say
        pytest.fail(why, pytrace=False)
    if leave():
        assert node.left() == [], "the cluster left something on this machine"


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own; nobody waits for its end."""
    name = fresh(cluster)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
