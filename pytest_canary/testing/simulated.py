"""How one simulated rollout has ended."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_canary.outcome import End
from pytest_canary.verdict import Verdict


@dataclass(frozen=True, repr=False)
class Simulated:
    """One rollout, as it was simulated."""

    seed: int
    end: End
    stage: str = ""
    """At which it was stopped, such as ``25%``; empty where it was not."""
    gates: tuple[str, ...] = ()
    """Who stopped it, in the order of the file; of many simulations only the first is known."""
    exposed: int = 0
    """Requests of users that the canary had answered by then."""
    seconds: float = 0.0
    """Virtual time from the first share of the traffic to the stop, or to the end of the last stage."""
    why: str = ""
    verdicts: tuple[Verdict, ...] = ()
    """Of every stage that was held, in order; of many simulations they are not kept."""

    @property
    def promoted(self) -> bool:
        """Whether the build was shipped."""
        return self.end is End.PROMOTED

    @property
    def stopped(self) -> bool:
        """Whether the build was rolled back once users had met it."""
        return self.end is End.ROLLED_BACK

    @property
    def gate(self) -> str:
        """The gate that stopped it, the first where there were several; empty where none did."""
        return self.gates[0] if self.gates else ""

    def __repr__(self) -> str:
        """The same sentence: what pytest shows of an assertion that fails."""
        return f"<{self}>"

    def __str__(self) -> str:
        by = f" at {self.stage} by {', '.join(self.gates) or self.why}" if self.stopped else ""
        why = f": {self.why}" if not self.stopped and not self.promoted else ""
        return f"seed {self.seed}: {self.end}{by}{why}, {self.exposed:,} users exposed, {self.seconds:.0f} s"
