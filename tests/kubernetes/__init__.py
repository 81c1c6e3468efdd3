"""Tests of the Kubernetes adapters on a real cluster, each module in a namespace of its own."""
