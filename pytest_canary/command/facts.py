"""What the facts of a ledger tell a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_canary.ports import Fact, Revision
from pytest_canary.steps.restore import Unfinished, unfinished


@dataclass(frozen=True, slots=True)
class Told:
    """The present chapter in short."""

    run: str = ""
    image: str = ""
    keep: bool = False
    end: str = ""
    """How the last run ended; empty while it has not."""
    weights: str = ""
    """The last shares that were given, in words."""
    stable: Revision | None = None
    """The build that was promoted last, or the one that was stable when a canary was deployed."""
    left: Unfinished | None = None

    @property
    def serves(self) -> bool:
        """Whether a world was left serving on purpose."""
        return self.keep and bool(self.end)


def told(facts: Sequence[Fact]) -> Told:
    """Read ``facts``, oldest first; a new run begins anew, what is stable stays."""
    run = image = end = weights = ""
    keep, stable = False, None
    for fact in facts:
        data = fact.data
        if fact.kind == "run":
            run, image, keep = str(data.get("run", "?")), str(data.get("image", "?")), bool(data.get("keep"))
            end = weights = ""
        elif fact.kind == "settled":
            end = str(data.get("end", "ended"))
            stable = Revision.from_data(data["stable"]) if data.get("stable") else stable
        elif fact.kind == "weights":
            weights = _shares(data)
        elif fact.kind == "deploy":
            stable = Revision.from_data(data["stable"])
        elif fact.kind == "stable":
            stable = Revision.from_data(data)
    return Told(run, image, keep, end, weights, stable, unfinished(facts))


def _shares(data: object) -> str:
    shares = data.items() if hasattr(data, "items") else ()
    return ", ".join(f"{role} {share * 100:g} %" for role, share in shares if isinstance(share, float | int))
