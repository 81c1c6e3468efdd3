"""Gives the tests of the cluster their fixtures."""

from tests.cluster.fixtures import cluster, namespace

__all__ = ["cluster", "namespace"]
