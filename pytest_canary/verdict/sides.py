"""What the two sides of a comparison are called: where the traffic returns, they have changed parts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_canary.ports import Role

PARTS = re.compile(rf"(?<![-\w/.])(the )?({Role.CANARY}|{Role.BASELINE})(?![-\w/])")


@dataclass(frozen=True, slots=True)
class Sides:
    """Who is judged, and with whom it is compared."""

    judged: str = str(Role.CANARY)
    against: str = str(Role.BASELINE)

    @classmethod
    def of(cls, label: str) -> Sides:
        """Those of a stage: ``stable 5%`` is the share of a stable build that the proven canary is the measure of."""
        whose = label.rpartition(" ")[0]
        return cls(whose, str(Role.CANARY)) if whose else cls()

    def named(self, role: Role) -> str:
        """What stands in the part of ``role``."""
        return {Role.CANARY: self.judged, Role.BASELINE: self.against}.get(role, str(role))

    def said(self, text: str) -> str:
        """A sentence about the two parts, of those who play them."""
        return PARTS.sub(self._exchanged, text)

    def _exchanged(self, found: re.Match[str]) -> str:
        name = self.named(Role(found[2]))
        return f"the {name}" + ("" if name in tuple(Role) else " build") if found[1] else name
