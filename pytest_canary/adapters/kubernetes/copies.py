"""The copies of the stable Deployment that are ours: made, grown, asked, and taken away."""

from __future__ import annotations

import json
from math import ceil

from pytest_canary.adapters.kube import LABEL, Changed, Cluster, Json, short
from pytest_canary.adapters.kubernetes import clone
from pytest_canary.adapters.kubernetes.before import Original
from pytest_canary.adapters.kubernetes.images import Name
from pytest_canary.adapters.kubernetes.options import KubernetesOptions
from pytest_canary.adapters.kubernetes.pods import hurt, is_ready, nobody, scaled_to_none, why_not
from pytest_canary.adapters.kubernetes.selectors import foreign, query
from pytest_canary.adapters.kubernetes.workload import Workload
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Clock, Readiness, Revision

ORIGINAL = "pytest-canary/original"
"""On a copy: what the stable Deployment ran when the rollout began."""
ITSELF = "pytest-canary/revision"
"""On a copy: what it is, for when no fact tells of it."""
CANARY = "canary"
FEWEST = 2
"""Pods of a copy where the stable build has several: of one alone nobody can tell a bad pod from a bad build."""
LOOK_SECONDS = 0.25
GRACE_SECONDS = 30.0


class Copies:
    """Each is a Deployment and a Service of one name, beside the stable ones."""

    def __init__(self, cluster: Cluster, options: KubernetesOptions, workload: Workload, clock: Clock) -> None:
        self._cluster, self._options, self._workload, self._clock = cluster, options, workload, clock
        self._were_ready: dict[str, dict[str, tuple[int, str]]] = {}

    def name(self, revision: Revision) -> str:
        """Of the Deployment and the Service of ``revision``."""
        return clone.name_of(self._workload.name, revision)

    def runs(self, revision: Revision) -> bool:
        """Whether the copy of that name is of this build."""
        there = self._there(revision)
        return there is not None and (there["metadata"].get("annotations") or {}).get(clone.PIN) == revision.pin

    def original(self) -> tuple[Original, str] | None:
        """What the stable Deployment ran when the rollout began, and the canary's image; None where there is none."""
        for one in self.all():
            notes, template = one["metadata"].get("annotations") or {}, one["spec"]["template"]
            if ORIGINAL in notes and one["metadata"]["labels"].get(clone.ROLE) == CANARY:
                image = clone.container_of(template, self._workload.name, self._options.container)["image"]
                return Original.from_text(notes[ORIGINAL]), image
        return None

    def all(self) -> list[Json]:
        """The Deployments of every copy there is."""
        return self._cluster.find("deployments", query({LABEL: short(self._workload.name)}))

    def _there(self, revision: Revision) -> Json | None:
        return self._cluster.get("deployments", self.name(revision))

    def strays(self) -> list[Revision]:
        """Those that are there, as they say themselves."""
        told = [(one["metadata"].get("annotations") or {}).get(ITSELF) for one in self.all()]
        return [Revision.from_data(json.loads(each)) for each in told if each]

    # -- made --------------------------------------------------------------------------------------------------

    def make(self, revision: Revision, service: Json) -> None:
        """Make both, with as many pods as a canary begins with; what is there already of this build stays.

        Raises:
            AdapterError: something else of that name is there.

        """
        there = self._there(revision)
        if there is None:
            stable = self._workload.read()
            image = Name.read(revision.image).pinned(revision.digest)
            replicas = self._fewest(stable, revision)
            body = clone.deployment(stable, revision, image, self._options.container, replicas, foreign(self._cluster))
            notes = {ORIGINAL: self._workload.original().to_text(), ITSELF: json.dumps(revision.to_data())}
            body["metadata"]["annotations"] |= notes
            self._create("deployments", body)
        else:
            self._must_be(there, revision)
        self._create("services", clone.service(service, self._workload.name, revision))

    def _create(self, kind: str, body: Json) -> None:
        try:
            self._cluster.make(kind, body)
        except Changed as error:
            named = body["metadata"]["name"]
            there = self._cluster.get(kind, named)
            if there is None or not _ours(there):
                raise AdapterError(
                    f"{kind[:-1]} {named} is there already and is not ours; rename it, or delete it: "
                    f"kubectl -n {self._cluster.namespace} delete {kind[:-1]} {named}"
                ) from error

    def _must_be(self, there: Json, revision: Revision) -> None:
        named, pin = there["metadata"]["name"], (there["metadata"].get("annotations") or {}).get(clone.PIN)
        delete = f"kubectl -n {self._cluster.namespace} delete deployment,service {named}"
        if not _ours(there):
            raise AdapterError(f"Deployment {named} is there already and is not ours; rename it, or: {delete}")
        if pin != revision.pin:
            raise AdapterError(
                f"Deployment {named} of another rollout (build {pin}) is still there; "
                f"type `pytest-canary recover`, or: {delete}"
            )

    def _fewest(self, stable: Json, revision: Revision) -> int:
        asked = revision.change.replicas or self._options.replicas
        return asked or min(FEWEST, max(1, stable["spec"].get("replicas", 1)))

    def scale(self, revision: Revision, replicas: int) -> None:
        """Let it have so many pods."""
        there = self._there(revision)
        if there is not None and there["spec"].get("replicas", 1) != replicas:
            self._cluster.patch("deployments", self.name(revision), {"spec": {"replicas": replicas}})

    def grow(self, revision: Revision, share: float) -> None:
        """Let it have the pods that ``share`` of the traffic takes, as many as the stable build for all of it."""
        stable, there = self._workload.read(), self._there(revision)
        needed = max(self._fewest(stable, revision), ceil(stable["spec"].get("replicas", 1) * share))
        if there is not None and there["spec"].get("replicas", 1) < needed:
            self.scale(revision, needed)

    # -- asked -------------------------------------------------------------------------------------------------

    def pods(self, revision: Revision) -> list[Json]:
        """Its pods, those that are ending included."""
        return self._cluster.find("pods", query(clone.selector(self._workload.name, revision)))

    def ready(self, revision: Revision) -> Readiness:
        """Whether every pod that it is to have takes requests, and its Service knows."""
        name, there = self.name(revision), self._there(revision)
        if there is None:
            return Readiness(False, f"Deployment {name} is gone; somebody deleted it", hopeless=True)
        wanted, pods = there["spec"].get("replicas", 1), self.pods(revision)
        if not wanted:
            return Readiness(False, scaled_to_none(name, self._cluster.namespace), hopeless=True)
        if sum(map(is_ready, pods)) >= wanted:
            # The addresses of a Service follow a moment later: who is sent there too early meets nobody.
            known = self._known(name)
            if known >= wanted:
                return Readiness(True)
            return Readiness(False, f"Service {name} knows {known} of {wanted} pods yet")
        return why_not(self._cluster, there, pods)

    def _known(self, service: str) -> int:
        """To how many pods the Service sends."""
        slices = self._cluster.find("endpointslices", query({"kubernetes.io/service-name": service}))
        sent = [one for each in slices for one in each.get("endpoints") or []]
        ready = [one for one in sent if (one.get("conditions") or {}).get("ready") is not False]
        return len({(one.get("targetRef") or {}).get("uid") or str(one.get("addresses")) for one in ready})

    def names(self, revision: Revision) -> frozenset[str]:
        """Of its pods that take requests."""
        return frozenset(pod["metadata"]["name"] for pod in self.pods(revision) if is_ready(pod))

    def hurt(self, revision: Revision) -> str:
        """What has happened to pods of it that were ready; empty when nothing has."""
        pods, were_ready = self.pods(revision), self._were_ready.setdefault(revision.pin, {})
        said = hurt(pods, were_ready)
        return said or ("" if any(map(is_ready, pods)) else nobody(self.ready(revision), were_ready))

    # -- taken away --------------------------------------------------------------------------------------------

    def remove(self, revision: Revision) -> None:
        """Let its pods finish, then delete both; what is not ours stays."""
        name, there = self.name(revision), self._there(revision)
        service = self._cluster.get("services", name)
        if not (self.runs(revision) or there is None):
            return  # a copy of another rollout
        if there is not None and _ours(there):
            self.scale(revision, 0)
            grace = there["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", GRACE_SECONDS)
            until = self._clock.now() + grace + GRACE_SECONDS
            while self.pods(revision) and self._clock.now() < until:
                self._clock.sleep(LOOK_SECONDS)
        if service is not None and _ours(service):
            self._cluster.delete("services", name)
        if there is not None and _ours(there):
            self._cluster.delete("deployments", name)  # last: whoever takes over goes by it


def _ours(thing: Json) -> bool:
    return LABEL in (thing["metadata"].get("labels") or {})
