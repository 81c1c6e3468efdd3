"""A stable Deployment and Service -> those of a copy beside them: what is kept, what is not, what is its own."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from pytest_canary.adapters.kube import LABEL, Json, short
from pytest_canary.adapters.kubernetes.selectors import hidden
from pytest_canary.ports import Change, Revision

ROLE = "pytest-canary/role"
PIN = "pytest-canary/pin"
LONGEST = 46
"""Of a Deployment's name, so that the names of its pods have it whole: they are cut to 58 letters, and five follow."""
MARKS = re.compile(
    r"^(kubectl\.kubernetes\.io/(last-applied-configuration|restartedAt)"
    r"|deployment\.kubernetes\.io/|pv\.kubernetes\.io/|field\.cattle\.io/|service\.(beta\.)?kubernetes\.io/"
    r"|cloud\.google\.com/|(metallb|external-dns)\.|meta\.helm\.sh/|helm\.sh/|app\.kubernetes\.io/(managed-by|instance)$"
    r"|argocd\.argoproj\.io/|kustomize\.toolkit\.fluxcd\.io/|helm\.toolkit\.fluxcd\.io/|keel\.sh/|reloader\.)"
)
"""Labels and annotations by which a controller knows what is its own: it would take a copy with them away."""


def name_of(deployment: str, revision: Revision) -> str:
    """What the Deployment and the Service of a copy are called."""
    return short(f"{deployment}-{revision.copy or 'canary'}", LONGEST)


def container_of(template: Json, deployment: str, wanted: str | None) -> Json:
    """The container that has the image."""
    containers: list[Json] = template["spec"]["containers"]
    if wanted is not None:
        return next(one for one in containers if one["name"] == wanted)
    return next((one for one in containers if one["name"] == deployment), containers[0])


def put(container: Json, image: str, change: Change) -> None:
    """Let ``container`` run ``image`` with what ``change`` says; everything else stays.  Twice is as once."""
    container["image"] = image
    names, args = dict(change.env), container.get("args") or []
    if any(one not in (container.get("env") or []) for one in _env(change)):
        kept = [one for one in container.get("env") or [] if one["name"] not in names]
        container["env"] = [*kept, *_env(change)]
    if change.args and not _ends(args, change):
        container["args"] = [*args, *change.args]


def has(container: Json, change: Change) -> bool:
    """Whether ``container`` runs with what ``change`` says."""
    env = container.get("env") or []
    return all(one in env for one in _env(change)) and _ends(container.get("args") or [], change)


def _env(change: Change) -> list[Json]:
    return [{"name": name, "value": value} if value else {"name": name} for name, value in change.env]


def _ends(args: Sequence[str], change: Change) -> bool:
    return not change.args or list(args[-len(change.args) :]) == list(change.args)


def selector(deployment: str, revision: Revision) -> dict[str, str]:
    """What chooses the pods of a copy, and nothing else."""
    return {LABEL: short(deployment), ROLE: revision.copy or "canary"}


def deployment(
    stable: Json, revision: Revision, image: str, container: str | None, replicas: int, foreign: Sequence[Json]
) -> Json:
    """The Deployment of a copy.

    ``foreign`` are selectors of Services, disruption budgets and network policies of the namespace: labels by which one
    of them would catch the pods of the copy get another value.
    """
    named = stable["metadata"]["name"]
    own = selector(named, revision)
    template = copy.deepcopy(stable["spec"]["template"])
    about = template.setdefault("metadata", {})
    labels = _kept(about.get("labels"))
    selectors = [stable["spec"]["selector"], *foreign]
    about["labels"] = {**hidden(labels, selectors, revision.copy or "canary"), **own}
    about["annotations"] = {**_kept(about.get("annotations")), PIN: revision.pin}
    about.pop("creationTimestamp", None)
    # A copy that is no canary has what the stable build has, and nothing new.
    put(container_of(template, named, container), image, Change() if revision.copy else revision.change)
    spec = {
        name: copy.deepcopy(value)
        for name, value in stable["spec"].items()
        if name in ("minReadySeconds", "progressDeadlineSeconds", "strategy")
    }
    spec |= {"replicas": replicas, "revisionHistoryLimit": 0, "selector": {"matchLabels": own}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name_of(named, revision),
            "labels": {**_kept(stable["metadata"].get("labels")), **own},
            "annotations": {**_kept(stable["metadata"].get("annotations")), PIN: revision.pin},
        },
        "spec": spec,
    }


def service(stable: Json, deployment: str, revision: Revision) -> Json:
    """The Service of a copy: the same ports, its own pods, reached from within the cluster alone."""
    own = selector(deployment, revision)
    spec = stable["spec"]
    ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec["ports"]]
    kept = {key: spec[key] for key in ("sessionAffinity", "ipFamilyPolicy", "publishNotReadyAddresses") if key in spec}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name_of(deployment, revision),
            "labels": {**_kept(stable["metadata"].get("labels")), **own},
            "annotations": _kept(stable["metadata"].get("annotations")),
        },
        "spec": {**kept, "type": "ClusterIP", "ports": ports, "selector": own},
    }


def _kept(told: Any) -> dict[str, str]:
    return {key: value for key, value in (told or {}).items() if not MARKS.match(key)}
