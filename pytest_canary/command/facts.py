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
    why: str = ""
    weights: str = ""
    """The last shares that were given, in words."""
    stable: Revision | None = None
    """The build that was promoted last, or the one that was stable when a canary was deployed."""
    left: Unfinished | None = None
    canary: Revision | None = None
    """What the last run deployed."""
    guard: str = ""
    """Who watches it besides the guard on the machine of the run, and how that is asked; empty where nobody does."""

    @property
    def serves(self) -> bool:
        """Whether a world was left serving on purpose."""
        return self.keep and bool(self.end)


def told(facts: Sequence[Fact]) -> Told:
    """Read ``facts``, oldest first; a new run begins anew, what is stable stays."""
    run = image = end = why = weights = guard = ""
    keep, stable, canary = False, None, None
    for fact in facts:
        data = fact.data
        if fact.kind == "run":
            run, image, keep = str(data.get("run", "?")), str(data.get("image", "?")), bool(data.get("keep"))
            end = why = weights = guard = ""
            canary = None
        elif fact.kind == "settled":
            end, why, guard = str(data.get("end", "ended")), str(data.get("why", "")), ""
            stable = Revision.from_data(data["stable"]) if data.get("stable") else stable
        elif fact.kind == "weights":
            weights = _shares(data)
        elif fact.kind == "deploy":
            stable, canary = Revision.from_data(data["stable"]), Revision.from_data(data["canary"])
        elif fact.kind == "guard":
            guard = _guard(str(data.get("job", "?")), str(data.get("namespace", "?")))
        elif fact.kind == "stable":
            stable = Revision.from_data(data)
    return Told(run, image, keep, end, why, weights, stable, unfinished(facts), canary, guard)


def _guard(job: str, namespace: str) -> str:
    return f"Job {job} in the cluster; what it has seen: kubectl -n {namespace} logs job/{job}"


def _shares(data: object) -> str:
    shares = data.items() if hasattr(data, "items") else ()
    return ", ".join(f"{role} {share * 100:g} %" for role, share in shares if isinstance(share, float | int))
