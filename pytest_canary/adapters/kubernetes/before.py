"""What a promotion changes of the stable Deployment, as it was before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pytest_canary.adapters.kube import Json

CHANGE = "pytest-canary/change"
"""What a promotion changed besides the image: without it nobody could tell that the same is stable already."""


@dataclass(frozen=True, slots=True)
class Original:
    """What a promotion changes of a Deployment, as it was: image, environment and arguments of one container."""

    image: str
    env: Any
    args: Any
    change: str | None

    @classmethod
    def of(cls, deployment: Json, container: Json) -> Original:
        """As they are now."""
        notes = deployment["metadata"].get("annotations") or {}
        return cls(container["image"], container.get("env"), container.get("args"), notes.get(CHANGE))

    def to_text(self) -> str:
        """For an annotation; :meth:`from_text` reads it back."""
        return json.dumps({"image": self.image, "env": self.env, "args": self.args, "change": self.change})

    @classmethod
    def from_text(cls, text: str) -> Original:
        """What :meth:`to_text` wrote."""
        told = json.loads(text)
        return cls(told["image"], told["env"], told["args"], told["change"])
