"""What tests of the Kubernetes adapters do again and again."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.gateway_api import GatewayApiRouter
from pytest_canary.adapters.kube import LABEL, Cluster, lease_name
from pytest_canary.adapters.kubernetes import KubernetesPlatform
from pytest_canary.ports import Change, Fact, Revision, Role, Shared
from tests.cluster import Service
from tests.cluster import cluster as clusters
from tests.cluster.console import Broken

QUICK = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}
"""Pods that nobody waits for at the end."""
STABLE, OTHER = "podinfo:6.9.0", "podinfo:6.9.1"
PLAIN = Change()
Json = dict[str, Any]


def until(true: Callable[[], Any], seconds: float = 25.0) -> Any:
    """Wait for something, and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


@dataclass
class Place:
    """One service in one namespace."""

    cluster: clusters.Cluster
    service: Service
    facts: list[Fact] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """Of the service."""
        return self.service.namespace

    @property
    def name(self) -> str:
        """Of Deployment, Service and route."""
        return self.service.name

    def image(self, name: str) -> str:
        """As a user writes it."""
        return f"{self.cluster.registry}/{name}"

    def shared(self, folder: Path) -> Shared:
        """What the adapters of one process are given."""

        def note(kind: str, **data: Any) -> None:
            self.facts.append(Fact(kind, time.time(), data))

        return Shared(self.name, SystemClock(), folder, folder, note=note)

    def options(self, **more: Any) -> Json:
        """Of a platform, as a target says them."""
        where = {"kubeconfig": str(self.cluster.kubeconfig), "context": self.cluster.context}
        named = {"namespace": self.namespace, "deployment": self.name, "insecure_registry": True}
        return {**where, **named, **more}

    def platform(self, shared: Shared, **more: Any) -> KubernetesPlatform:
        """Connected, not started."""
        options = KubernetesPlatform.Options.model_validate(self.options(**more))
        return KubernetesPlatform.connect(options, shared)

    def router(self, shared: Shared, **more: Any) -> GatewayApiRouter:
        """Of the route, without a guard where none is asked for."""
        options = {"route": self.name, "guard": False, **more}
        return GatewayApiRouter.connect(GatewayApiRouter.Options.model_validate(options), shared)

    # -- what is there ----------------------------------------------------------------------------------------

    def kubectl(self, *words: object, stdin: str | None = None) -> str:
        """In the namespace of the service."""
        return self.cluster.kubectl("-n", self.namespace, *words, stdin=stdin)

    def get(self, *words: object) -> Any:
        """One object or a list of some, as the API server has it."""
        return self.cluster.get("-n", self.namespace, *words)

    def patch(self, kind: str, body: Any, name: str = "", *, by: str = "merge") -> None:
        """Change an object as somebody else would."""
        self.kubectl("patch", kind, name or self.name, f"--type={by}", "-p", json.dumps(body))

    def route(self) -> Json:
        """The route."""
        return self.get("httproute", self.name)

    def weights(self, rule: int = 0) -> dict[str, int | None]:
        """Service -> weight as it is written."""
        return {ref["name"]: ref.get("weight") for ref in self.route()["spec"]["rules"][rule]["backendRefs"]}

    def api(self, platform: KubernetesPlatform) -> Cluster:
        """The API server as the adapters have it."""
        return Cluster.of(platform._shared)

    def pods(self, role: str = "canary") -> list[Json]:
        """Of a copy."""
        return self.get("pods", "-l", f"{LABEL}={self.name},pytest-canary/role={role}")["items"]

    # -- done and undone --------------------------------------------------------------------------------------

    def deployed(self, platform: KubernetesPlatform, image: str = OTHER, change: Change = PLAIN) -> Revision:
        """A canary that is ready."""
        revision = platform.resolve(self.image(image), change)
        platform.deploy(revision)
        until(lambda: platform.ready(revision).ready)
        return revision

    def clear(self) -> None:
        """Take every copy, guard and Lease away, without waiting for pods to end."""
        kinds = "deployments,services,jobs,serviceaccounts,roles,rolebindings"
        self.kubectl("delete", kinds, "-l", LABEL, "--wait=false")
        self.kubectl("delete", "lease", lease_name(self.name), "--ignore-not-found", "--wait=false")
        self.facts.clear()

    @contextmanager
    def as_it_was(self, *kinds: str) -> Iterator[None]:
        """Whatever is done to the Deployment, Service or route is undone."""
        before = {kind: self.get(kind, self.name) for kind in kinds}
        try:
            yield
        finally:
            for thing in before.values():
                thing["metadata"].pop("resourceVersion")
                self._replace(thing)

    def _replace(self, thing: Json) -> None:
        """Whatever controllers write of its status meanwhile."""
        for tried in range(5):
            try:
                self.kubectl("replace", "-f", "-", stdin=json.dumps(thing))
                return
            except Broken:
                if tried == 4:
                    raise

    @contextmanager
    def meddled(self, kind: str, *, pause: float = 0.05) -> Iterator[list[int]]:
        """Somebody annotates an object all the time; what is yielded counts how often."""
        api = Cluster.connect(str(self.cluster.kubeconfig), self.cluster.context, self.namespace)
        over, times = threading.Event(), [0]

        def meddle() -> None:
            while not over.wait(pause):
                with suppress(Exception):
                    body = {"metadata": {"annotations": {"someone/was-here": str(times[0])}}}
                    api.patch(kind, self.name, body)
                    times[0] += 1

        thread = threading.Thread(target=meddle)
        thread.start()
        try:
            yield times
        finally:
            over.set()
            thread.join()
            api.close()
            api.patch(kind, self.name, {"metadata": {"annotations": {"someone/was-here": None}}})
            api.close()


def attached(router: GatewayApiRouter, platform: KubernetesPlatform, canary: Revision) -> None:
    """Both builds stand for their roles, and users are with the stable one."""
    router.attach(Role.BASELINE, platform.stable(), platform.address(platform.stable()))
    router.set_weights({Role.BASELINE: 1.0})
    router.attach(Role.CANARY, canary, platform.address(canary))


def but(thing: Json, change: Callable[[Json], None]) -> Json:
    """A copy of ``thing``, changed."""
    new = copy.deepcopy(thing)
    change(new)
    return new


def one_line(error: object, *parts: str) -> bool:
    """Whether an error is one line and says each of ``parts``."""
    text = str(error)
    assert "\n" not in text
    for part in parts:
        assert part in text
    return True


def template(deployment: Mapping[str, Any]) -> Any:
    """What a Deployment makes pods of."""
    return deployment["spec"]["template"]
