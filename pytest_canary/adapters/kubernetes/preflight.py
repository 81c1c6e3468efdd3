"""What is wrong in the cluster before anything is changed: objects, owners, rights."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_canary.adapters.kube import Cluster, Needed, Refused, lacking, no_namespace, owner
from pytest_canary.adapters.kubernetes.backends import Backend
from pytest_canary.adapters.kubernetes.options import KubernetesOptions
from pytest_canary.adapters.kubernetes.selectors import chooses, of_service
from pytest_canary.adapters.kubernetes.workload import Workload
from pytest_canary.errors import AdapterError

NEEDED: Needed = {
    ("apps", "deployments"): "get list create update patch delete",
    ("apps", "replicasets"): "list",
    ("", "services"): "get list create delete",
    ("discovery.k8s.io", "endpointslices"): "list",
    ("", "pods"): "get list",
    ("", "events"): "list",
    ("autoscaling", "horizontalpodautoscalers"): "list patch",
    ("policy", "poddisruptionbudgets"): "list",
}
"""(API group, resource) -> verbs of the platform; what the router and the ledger need is theirs to say."""


def missing(cluster: Cluster, workload: Workload, options: KubernetesOptions) -> list[str]:
    """One line for each thing that would keep a rollout from working, with what mends it."""
    try:
        if nowhere := no_namespace(cluster, cluster.namespace):
            return [nowhere]
        lines = list(lacking(cluster, _needed(options))) or list(_objects(cluster, workload, options))
    except AdapterError as error:
        return [str(error)]
    return lines


def _objects(cluster: Cluster, workload: Workload, options: KubernetesOptions) -> Iterator[str]:
    deployment = workload.read()
    workload.container(deployment)
    if deployment["spec"].get("paused"):
        yield (
            f"Deployment {workload.name} is paused, so a promotion would never arrive; "
            f"type `kubectl -n {cluster.namespace} rollout resume deployment/{workload.name}`"
        )
    if other := owner(deployment):
        yield (
            f"Deployment {workload.name} belongs to {other}, which would undo what we do; "
            "let one of the two do the rollout"
        )
    name = options.service or workload.name
    service = cluster.get("services", name)
    if service is None:
        yield (
            f"there is no Service {name} in namespace {cluster.namespace}; name it: `platform.kubernetes.service` "
            f"(`kubectl -n {cluster.namespace} get services`)"
        )
        return
    labels = (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}
    if not chooses(of_service(service), labels):
        yield (
            f"Service {name} does not choose the pods of Deployment {workload.name}; mend `platform.kubernetes.service`"
        )
        return
    Backend(service, workload.name).port(options.port)


def architectures(cluster: Cluster) -> frozenset[str]:
    """Those of the nodes; empty where we may not look."""
    try:
        nodes = cluster.find("nodes")
    except Refused as error:
        if error.status == 403:
            return frozenset()
        raise
    return frozenset(str(node["status"]["nodeInfo"]["architecture"]) for node in nodes)


def _needed(options: KubernetesOptions) -> Needed:
    tunnel: Needed = {("", "pods/portforward"): "get create"}
    return {**NEEDED, **tunnel} if options.reach == "port-forward" else NEEDED
