"""The guard inside the cluster: a Job with the rights for one route and one Lease, there for the time of a rollout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pytest_canary.adapters.gateway_api.options import GatewayApiOptions
from pytest_canary.adapters.kube import LABEL, Changed, Cluster, Json, lease_name, short
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Shared

PROGRAM = Path(__file__).with_name("standing.py")
LOOK_SECONDS = 0.25
FINISHED_SECONDS = 600
POSTED = "guard"
"""The fact that names the Job, for whoever asks who watches."""


class Lookout:
    """Posted before the first shift, withdrawn at the end; nothing where ``guard: false``."""

    def __init__(self, options: GatewayApiOptions, shared: Shared, cluster: Cluster) -> None:
        self._options, self._shared, self._cluster = options, shared, cluster
        self._stands = options.guard is None
        self._job_uid = ""

    @property
    def _name(self) -> str:
        return short(f"{lease_name(self._options.route)}-guard", 52)

    def post(self, canary: Mapping[str, str]) -> None:
        """Make the Job, and what it needs, for a rollout whose canary has these labels.  Safe to repeat."""
        guard = self._options.guard
        if guard is None or "CANARY_GUARD" in self._shared.handles:
            return
        self._shared.handles["CANARY_GUARD"] = True
        self._shared.note(POSTED, job=self._name, namespace=self._cluster.namespace)
        account = guard.service_account or self._name
        if guard.service_account is None:
            for kind, body in self._rights(canary["deployment"]):
                self._make(kind, body)
        self._job_uid = self._make("jobs", self._job(account, canary))["metadata"]["uid"]

    def must_stand(self) -> None:
        """Return once it runs.

        Raises:
            AdapterError: it does not, with what its pod says.

        """
        guard = self._options.guard
        if self._stands or guard is None:
            return
        clock = self._shared.clock
        until = clock.now() + guard.start_seconds
        while not self._running():
            if clock.now() >= until:
                raise AdapterError(
                    f"nobody in the cluster would notice if this run were lost: the guard {self._name} does not run: "
                    f"{self._why()}; give it an image that can be pulled (`router.gateway-api.guard.image`), or write "
                    "`guard: false`"
                )
            clock.sleep(LOOK_SECONDS)
        self._stands = True

    def withdraw(self) -> None:
        """Take it all away.  Safe to repeat."""
        if self._options.guard is None:
            return
        self._cluster.delete("jobs", self._name)
        if self._options.guard.service_account is None:
            for kind in ("rolebindings", "roles", "serviceaccounts"):
                self._cluster.delete(kind, self._name)
                if kind != "serviceaccounts" and self._elsewhere:
                    self._cluster.delete(kind, self._name, self._options.namespace)
        self._shared.handles.pop("CANARY_GUARD", None)
        self._stands = False

    @property
    def _elsewhere(self) -> bool:
        return self._options.namespace not in (None, self._cluster.namespace)

    def _running(self) -> bool:
        return any(pod["status"].get("phase") == "Running" for pod in self._pods())

    def _pods(self) -> list[Json]:
        found = self._cluster.find("pods", f"job-name={self._name}")
        return [one for one in found if any(by.get("uid") == self._job_uid for by in _owners(one))]

    def _why(self) -> str:
        for pod in self._pods():
            for status in pod["status"].get("containerStatuses") or []:
                waits = (status.get("state") or {}).get("waiting") or {}
                if waits:
                    return f"{waits.get('reason')}: {' '.join(str(waits.get('message', '')).split())[:200]}"
            said = [one.get("message") for one in pod["status"].get("conditions") or [] if one.get("message")]
            return " ".join(str(said[0] if said else pod["status"].get("phase")).split())[:200]
        events = self._cluster.find("events", fields=f"involvedObject.name={self._name},type=Warning")
        return " ".join(str(events[-1].get("message")).split())[:300] if events else "it has no pod"

    # -- what it is made of ------------------------------------------------------------------------------------

    def _make(self, kind: str, body: Json, namespace: str | None = None) -> Json:
        try:
            return self._cluster.make(kind, body, namespace)
        except Changed:  # what a dead run left may speak of other builds
            self._cluster.delete(kind, body["metadata"]["name"], namespace)
            self._wait_until_gone(kind, body["metadata"]["name"], namespace)
            return self._cluster.make(kind, body, namespace)

    def _wait_until_gone(self, kind: str, name: str, namespace: str | None) -> None:
        clock = self._shared.clock
        until = clock.now() + 30.0
        while self._cluster.get(kind, name, namespace) is not None and clock.now() < until:
            clock.sleep(LOOK_SECONDS)

    def _about(self) -> Json:
        return {"name": self._name, "labels": {LABEL: short(self._shared.handles["workload"]["deployment"])}}

    def _rights(self, canary: str) -> list[tuple[str, Json]]:
        group, workload = "rbac.authorization.k8s.io", self._shared.handles["workload"]["deployment"]
        lease = lease_name(self._options.route)

        def rule(api: str, kind: str, names: list[str], *verbs: str) -> Json:
            return {"apiGroups": [api], "resources": [kind], "resourceNames": names, "verbs": list(verbs)}

        route = rule("gateway.networking.k8s.io", "httproutes", [self._options.route], "get", "patch")
        own = [
            rule("coordination.k8s.io", "leases", [lease], "get", "patch"),
            rule("apps", "deployments", [workload, canary], "get"),
        ]
        subject = {"kind": "ServiceAccount", "name": self._name, "namespace": self._cluster.namespace}
        binding = {"roleRef": {"apiGroup": group, "kind": "Role", "name": self._name}, "subjects": [subject]}
        if self._elsewhere:
            there = self._options.namespace
            self._make("roles", {"metadata": self._about(), "rules": [route]}, there)
            self._make("rolebindings", {"metadata": self._about(), **binding}, there)
        else:
            own.append(route)
        return [
            ("serviceaccounts", {"metadata": self._about()}),
            ("roles", {"metadata": self._about(), "rules": own}),
            ("rolebindings", {"metadata": self._about(), **binding}),
        ]

    def _job(self, account: str, canary: Mapping[str, str]) -> Json:
        guard = self._options.guard
        assert guard is not None
        told = json.dumps(self._told(canary))
        container = {
            "name": "guard",
            "image": guard.image,
            "command": [*guard.command, "-c", PROGRAM.read_text(encoding="utf-8")],
            "env": [{"name": "CANARY_GUARD", "value": told}],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        pod = {
            "restartPolicy": "OnFailure",
            "serviceAccountName": account,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        }
        about = self._about()
        template = {"metadata": {"labels": about["labels"]}, "spec": pod}
        spec = {"backoffLimit": 1000, "ttlSecondsAfterFinished": FINISHED_SECONDS, "template": template}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": spec}

    def _told(self, canary: Mapping[str, str]) -> Json:
        workload = self._shared.handles["workload"]
        return {
            "namespace": self._cluster.namespace,
            "lease": lease_name(self._options.route),
            "route": self._options.route,
            "route_namespace": self._options.namespace or self._cluster.namespace,
            "service": workload["service"],
            "stable": workload["deployment"],
            "container": workload.get("container"),
            "original": workload.get("original"),
            "promoted": workload.get("promoted"),
            "canary": canary["deployment"],
            "canary_service": canary["service"],
            "others": [workload["control"]],
        }


def _owners(thing: Json) -> list[Json]:
    return list(thing["metadata"].get("ownerReferences") or [])
