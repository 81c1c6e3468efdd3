"""What every adapter of a Kubernetes cluster shares: its API server, and what our things there are called."""

from pytest_canary.adapters.kube.cluster import Cluster
from pytest_canary.adapters.kube.errors import Changed, Refused, Unreachable
from pytest_canary.adapters.kube.names import HANDLE, LABEL, LONGEST, Json, beside, lease_name, short
from pytest_canary.adapters.kube.namespaces import no_namespace
from pytest_canary.adapters.kube.owners import owner
from pytest_canary.adapters.kube.rights import Needed, lacking

__all__ = [
    "HANDLE",
    "LABEL",
    "LONGEST",
    "Changed",
    "Cluster",
    "Json",
    "Needed",
    "Refused",
    "Unreachable",
    "beside",
    "lacking",
    "lease_name",
    "no_namespace",
    "owner",
    "short",
]
