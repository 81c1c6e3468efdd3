"""What is wrong with the route before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_canary.adapters.gateway_api import route as routes
from pytest_canary.adapters.gateway_api.options import GatewayApiOptions
from pytest_canary.adapters.kube import LABEL, Cluster, Needed, lacking, no_namespace, owner
from pytest_canary.errors import AdapterError

ROUTE: Needed = {("gateway.networking.k8s.io", "httproutes"): "get patch"}
LEASE: Needed = {("coordination.k8s.io", "leases"): "get create update patch delete"}
GUARD: Needed = {("batch", "jobs"): "get create delete", ("", "pods"): "list"}
ACCOUNT: Needed = {
    ("", "serviceaccounts"): "get create delete",
    ("rbac.authorization.k8s.io", "roles"): "get create delete",
    ("rbac.authorization.k8s.io", "rolebindings"): "get create delete",
}
"""What a guard needs that is to have an account of its own."""


def missing(
    cluster: Cluster,
    options: GatewayApiOptions,
    namespace: str,
    stable: routes.Stable,
    against: Callable[[int], str],
) -> list[str]:
    """One line for each thing that would keep us from shifting traffic, with what mends it.

    ``against`` is what the gateway has against a generation of the route.
    """
    try:
        # The platform says the same of its own namespace, word for word, so that it is said once.
        if nowhere := [said for each in {namespace, cluster.namespace} if (said := no_namespace(cluster, each))]:
            return nowhere
        return list(_rights(cluster, options, namespace)) or list(_lines(cluster, options, namespace, stable, against))
    except AdapterError as error:
        return [str(error)]


def _rights(cluster: Cluster, options: GatewayApiOptions, namespace: str) -> Iterator[str]:
    needed = {**LEASE, **(GUARD if options.guard else {})}
    account = ACCOUNT if options.guard and options.guard.service_account is None else {}
    if namespace == cluster.namespace:
        yield from lacking(cluster, {**ROUTE, **needed, **account})
        return
    yield from lacking(cluster, {**needed, **account})
    yield from lacking(cluster, {**ROUTE, **{key: verbs for key, verbs in account.items() if key[0]}}, namespace)


def _lines(
    cluster: Cluster,
    options: GatewayApiOptions,
    namespace: str,
    stable: routes.Stable,
    against: Callable[[int], str],
) -> Iterator[str]:
    route = cluster.get("httproutes", options.route, namespace)
    if route is None:
        yield (
            f"there is no HTTPRoute {options.route} in namespace {namespace}; "
            f"`kubectl -n {namespace} get httproutes` lists what is there"
        )
        return
    if tool := owner(route):
        yield f"HTTPRoute {options.route} belongs to {tool}, which sets its weights; let one of the two do the rollout"
    if not list(routes.rules(route, stable)):
        named = {ref.get("name") for rule in route["spec"].get("rules") or [] for ref in rule.get("backendRefs") or []}
        yield (
            f"no rule of HTTPRoute {options.route} sends to Service {stable.service}; it names "
            f"{', '.join(sorted(map(str, named))) or 'none'}: mend `platform.kubernetes.service` or the route"
        )
        return
    for place, refs in routes.rules(route, stable):
        if sum(stable.named_by(ref, namespace) for ref in refs) > 1:
            yield (
                f"rule {place + 1} of HTTPRoute {options.route} names Service {stable.service} more than once; "
                "name it once, or give the second port a rule of its own"
            )
    for name in sorted(routes.strangers(route, stable)):
        service = cluster.get("services", name)
        if (
            service is not None
            and LABEL not in (service["metadata"].get("labels") or {})
            and _looks_split(name, stable)
        ):
            yield f"HTTPRoute {options.route} already splits to Service {name}, which is not ours; take it out first"
    if said := against(route["metadata"]["generation"]):
        yield (
            f"HTTPRoute {options.route} is not in order before we touch it: {said}; mend it, see "
            f"`kubectl -n {namespace} describe httproute {options.route}`"
        )


def _looks_split(name: str, stable: routes.Stable) -> bool:
    """Whether a Service is called what somebody's canary of the stable one would be."""
    return name in {f"{stable.service}-{word}" for word in ("canary", "primary", "preview", "control")}
