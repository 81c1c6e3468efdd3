"""Revisions as Deployments of a Kubernetes cluster."""

from collections.abc import Mapping

from pytest_canary.adapters.kubernetes.platform import KubernetesPlatform

OFFERS: Mapping[str, type] = {"platform": KubernetesPlatform}

__all__ = ["OFFERS", "KubernetesPlatform"]
