"""A service in a cluster as its owners see it: what serves, who has which share, what is left, and its users."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.load import OFFERS
from pytest_canary.ports import Seen, Shared
from tests.cluster import Cluster, Service, install
from tests.cluster import namespace as fresh
from tests.local.rehearsal import ROOT, Ended, Site

OURS = "pytest-canary/rollout"
KINDS = "deployments,services,jobs,pods,leases,serviceaccounts,roles,rolebindings"
QUICK = {
    "stages": "20,100", "hold": "2s", "min_requests": "20", "poll": "1s", "deadline": "60s", "bake": "1s",
    "baseline.window": "3s", "baseline.min_requests": "50", "warmup.for": "1s", "drain_timeout": "20s",
    "ready_timeout": "60s", "gates.latency_p99.ratio": "2",
}  # fmt: skip
"""A production rollout in half a minute: every step, and hardly any waiting."""
ENDLESS = {"hold": "60s", "deadline": "120s"}


class Shop:
    """One service, its namespace, and a checkout from which it is rolled out."""

    def __init__(self, cluster: Cluster, folder: Path, service: Service, rollouts: Path) -> None:
        self.cluster, self.service, self.namespace = cluster, service, service.namespace
        self._rollouts = rollouts
        self.site = self.checkout(folder)
        self._users: Any = None

    @classmethod
    @contextmanager
    def opened(
        cls, cluster: Cluster, folder: Path, image: str = "inference-gateway:v1",
        rollouts: Path = ROOT / "rollouts", **installed: Any,
    ) -> Iterator[Shop]:  # fmt: skip
        """Install ``image`` in a namespace of its own, and take everything away at the end."""
        space = fresh(cluster)
        shop = None
        try:
            service = install(cluster, space, image, **{"name": image.partition(":")[0], "replicas": 2, **installed})
            shop = cls(cluster, folder, service, rollouts)
            yield shop
        finally:
            if shop is not None:
                shop.site.end()
            cluster.kubectl("delete", "namespace", space, "--wait=false")

    def checkout(self, folder: Path) -> Site:
        """Another copy of the rollouts, as on another machine."""
        folder.mkdir(parents=True, exist_ok=True)
        site = Site(folder, self._rollouts, self.service.name)
        site.more |= {
            "KUBECONFIG": str(self.cluster.kubeconfig), "PROM_BASE": self.cluster.prometheus, "NS": self.namespace,
            "GATEWAY_NAMESPACE": self.namespace, "GATEWAY": self.cluster.gateway,
            "GUARD_IMAGE": f"{self.cluster.registry}/python:3",
        }  # fmt: skip
        return site

    @property
    def settings(self) -> dict[str, str]:
        """What this cluster has besides what the example says."""
        return {
            "platform.kubernetes.insecure_registry": "true",
            # Found out for a service that has been measured before; this one was installed a second ago.
            "metrics.prometheus.profile": "demo-gateway",
            "platform.kubernetes.context": self.cluster.context,
            "router.gateway-api.guard.image": f"{self.cluster.registry}/python:3",
        }

    # -- rolled out ----------------------------------------------------------------------------------------------

    def run(self, build: str, *args: str, site: Site | None = None, **settings: str) -> Ended:
        """Ship ``build`` from the example's production target and read what the run left."""
        here = site or self.site
        return here.ended(self.start(build, *args, site=here, **settings))

    def start(self, build: str, *args: str, site: Site | None = None, **settings: str) -> Any:
        """Begin to ship ``build``."""
        given = {**self.settings, **QUICK, **settings}
        return (site or self.site).start("--canary-target=production", *args, build=build, quick=False, **given)

    def kill(self, process: Any) -> None:
        """End a run and whoever watches it, as when the whole machine goes; its users stay."""
        for pid in self.site.alive():
            if b"pytest_canary.adapters.load" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        process.communicate()

    def canary(self, *words: str, site: Site | None = None) -> tuple[int, str]:
        """Type ``pytest-canary ...`` for the production target."""
        sets = [word for key, value in self.settings.items() for word in ("--set", f"{key}={value}")]
        first = [words[0], *([self.service.name] if words[0] == "revert" else [])]
        where = ["rollouts/inference_gateway", "--target", "production", *sets]
        return (site or self.site).canary(*first, *where, *words[1:])

    # -- seen ----------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> dict[str, int]:
        """Service -> its weight in the first rule of the route."""
        route = self.cluster.get("-n", self.namespace, "httproute", self.service.name)
        return {ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]}

    @property
    def route(self) -> Any:
        """The route's spec."""
        return self.cluster.get("-n", self.namespace, "httproute", self.service.name)["spec"]

    @property
    def stable(self) -> str:
        """The tag that the stable Deployment runs, in all of its pods."""
        found = self.cluster.get("-n", self.namespace, "deployment", self.service.name)
        status, wanted = found["status"], found["spec"]["replicas"]
        assert status.get("updatedReplicas") == status.get("readyReplicas") == status["replicas"] == wanted, status
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return str(image.partition("@")[0].rpartition(":")[2])

    @property
    def left(self) -> list[str]:
        """Names of what a rollout made and has not taken away; pods that are ending are none."""
        found = self.cluster.get("-n", self.namespace, KINDS, "-l", OURS)["items"]
        return [
            f"{one['kind']} {one['metadata']['name']}" for one in found if not one["metadata"].get("deletionTimestamp")
        ]

    def whole(self) -> bool:
        """Whether the stable Service has the route for itself again and nothing of a rollout is left."""
        return self.weights == {self.service.name: 1} and not self.left

    def until(self, true: Callable[[], object], seconds: float = 60.0) -> float:
        """Wait for it; the seconds it took."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, (self.weights, self.left)
            time.sleep(0.1)
        return time.monotonic() - began

    # -- its users -----------------------------------------------------------------------------------------------

    @contextmanager
    def users(self, rate: float = 60.0) -> Iterator[Callable[[], Seen]]:
        """Open-loop users who enter at the Gateway, whatever becomes of any run; gives what they have seen by now."""
        prompts = str(self._rollouts / "inference_gateway" / "prompts.jsonl")
        told = {"rate": rate, "prompts": prompts, "host": self.service.host}
        home = self.site.folder / f"users-{time.monotonic_ns()}"
        home.mkdir()
        users = OFFERS["load"].connect(told, Shared("users", SystemClock(), home, home))
        users.start()
        users.enter(self.cluster.gateway)
        seen: list[Seen] = []
        try:
            yield lambda: seen[0] if seen else users.seen()
            seen.append(users.leave())
        finally:
            users.stop()
