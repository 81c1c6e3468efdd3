"""Whether what all users depend on still lives: the router, and the stable build they would be sent back to."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_canary.errors import AdapterError, Silent
from pytest_canary.ports import Role, Sample, World
from pytest_canary.steps.rollback import unserved

PATIENCE_SECONDS = 3.0
"""How long either may be silent; what has ended for good is not waited for."""


class Pulse:
    """Felt at every poll; asks the platform and the router only where the counts give reason to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last: Sample | None = None
        self._silent_since: float | None = None

    def feel(self, samples: Mapping[Role, Sample], at: float) -> str:
        """What has died, in one line; empty while nothing has, or while it may only be slow."""
        baseline = samples.get(Role.BASELINE)
        why, hopeless = self._stable(baseline) if baseline is not None else self._unheard()
        if not why:
            self._silent_since = None
            return ""
        if self._silent_since is None:
            self._silent_since = at
        return why if hopeless or at - self._silent_since >= PATIENCE_SECONDS else ""

    def _stable(self, sample: Sample) -> tuple[str, bool]:
        whole = Sample(sample.at, sample.counters, sample.histograms)  # of dozens of replicas nothing is asked here
        since, self._last = whole.since(self._last) if self._last is not None else None, whole
        counted = since.counters if since is not None else {}
        if counted.get("errors", 0.0) < counted.get("requests", 0.0):
            return "", False
        if not counted.get("requests") and (lost := self._router())[0]:
            return lost  # nobody comes: because the way is gone?
        try:
            stable = self._world.platform.stable()
            now = self._world.platform.ready(stable)
        except AdapterError:  # the platform is silent, which says nothing about the build
            return "", False
        return (f"the stable build {stable} has failed: {now.why}" if not now.ready else ""), now.hopeless

    def _unheard(self) -> tuple[str, bool]:
        """When nobody tells what the stable build counts, there may be nobody who could."""
        why, hopeless = self._router()
        if why:
            return why, hopeless
        gone = unserved(self._world)
        return (f"the stable build{self._name()} has failed: {gone}" if gone else ""), False

    def _name(self) -> str:
        """Which build is stable, where the platform still tells."""
        try:
            return f" {self._world.platform.stable()}"
        except AdapterError:
            return ""

    def _router(self) -> tuple[str, bool]:
        try:
            self._world.router.weights()
        except Silent:  # whom we ask is not who serves
            return "", False
        except AdapterError as error:
            return f"the router has failed: {error}", False
        return "", False
