"""Which build plays which part in a rollout, and all that each is pinned by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pytest_canary.identity import Identity, Pinned
from pytest_canary.ports import Revision, Role


@dataclass
class Cast:
    """Which build plays which part; None while the part is not given."""

    stable: Revision | None = None
    """What was stable when the rollout began, and after promotion the promoted one."""
    canary: Revision | None = None
    control: Revision | None = None
    previous: Revision | None = None
    """What was stable before the promoted build."""
    _pins: dict[str, Pinned] = field(default_factory=dict)
    """Pin -> what is known of that build."""

    @property
    def builds(self) -> dict[Role, Revision]:
        """Every part that is given."""
        return {role: build for role in Role if (build := self.build(role)) is not None}

    def build(self, role: Role) -> Revision | None:
        """Who plays ``role``."""
        return {Role.BASELINE: self.stable, Role.CONTROL: self.control, Role.CANARY: self.canary}[role]

    def pin(self, revision: Revision, policy: str) -> None:
        """Learn the policy that ``revision`` runs under."""
        self._pins[revision.pin] = replace(self._of(revision), policy=policy)

    def know(self, revision: Revision, model: Identity) -> None:
        """Learn the model that ``revision`` serves."""
        self._pins[revision.pin] = replace(self._of(revision), model=model)

    def pinned(self) -> Mapping[str, Pinned]:
        """``stable``, ``canary`` and ``previous``, as far as there are any: what each is pinned by."""
        parts = {"stable": self.stable, "canary": self.canary, "previous": self.previous}
        return {name: self._of(revision) for name, revision in parts.items() if revision is not None}

    def properties(self) -> dict[str, str]:
        """The same for a JUnit: ``stable.image``, ``stable.model`` and so on."""
        return {
            f"{name}.{key}": str(value)
            for name, pinned in self.pinned().items()
            for key, value in pinned.to_data().items()
            if value and isinstance(value, str)
        }

    def _of(self, revision: Revision) -> Pinned:
        return self._pins.get(revision.pin) or Pinned(revision)
