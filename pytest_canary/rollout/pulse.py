"""Whether what users depend on still lives: the router, the stable build they would be sent back to, the canary."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_canary.errors import AdapterError, Silent
from pytest_canary.ports import Readiness, Revision, Role, Sample, World
from pytest_canary.steps.rollback import unserved

PATIENCE_SECONDS = 3.0
"""How long either may be silent; what has ended for good is not waited for."""


class Pulse:
    """Felt at every poll; asks the platform and the router only where the counts give reason to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last: tuple[float, float] | None = None
        """Requests and errors of the stable build at the poll before."""
        self._silent_since: float | None = None
        self._mute_since: float | None = None

    def feel(self, samples: Mapping[Role, Sample], at: float) -> str:
        """What has died, in one line; empty while nothing has, or while it may only be slow."""
        baseline = samples.get(Role.BASELINE)
        if baseline is None:
            return self._felt(*self._unheard(), at)
        return self.of_stable(baseline.counters.get("requests", 0.0), baseline.counters.get("errors", 0.0), at)

    def of_stable(self, requests: float, errors: float, at: float) -> str:
        """The same where it is known what the stable build has counted so far."""
        return self._felt(*self._stable(requests, errors), at)

    def _felt(self, why: str, hopeless: bool, at: float) -> str:
        if not why:
            self._silent_since = None
            return ""
        if self._silent_since is None:
            self._silent_since = at
        return why if hopeless or at - self._silent_since >= PATIENCE_SECONDS else ""

    def of_canary(self, canary: Revision, at: float, *, counted: bool) -> str:
        """What has happened to ``canary``, in one line; a platform that is silent says nothing about it.

        Where nobody counts what it does, it has to answer for itself: metrics that are out are no verdict about a
        build, one that takes no requests is.
        """
        if counted:
            self._mute_since = None
        try:
            if said := self._world.platform.hurt(canary):
                return f"{canary} is hurt: {said}"
            return "" if counted else self._mute(canary, at)
        except AdapterError:
            return ""

    def _mute(self, canary: Revision, at: float) -> str:
        platform = self._world.platform
        now = Readiness(True) if platform.copies(canary) else platform.ready(canary)
        if now.ready:
            self._mute_since = None
        elif self._mute_since is None:
            self._mute_since = at
        elif at - self._mute_since >= PATIENCE_SECONDS:
            return f"nobody counts what {canary} does, and it is not ready: {now.why}"
        return ""

    def _stable(self, requests: float, errors: float) -> tuple[str, bool]:
        requests, errors = self._more(requests, errors)
        if errors < requests:
            return "", False
        if not requests and (lost := self._router())[0]:
            return lost  # nobody comes: because the way is gone?
        try:
            stable = self._world.platform.stable()
            now = self._world.platform.ready(stable)
        except AdapterError:  # the platform is silent, which says nothing about the build
            return "", False
        return (f"the stable build {stable} has failed: {now.why}" if not now.ready else ""), now.hopeless

    def _more(self, requests: float, errors: float) -> tuple[float, float]:
        """Requests and errors of the stable build since the poll before; none where its counters began anew."""
        before, self._last = self._last, (requests, errors)
        if before is None or requests < before[0] or errors < before[1]:
            return 0.0, 0.0
        return requests - before[0], errors - before[1]

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
