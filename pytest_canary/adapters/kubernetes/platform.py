"""Revisions as Deployments: the stable one, which is ours to change and not to delete, and copies of it beside."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_canary.adapters.kube import HANDLE, Cluster, Json, beside
from pytest_canary.adapters.kubernetes import preflight
from pytest_canary.adapters.kubernetes.autoscaler import Autoscaler
from pytest_canary.adapters.kubernetes.backends import HANDLE as BACKENDS
from pytest_canary.adapters.kubernetes.backends import Backends
from pytest_canary.adapters.kubernetes.before import Original
from pytest_canary.adapters.kubernetes.clone import name_of, put
from pytest_canary.adapters.kubernetes.copies import LOOK_SECONDS, Copies
from pytest_canary.adapters.kubernetes.each import HANDLE as REPLICAS
from pytest_canary.adapters.kubernetes.images import Absent, Name, Registry, Unknown, pull_secrets, seen, unresolved
from pytest_canary.adapters.kubernetes.model import ask_model
from pytest_canary.adapters.kubernetes.options import KubernetesOptions
from pytest_canary.adapters.kubernetes.workload import STABLE, Workload
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Change, Fact, Readiness, Revision, Shared

SERVES_SECONDS = 30.0
MOVES_SECONDS = 600.0
ORIGINAL = "original"
"""The fact that tells what a promotion is about to change of the stable Deployment."""


class KubernetesPlatform:
    """What runs here serves users between rollouts: starting and stopping it is nothing."""

    Options = KubernetesOptions
    lasting = True

    def __init__(self, options: KubernetesOptions, shared: Shared, cluster: Cluster) -> None:
        self._options, self._shared, self._cluster = options, shared, cluster
        self._workload = Workload(cluster, options)
        self._copies = Copies(cluster, options, self._workload, shared.clock)
        self._autoscaler = Autoscaler(cluster, options.deployment)
        known, pods = (shared.handles.setdefault(name, {}) for name in (BACKENDS, REPLICAS))
        self._backends = Backends(cluster, options, known, pods)
        self._stable: Revision | None = None
        self._wanted: Revision | None = None
        """What is to be stable, where the facts of a run that did not settle say so ..."""
        self._back = False
        """... and whether that is what was stable when it began."""
        self._noted: tuple[Original, str] | None = None
        """What such a run was about to change, and to which image."""
        self._untold = False
        """Whether no fact tells anything: then a copy that is there is of a run whose facts are lost."""
        self._moving = False
        """Whether the stable Deployment is replacing its pods because of us."""

    @classmethod
    def connect(cls, options: KubernetesOptions, shared: Shared) -> KubernetesPlatform:
        """The platform of one target; changes nothing."""
        kubeconfig = beside(options.kubeconfig, shared.home)
        cluster = Cluster.connect(kubeconfig, options.context, options.namespace)
        shared.handles[HANDLE] = cluster
        names = {"deployment": options.deployment, "service": options.service or options.deployment}
        own = {role: name_of(options.deployment, Revision("", "", copy=role)) for role in ("canary", "control")}
        shared.handles["workload"] = {**names, **own}
        return cls(options, shared, cluster)

    def check(self) -> Sequence[str]:
        return preflight.missing(self._cluster, self._workload, self._options)

    def recover(self, facts: Sequence[Fact]) -> None:
        self._wanted, self._noted = None, None
        self._untold = not any(fact.kind in ("deploy", "stable", "settled") for fact in facts)
        for fact in facts:
            if fact.kind == "settled":
                self._wanted, self._noted = None, None
            elif fact.kind == ORIGINAL:
                self._noted = Original.from_text(fact.data["text"]), fact.data["image"]
            elif fact.kind == "deploy":
                self._wanted, self._back = Revision.from_data(fact.data["stable"]), True
            elif fact.kind == "stable":
                self._wanted, self._back = Revision.from_data(fact.data), False

    def start(self) -> None:
        if self._wanted is not None or self._untold:
            self._put_right(self._wanted)
        until = self._shared.clock.now() + (MOVES_SECONDS if self._moving else SERVES_SECONDS)
        while not (now := self._serves()).ready:
            if now.hopeless or self._shared.clock.now() >= until:
                namespace = self._cluster.namespace
                raise AdapterError(f"{now.why}; `kubectl -n {namespace} get pods` shows what they wait for")
            self._shared.clock.sleep(LOOK_SECONDS)
        self._moving = False
        # What somebody else has let it run meanwhile is not what a fact says.
        told = self._wanted is not None and not self._workload.runs(self._wanted)
        self._stable = self._wanted if told else self._workload.revision()

    def _serves(self) -> Readiness:
        now = self._workload.state(whole=self._moving)
        if now.ready and self._wanted is None and self._workload.rolling():
            return Readiness(False, f"Deployment {self._workload.name} is replacing its pods, so nothing is stable yet")
        return now

    def _put_right(self, wanted: Revision | None) -> None:
        """The stable Deployment goes on to the build that is proven, or back to the one that it had."""
        known = self._copies.original() or self._noted
        if known is None:  # no copy, so no promotion can have begun
            return
        if self._back or wanted is None:
            changed = self._workload.put_back(*known)
        else:
            changed = self._workload.run(Name.read(wanted.image).pinned(wanted.digest), wanted)
        # A dead run may have been in the middle of it: users are not sent to two builds at once.
        self._moving = changed or self._workload.rolling()

    def stop(self) -> None:
        self._backends.close()
        self._cluster.close()

    # -- revisions ---------------------------------------------------------------------------------------------

    def stable(self) -> Revision:
        if self._stable is None:
            self._stable = self._wanted or self._workload.revision()
        return self._stable

    def previous(self) -> Revision | None:
        template = self._workload.before()
        if template is None:
            return None
        now, then = (self._workload.container({"spec": {"template": one}}) for one in (self._template(), template))
        name = Name.read(then["image"])
        names = {each["name"]: each.get("value") for each in then.get("env") or []}
        present = {each["name"]: each.get("value") for each in now.get("env") or []}
        env = tuple(sorted((key, value) for key, value in names.items() if value and present.get(key) != value))
        if name.digest:
            return Revision(name.whole, name.digest, Change(env))
        return self.resolve(name.whole, Change(env))

    def _template(self) -> Json:
        template: Json = self._workload.read()["spec"]["template"]
        return template

    def resolve(self, image: str, change: Change) -> Revision:
        deployment = self._workload.read()
        stable = Name.read(self._workload.container(deployment)["image"])
        name = Name.read(image).beside(stable)
        secrets = pull_secrets(self._cluster, deployment["spec"]["template"]["spec"])
        registry = Registry(self._cluster, insecure=self._options.insecure_registry)
        try:
            digest = registry.digest(name, secrets, preflight.architectures(self._cluster))
        except (Absent, Unknown) as error:
            digest = "" if isinstance(error, Absent) else name.digest or seen(self._cluster, name)
            if not digest:
                raise unresolved(name, stable, self._workload.name, error) from error
        return Revision(name.whole, digest, change)

    def deploy(self, revision: Revision) -> None:
        service = self._service()
        stable = self._workload.read()
        self._untold = False
        self._autoscaler.hold(stable["spec"].get("replicas", 1))
        self._copies.make(revision, service)
        container = self._workload.container(stable)
        more = {"container": container["name"], "original": _about(container)}
        if not revision.copy:
            put(container, Name.read(revision.image).pinned(revision.digest), revision.change)
            more["promoted"] = _about(container)
        self._shared.handles["workload"] |= more

    def _service(self) -> Json:
        name = self._options.service or self._workload.name
        found = self._cluster.get("services", name)
        if found is None:
            raise AdapterError(f"there is no Service {name} in namespace {self._cluster.namespace}")
        return found

    def scale(self, revision: Revision, replicas: int) -> None:
        if revision.place != STABLE:
            self._copies.scale(revision, replicas)

    def grow(self, revision: Revision, share: float) -> None:
        if revision.place != STABLE:
            self._autoscaler.hold(self._workload.read()["spec"].get("replicas", 1))
            self._copies.grow(revision, share)

    # -- asked -------------------------------------------------------------------------------------------------

    def ready(self, revision: Revision) -> Readiness:
        if revision.place != STABLE:
            return self._copies.ready(revision)
        state = self._workload.state(whole=self._moving)
        self._moving = self._moving and not state.ready
        other = self._workload.runs(revision) if state.ready else ""
        return Readiness(False, other, hopeless=True) if other else state

    def strays(self) -> Sequence[Revision]:
        return self._copies.strays()

    def copies(self, revision: Revision) -> frozenset[str] | None:
        if revision.place == STABLE:
            return self._workload.names()
        return self._copies.names(revision)

    def hurt(self, revision: Revision) -> str:
        return self._workload.hurt() if revision.place == STABLE else self._copies.hurt(revision)

    def address(self, revision: Revision) -> str:
        if revision.place == STABLE:
            return self._backends.address(self._options.service or self._workload.name, self._workload.name)
        if not self._copies.runs(revision):
            raise AdapterError(f"{revision} does not run in namespace {self._cluster.namespace}; deploy it first")
        name = self._copies.name(revision)
        return self._backends.address(name, name)

    def model(self, revision: Revision) -> str | None:
        return ask_model(self.address(revision))

    # -- on, or away -------------------------------------------------------------------------------------------

    def promote(self, canary: Revision) -> Revision:
        known = self._copies.original() or self._noted
        self._moving = True
        if canary.place == STABLE and known is not None:
            self._workload.put_back(*known)
            self._stable = canary
        else:
            self._stable = Revision(canary.image, canary.digest, canary.change, canary.copy, STABLE)
            image = Name.read(canary.image).pinned(canary.digest)
            # The copy has it too, but a copy can be deleted.
            self._noted = self._workload.original(), image
            self._shared.note(ORIGINAL, text=self._noted[0].to_text(), image=image)
            self._workload.run(image, canary)
        return self._stable

    def remove(self, revision: Revision) -> None:
        if revision.place == STABLE:
            return
        self._copies.remove(revision)
        if not self._copies.all():  # as long as one has traffic, the pods that it had elsewhere are to come back to
            self._autoscaler.let_go()
        self._backends.forget(self._copies.name(revision))


def _about(container: Json) -> Json:
    """What a promotion changes of a container, and its name."""
    return {key: container.get(key) for key in ("name", "image", "env", "args")}
