"""What a calibration found, gate by gate, and the file that is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_canary.calibrated import Calibrated, Calibration, Share, digest_of
from pytest_canary.calibration.noise import Noise
from pytest_canary.gates import Gate
from pytest_canary.play import Played
from pytest_canary.stats.binomial import share_interval


@dataclass(frozen=True, slots=True)
class Measured:
    """What a gate with these levels did to pseudo-canaries, and to injected regressions."""

    false: Share
    """Pseudo-canaries that were rolled back."""
    times: float | None = None
    """How many times worse the injected build was; None where none was injected."""
    caught: float = 0.0
    """Share of them that was stopped, 0..1."""
    exposed: float = 0.0
    """Their requests until then, on average."""


@dataclass(frozen=True, slots=True)
class Found:
    """One gate."""

    gate: Gate
    """As the plan has it."""
    phi: float
    replicas: float
    before: Measured
    after: Measured
    noise: Noise | None = None
    enough: bool = True
    """Whether these levels keep false rollbacks as rare as was asked."""
    refused: int = 0
    """Plays that did not begin, and ..."""
    why: str = ""
    """... why not, of one of them."""

    @property
    def raised(self) -> bool:
        """Whether anything had to be raised."""
        return self.phi > self.gate.design_effect or self.replicas > self.gate.levels.replicas


def share_of(stopped: int, plays: int) -> Share:
    """So many of so many, with the interval; of none nothing is known."""
    if plays <= 0:
        return Share(0, 0, 0.0, 1.0)
    return Share(stopped, plays, *share_interval(stopped, plays))


def false_of(played: Sequence[Played]) -> Share:
    """Plays that any gate rolled back."""
    if not played:
        return share_of(0, 0)
    stopped = played[0].stopped.copy()
    for one in played[1:]:
        stopped |= one.stopped
    return share_of(int(stopped.sum()), len(stopped))


def as_file(
    found: Sequence[Found], before: Share, after: Share, *, at: float, of: str, stages: str, doubts: Sequence[str]
) -> Calibration:
    """What is written beside the rollout.yaml."""
    gates = tuple(
        Calibrated(
            one.gate.name, digest_of(one.gate), one.phi, one.replicas, one.before.false, one.after.false,
            one.enough, one.noise.floor if one.noise else None, one.noise.smallest if one.noise else None,
        )
        for one in found
        if one.after.false.plays
    )  # fmt: skip
    return Calibration(at, of, stages, before, after, gates, tuple(doubts))
