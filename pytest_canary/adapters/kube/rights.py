"""What we may do in a namespace, and how an administrator lets us do more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pytest_canary.adapters.kube.names import Json

Needed = Mapping[tuple[str, str], str]
"""(API group, resource) -> verbs, with spaces between them."""
ROLE = "pytest-canary-more"
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
DOCUMENT = "docs/kubernetes.md lists all that is needed"


class Reviewed(Protocol):
    """Whoever can ask the authorizers of a cluster."""

    namespace: str

    def review(self, kind: str, spec: Json) -> Json:
        """What they say about ourselves."""


def lacking(cluster: Reviewed, needed: Needed, namespace: str | None = None) -> Iterator[str]:
    """One line for each resource to which we may not do all that is ``needed``."""
    where = namespace or cluster.namespace
    told = cluster.review("SelfSubjectRulesReview", {"namespace": where})
    rules, whole = list(told.get("resourceRules") or []), not told.get("incomplete")
    for (group, resource), verbs in needed.items():
        asked = [verb for verb in verbs.split() if not allows(rules, group, resource, verb)]
        # Some authorizers cannot list, and answer only one question at a time.
        if missing := [verb for verb in asked if whole or not _may(cluster, group, resource, verb, where)]:
            yield _line(group, resource, missing, where)


def _may(cluster: Reviewed, group: str, resource: str, verb: str, namespace: str) -> bool:
    asked = {"group": group, "resource": resource, "verb": verb, "namespace": namespace}
    return bool(cluster.review("SelfSubjectAccessReview", {"resourceAttributes": asked}).get("allowed"))


def allows(rules: Iterable[Json], group: str, resource: str, verb: str) -> bool:
    """Whether one of ``rules`` lets ``verb`` be done to ``resource``, to any or to some by name."""
    return any(
        {"*", verb} & set(rule.get("verbs") or [])
        and {"*", group} & set(rule.get("apiGroups") or [])
        and {"*", resource} & set(rule.get("resources") or [])
        for rule in rules
    )


def _line(group: str, resource: str, verbs: Sequence[str], namespace: str) -> str:
    kind = f"{resource}.{group}" if group else resource
    return (
        f"we may not {', '.join(verbs)} {kind} in namespace {namespace}; "
        f"{_grant(group, resource, ','.join(verbs), namespace)}"
    )


def _grant(group: str, resource: str, verbs: str, namespace: str) -> str:
    kind = f"{resource}.{group}" if group else resource
    role, where = ("role", f" -n {namespace}") if namespace else ("clusterrole", "")
    return (
        f"an administrator can allow it: kubectl{where} create {role} {ROLE} --verb={verbs} --resource={kind}, "
        f"and bind it; {DOCUMENT}"
    )


def grant_for(method: str, path: str) -> str:
    """What an administrator types, so that a request that was refused is not next time."""
    parts = path.strip("/").split("/")
    group, rest = (parts[1], parts[3:]) if parts[0] == "apis" else ("", parts[2:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    verb = VERBS.get(method) or ("get" if len(rest) > 1 else "list")
    return _grant(group, rest[0], verb, namespace)
