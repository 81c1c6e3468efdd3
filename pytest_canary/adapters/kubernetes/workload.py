"""The stable Deployment: what it runs, how it is made to run another build, and how it is put back as it was."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping

from pytest_canary.adapters.kube import Changed, Cluster, Json
from pytest_canary.adapters.kubernetes.before import CHANGE, Original
from pytest_canary.adapters.kubernetes.clone import container_of, has, put
from pytest_canary.adapters.kubernetes.images import DIGEST, Name
from pytest_canary.adapters.kubernetes.options import KubernetesOptions
from pytest_canary.adapters.kubernetes.pods import hurt, is_ready, nobody, scaled_to_none, why_not
from pytest_canary.adapters.kubernetes.selectors import query
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Change, Readiness, Revision

STABLE = "stable"
"""The ``place`` of revisions that run in the stable Deployment itself."""
HASH = "pod-template-hash"
CONFLICTS = 40
PAUSE_SECONDS = 0.02


class Workload:
    """The Deployment that serves users between rollouts.  Only image, environment and arguments are ever changed."""

    def __init__(self, cluster: Cluster, options: KubernetesOptions) -> None:
        self._cluster, self._options = cluster, options
        self.name = options.deployment
        self._were_ready: dict[str, tuple[int, str]] = {}

    def read(self) -> Json:
        """The Deployment as it is; raises AdapterError when there is none."""
        found = self._cluster.get("deployments", self.name)
        if found is None:
            raise AdapterError(
                f"there is no Deployment {self.name} in namespace {self._cluster.namespace}; "
                f"`kubectl -n {self._cluster.namespace} get deployments` lists what is there"
            )
        return found

    def container(self, deployment: Json) -> Json:
        """The container that has the image."""
        try:
            return container_of(deployment["spec"]["template"], self.name, self._options.container)
        except StopIteration:
            names = ", ".join(one["name"] for one in deployment["spec"]["template"]["spec"]["containers"])
            raise AdapterError(
                f"Deployment {self.name} has no container {self._options.container!r}; it has {names}: "
                "mend `platform.kubernetes.container`"
            ) from None

    def pods(self, deployment: Json) -> list[Json]:
        """Its pods, old ones included."""
        return self._cluster.find("pods", query(deployment["spec"]["selector"].get("matchLabels") or {}))

    # -- what it runs ------------------------------------------------------------------------------------------

    def revision(self) -> Revision:
        """The build that it runs, pinned by the digest in its template or, for a tag, by what its pods pulled.

        Raises:
            AdapterError: the image is a tag and no ready pod tells its digest.

        """
        deployment = self.read()
        container = self.container(deployment)
        image = Name.read(container["image"])
        digest = image.digest or self._pulled(deployment, container)
        return Revision(image.whole, digest, self._change(deployment, container, digest), place=STABLE)

    def _pulled(self, deployment: Json, container: Json) -> str:
        digests = set()
        for pod in self.pods(deployment):
            same = any(
                (one["name"], one["image"]) == (container["name"], container["image"])
                for one in pod["spec"]["containers"]
            )
            for status in (pod.get("status") or {}).get("containerStatuses") or [] if same and is_ready(pod) else []:
                found = DIGEST.search(str(status.get("imageID")))
                if status["name"] == container["name"] and found:
                    digests.add(found.group())
        if len(digests) == 1:
            return digests.pop()
        if digests:
            raise AdapterError(
                f"the pods of Deployment {self.name} run {len(digests)} builds of {container['image']}, whose tag has "
                f"moved; pin it: kubectl -n {self._cluster.namespace} rollout restart deployment/{self.name}"
            )
        raise AdapterError(
            f"no pod of Deployment {self.name} is ready, so nobody can tell what {container['image']} is; "
            f"see `kubectl -n {self._cluster.namespace} describe deployment/{self.name}`"
        )

    def _change(self, deployment: Json, container: Json, digest: str) -> Change:
        try:
            told = json.loads((deployment["metadata"].get("annotations") or {}).get(CHANGE) or "{}")
            change = Revision.from_data(told).change if told.get("digest") == digest else Change()
            return change if has(container, change) else Change()  # else somebody has taken it back
        except (ValueError, LookupError, TypeError, AttributeError):
            return Change()

    def state(self, *, whole: bool) -> Readiness:
        """Whether it serves: with at least one pod, or with all of them new and ready where ``whole`` is asked."""
        deployment = self.read()
        spec, status = deployment["spec"], deployment.get("status") or {}
        wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
        if not wanted:
            return Readiness(False, scaled_to_none(self.name, self._cluster.namespace), hopeless=True)
        if not whole:
            return Readiness(ready > 0, "" if ready else f"no pod of Deployment {self.name} is ready")
        seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        new = status.get("updatedReplicas", 0)
        done = seen and new == wanted == ready and status.get("replicas", 0) == new
        if done:
            return Readiness(True)
        if spec.get("paused"):
            resume = f"kubectl -n {self._cluster.namespace} rollout resume deployment/{self.name}"
            return Readiness(
                False, f"somebody has paused Deployment {self.name}; `{resume}` lets it go on", hopeless=True
            )
        if seen and (found := self._why(deployment)).why:
            return found
        return Readiness(False, f"{ready} of {wanted} pods are ready, {new} of them have the build")

    def runs(self, revision: Revision) -> str:
        """Why it does not run ``revision``: somebody else has changed it; empty while it does."""
        deployment = self.read()
        image = Name.read(self.container(deployment)["image"])
        same = image.digest == revision.digest if image.digest else image.whole == revision.image
        if same:
            return ""
        now = image.pinned(image.digest) if image.digest else image.whole
        return f"Deployment {self.name} runs {now} now: somebody else has changed it"

    def _why(self, deployment: Json) -> Readiness:
        """What keeps its newest pods; those that they replace do not matter."""
        newest = next(iter(self._sets(deployment)), None)
        mark = (newest or {"metadata": {}})["metadata"].get("labels", {}).get(HASH)
        pods = [one for one in self.pods(deployment) if one["metadata"].get("labels", {}).get(HASH) == mark]
        unready = [one for one in pods if not is_ready(one)]
        return why_not(self._cluster, {"metadata": deployment["metadata"]}, unready) if unready else Readiness(False)

    def rolling(self) -> bool:
        """Whether it is replacing its pods."""
        deployment = self.read()
        status = deployment.get("status") or {}
        seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        return not seen or status.get("replicas", 0) != status.get("updatedReplicas", 0)

    def hurt(self) -> str:
        """What has happened to pods of it that were ready; empty when nothing has."""
        return hurt(self.pods(self.read()), self._were_ready) or nobody(self.state(whole=False), self._were_ready)

    def names(self) -> frozenset[str]:
        """Of its pods that take requests."""
        return frozenset(pod["metadata"]["name"] for pod in self.pods(self.read()) if is_ready(pod))

    # -- another build -----------------------------------------------------------------------------------------

    def run(self, image: str, revision: Revision) -> bool:
        """Let it run ``image`` with what ``revision`` changes, pods replaced as its strategy says; whether it did not.

        Safe to repeat.
        """

        def act(deployment: Json, container: Json) -> None:
            put(container, image, revision.change)
            notes = deployment["metadata"].setdefault("annotations", {})
            notes.pop(CHANGE, None)
            if revision.change != Change():
                notes[CHANGE] = json.dumps(revision.to_data())

        return self._write(act)

    def put_back(self, original: Original, image: str) -> bool:
        """Let it run what it ran before, to the letter, where it runs ``image``; whether it is to change.

        What somebody else has let it run meanwhile is theirs to undo.
        """

        def act(deployment: Json, container: Json) -> None:
            if container["image"] != image:
                return
            container["image"] = original.image
            for key, value in (("env", original.env), ("args", original.args)):
                container.pop(key, None)
                if value is not None:
                    container[key] = value
            notes = deployment["metadata"].setdefault("annotations", {})
            notes.pop(CHANGE, None)
            if original.change is not None:
                notes[CHANGE] = original.change

        return self._write(act)

    def original(self) -> Original:
        """What would have to be put back."""
        deployment = self.read()
        return Original.of(deployment, self.container(deployment))

    def before(self) -> Json | None:
        """The template that it ran before the present one, as its history has it; None when it has none."""
        deployment = self.read()
        owned = self._sets(deployment)
        template: Json | None = owned[1]["spec"]["template"] if len(owned) > 1 else None
        return template

    def _sets(self, deployment: Json) -> list[Json]:
        """Its ReplicaSets, the newest first."""
        sets = self._cluster.find("replicasets", query(deployment["spec"]["selector"].get("matchLabels") or {}))
        owned = [one for one in sets if _owner(one) == deployment["metadata"]["uid"]]
        return sorted(owned, key=_number, reverse=True)

    def _write(self, act: Callable[[Json, Json], None]) -> bool:
        """Change it as ``act`` says, on top of whatever others have changed meanwhile; whether anything has changed."""
        for tried in range(1, CONFLICTS + 1):
            deployment = self.read()
            new = copy.deepcopy(deployment)
            act(new, self.container(new))
            if new == deployment:
                return False
            try:
                self._cluster.put("deployments", new)
                return True
            except Changed:
                if tried == CONFLICTS:
                    raise
                time.sleep(PAUSE_SECONDS * (tried > 1))
        return False


def _owner(thing: Json) -> str:
    owners = thing["metadata"].get("ownerReferences") or []
    return next((str(one.get("uid")) for one in owners if one.get("controller")), "")


def _number(thing: Json) -> int:
    notes: Mapping[str, str] = thing["metadata"].get("annotations") or {}
    number = notes.get("deployment.kubernetes.io/revision", "0")
    return int(number) if number.isdigit() else 0
