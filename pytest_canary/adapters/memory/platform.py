"""Builds that are names in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from pydantic import BaseModel, ConfigDict, Field

from pytest_canary.adapters.memory.obstacles import Obstacles, PlatformFails, Slow
from pytest_canary.adapters.memory.world import MemoryWorld
from pytest_canary.errors import AdapterError, ImageNotFound
from pytest_canary.ports import Change, Fact, Readiness, Revision, Shared

NO_IMAGE = "missing"
"""Where no images are named, every tag can be started but those that begin so."""


class MemoryPlatformOptions(BaseModel):
    """What ``platform: {memory: {...}}`` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stable: str = "v1"
    """Tag of the build that serves users when a world begins."""
    images: tuple[str, ...] | None = None
    """Tags that can be started; every tag that does not begin with ``missing`` unless named."""
    model: str | None = "7"
    """The model version that builds serve; None when they do not say."""
    models: dict[str, str | None] = Field(default_factory=dict)
    """Tag -> model version, where it differs."""
    not_ready: tuple[str, ...] = ()
    """Tags that start and never become ready."""
    fail: PlatformFails = Field(default_factory=dict)
    """Acts that fail: a list, or act -> text."""
    slow: Slow = Field(default_factory=dict)
    """Act -> seconds that it takes."""
    store: str | None = None
    """A file, relative to the rollout.yaml, in which the world outlives the process."""
    log: str | None = None
    """A file, relative to the rollout.yaml, with one line per act."""


class MemoryPlatform:
    """:class:`~pytest_canary.ports.Platform` in memory."""

    Options = MemoryPlatformOptions

    def __init__(self, options: MemoryPlatformOptions, shared: Shared) -> None:
        self._options, self._service = options, shared.service
        self._obstacles = Obstacles("memory platform", shared.clock, options.fail, options.slow)
        self._world = MemoryWorld.of(shared)
        store, log = (shared.home / name if name else None for name in (options.store, options.log))
        self._world.keep_in(store, log)
        self._world.model_of = self._model

    @classmethod
    def connect(cls, options: MemoryPlatformOptions, shared: Shared) -> MemoryPlatform:
        """The platform of one target; starts nothing."""
        return cls(options, shared)

    def check(self) -> Sequence[str]:
        return []

    def recover(self, facts: Sequence[Fact]) -> None:
        """The store alone knows what is left; facts of a world that was never kept speak of nothing."""
        del facts
        self._world.load()

    def start(self) -> None:
        self._obstacles.meet("start")
        stable = self.stable()
        with self._world.lock:
            self._world.state.running.setdefault(stable.pin, stable)
            self._world.acted("start")

    def stop(self) -> None:
        self._obstacles.meet("stop")
        with self._world.lock:
            state = self._world.state
            if state.running or state.stable:
                state.running, state.replicas, state.stable = {}, {}, None
                self._world.acted("stop")

    def stable(self) -> Revision:
        self._obstacles.meet("stable")
        return self._world.state.stable or _revision(f"{self._service}:{self._options.stable}", Change())

    def resolve(self, image: str, change: Change) -> Revision:
        self._obstacles.meet("resolve")
        revision, images = _revision(image, change), self._options.images
        if revision.tag.startswith(NO_IMAGE) if images is None else revision.tag not in {*images, self._options.stable}:
            known = f"one of {', '.join(images)}" if images is not None else f"any but those named {NO_IMAGE}..."
            raise ImageNotFound(
                f"{image}: no build with the tag {revision.tag!r}, expected {known}; push it, or mend --image"
            )
        return revision

    def deploy(self, revision: Revision) -> None:
        self._obstacles.meet("deploy")
        with self._world.lock:
            state = self._world.state
            if revision.pin not in state.running:
                state.running[revision.pin] = revision
                state.replicas[revision.pin] = revision.change.replicas or 1
                self._world.acted(f"deploy {revision.tag}")

    def scale(self, revision: Revision, replicas: int) -> None:
        self._obstacles.meet("scale")
        with self._world.lock:
            self._held(revision)
            if replicas < 0:
                raise AdapterError(f"{revision}: {replicas} replicas asked, expected 0 or more")
            self._world.state.replicas[revision.pin] = replicas
            self._world.acted(f"scale {revision.tag} {replicas}")

    def ready(self, revision: Revision) -> Readiness:
        self._obstacles.meet("ready")
        self._held(revision)
        if revision.tag in self._options.not_ready:
            return Readiness(False, f"{revision.tag} never becomes ready")
        return Readiness(True)

    def address(self, revision: Revision) -> str:
        self._obstacles.meet("address")
        self._held(revision)
        return f"memory://{revision.tag}"

    def model(self, revision: Revision) -> str | None:
        self._obstacles.meet("model")
        self._held(revision)
        return self._model(revision)

    def promote(self, canary: Revision) -> Revision:
        self._obstacles.meet("promote")
        with self._world.lock:
            self._held(canary)
            self._world.state.stable = canary
            self._world.acted(f"promote {canary.tag}")
        return canary

    def remove(self, revision: Revision) -> None:
        self._obstacles.meet("remove")
        with self._world.lock:
            if self._world.state.running.pop(revision.pin, None) is not None:
                self._world.state.replicas.pop(revision.pin, None)
                self._world.acted(f"remove {revision.tag}")

    def _model(self, revision: Revision) -> str | None:
        return revision.change.model or self._options.models.get(revision.tag, self._options.model)

    def _held(self, revision: Revision) -> None:
        if revision.pin not in self._world.state.running:
            raise AdapterError(f"{revision} does not run here; deploy it first")


def _revision(image: str, change: Change) -> Revision:
    tag = Revision(image, "").tag
    return Revision(image, f"sha256:{sha256(tag.encode()).hexdigest()}", change)
