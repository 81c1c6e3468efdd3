"""What a target says about its Kubernetes platform."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class KubernetesOptions(BaseModel):
    """Where the stable build runs, and how we get there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field(pattern=NAME, max_length=63)
    deployment: str = Field(pattern=NAME, max_length=200)
    """The stable Deployment; the canary is a clone of it."""
    service: str | None = Field(default=None, pattern=NAME)
    """The stable Service; the Deployment's name when left out."""
    port: str | None = None
    """Name or number of the Service's port that users reach; its only one, or its first, when left out."""
    container: str | None = None
    """Which container has the image; the one named like the Deployment, or the first, when left out."""
    context: str | None = None
    """A context of the kubeconfig; its current one when left out."""
    kubeconfig: str | None = None
    """A file, relative to the rollout.yaml; $KUBECONFIG, ~/.kube/config or what a pod is given when left out."""
    reach: Literal["auto", "direct", "port-forward"] = "auto"
    """How probes get to a canary: by its address, through the API server, or whichever works from here."""
    replicas: int | None = Field(default=None, ge=1)
    """With how many pods a canary begins; ``canary.replicas`` of the rollout comes first."""
    insecure_registry: bool = False
    """Whether the registry is asked by plain HTTP."""
