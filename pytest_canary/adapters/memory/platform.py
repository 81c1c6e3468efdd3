"""Builds that are names in a dictionary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from pydantic import BaseModel, ConfigDict, Field

from pytest_canary.adapters.memory.obstacles import Obstacles, PlatformFails, Slow
from pytest_canary.adapters.memory.world import MemoryWorld
from pytest_canary.errors import AdapterError, ImageNotFound
from pytest_canary.ports import Change, Fact, Readiness, Revision, Shared

NO_IMAGE = "missing"
"""Where no images are named, every tag can be started but those that begin so."""
STABLE = "stable"
"""The place in which promotion starts a build anew, where it does."""
BACK_SECONDS = 30.0
"""How long copies that somebody has taken away are waited for."""
FULL = 4
"""Copies that all of the traffic takes, where a canary grows with its share."""


class Gone(BaseModel):
    """When somebody has taken all copies of a build away: seconds after the world's start, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    after: float = Field(ge=0)
    seconds: float = Field(default=math.inf, gt=0, alias="for")


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
    lasting: bool = False
    """Whether it serves users between rollouts, so that starting and stopping it is nothing."""
    rebuilds: bool = False
    """Whether promotion starts the build anew in the stable one's place, as a cluster does."""
    dies: dict[str, float] = Field(default_factory=dict)
    """Tag -> seconds after its start at which a copy of it dies."""
    gone: dict[str, Gone] = Field(default_factory=dict)
    """Tag, or ``v2@stable`` for the build in that place -> when none of its copies is there."""


class MemoryPlatform:
    """:class:`~pytest_canary.ports.Platform` in memory."""

    Options = MemoryPlatformOptions
    lasting = False

    def __init__(self, options: MemoryPlatformOptions, shared: Shared) -> None:
        self._options, self._service = options, shared.service
        if options.lasting:
            self.lasting = True
        self._obstacles = Obstacles("memory platform", shared.clock, options.fail, options.slow)
        self._world = MemoryWorld.of(shared)
        store, log = (shared.home / name if name else None for name in (options.store, options.log))
        self._world.keep_in(store, log)
        self._world.model_of = self._model
        self._world.gone = self._gone
        self._clock = shared.clock
        self._began: dict[str, float] = {}
        self._first: float | None = None

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
        self._first = self._clock.now() if self._first is None else self._first
        until = self._clock.now() + BACK_SECONDS
        while self._gone(stable) and self._clock.now() < until:
            self._clock.sleep(1.0)
        if self._gone(stable):
            raise AdapterError(f"no copy of {stable.tag} is left")
        with self._world.lock:
            self._world.state.running.setdefault(_name(stable), stable)
            self._world.acted("start")

    def stop(self) -> None:
        self._obstacles.meet("stop")
        with self._world.lock:
            state = self._world.state
            if self.lasting:
                return
            if state.running or state.stable:
                state.running, state.replicas, state.stable = {}, {}, None
                self._world.acted("stop")

    def stable(self) -> Revision:
        self._obstacles.meet("stable")
        first = _revision(f"{self._service}:{self._options.stable}", Change())
        return self._world.state.stable or (replace(first, place=STABLE) if self._options.rebuilds else first)

    def previous(self) -> Revision | None:
        """Nobody keeps more than a history, and that is not ours."""
        return None

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
            if _name(revision) not in state.running:
                state.running[_name(revision)] = revision
                state.replicas[_name(revision)] = revision.change.replicas or 1
                self._began[_name(revision)] = self._clock.now()
                self._world.acted(f"deploy {revision.tag}")

    def scale(self, revision: Revision, replicas: int) -> None:
        self._obstacles.meet("scale")
        with self._world.lock:
            self._held(revision)
            if replicas < 0:
                raise AdapterError(f"{revision}: {replicas} replicas asked, expected 0 or more")
            self._world.state.replicas[_name(revision)] = replicas
            self._world.acted(f"scale {revision.tag} {replicas}")

    def grow(self, revision: Revision, share: float) -> None:
        self._obstacles.meet("grow")
        with self._world.lock:
            self._held(revision)
            wanted = max(self._world.state.replicas.get(_name(revision), 1), math.ceil(share * FULL))
            if self._options.rebuilds and not revision.place and wanted != self._world.state.replicas[_name(revision)]:
                self._world.state.replicas[_name(revision)] = wanted
                self._world.acted(f"grow {revision.tag} {wanted}")

    def strays(self) -> Sequence[Revision]:
        stable = self.stable()
        return [each for each in self._world.state.running.values() if each.key != stable.key]

    def copies(self, revision: Revision) -> frozenset[str] | None:
        """Nobody counts them apart."""
        del revision
        return None

    def hurt(self, revision: Revision) -> str:
        self._obstacles.meet("hurt")
        after = self._options.dies.get(revision.tag)
        began = self._began.get(_name(revision))
        dead = after is not None and began is not None and self._clock.now() - began >= after
        if self._gone(revision):
            return f"no copy of {revision.tag} is left"
        return f"a copy of {revision.tag} has died" if dead else ""

    def ready(self, revision: Revision) -> Readiness:
        self._obstacles.meet("ready")
        self._held(revision)
        if self._gone(revision):
            return Readiness(False, f"no copy of {revision.tag} is left", hopeless=True)
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
            state = self._world.state
            stable = canary
            if self._options.rebuilds:
                stable = replace(canary, place=STABLE)
                state.running.pop(_name(self.stable()), None)
                state.running[_name(stable)] = stable
            else:
                self._held(canary)
            state.stable = stable
            self._world.acted(f"promote {canary.tag}")
        return stable

    def remove(self, revision: Revision) -> None:
        self._obstacles.meet("remove")
        with self._world.lock:
            if revision.place:
                return
            if self._world.state.running.pop(_name(revision), None) is not None:
                self._world.state.replicas.pop(_name(revision), None)
                self._world.acted(f"remove {revision.tag}")

    def _gone(self, revision: Revision) -> bool:
        named = f"{revision.tag}@{revision.place}" if revision.place else revision.tag
        told = self._options.gone.get(named)
        if told is None or self._first is None:
            return False
        return told.after <= self._clock.now() - self._first < told.after + told.seconds

    def _model(self, revision: Revision) -> str | None:
        return revision.change.model or self._options.models.get(revision.tag, self._options.model)

    def _held(self, revision: Revision) -> None:
        if _name(revision) not in self._world.state.running:
            raise AdapterError(f"{revision} does not run here; deploy it first")


def _name(revision: Revision) -> str:
    """Under which a world knows what runs: two copies of one build in two places are two."""
    return f"{revision.pin}@{revision.place}" if revision.place else revision.pin


def _revision(image: str, change: Change) -> Revision:
    tag = Revision(image, "").tag
    return Revision(image, f"sha256:{sha256(tag.encode()).hexdigest()}", change)
