"""The cluster that all tests share, and a place to ship to in it."""

from __future__ import annotations

import pytest

from tests.cluster.fixtures import cluster, namespace
from tests.production.shop import Shop

__all__ = ["cluster", "namespace", "shop"]


@pytest.fixture
def shop(cluster, tmp_path):
    """The demo gateway, stable at v1, in a namespace of its own."""
    with Shop.opened(cluster, tmp_path) as made:
        yield made
