"""How a rollout ended, and all that a person on call needs to know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pytest_canary.identity import Pinned
from pytest_canary.ports import Probed, Revision, Role, Seen
from pytest_canary.steps.rollback import Drained
from pytest_canary.verdict import Verdict


class End(StrEnum):
    """The ways a rollout can end."""

    PROMOTED = "promoted"
    UNCHANGED = "already stable"
    ROLLED_BACK = "rolled back"
    NOT_STARTED = "not started"
    NOT_RESTORED = "not restored"


@dataclass(frozen=True, slots=True)
class Row:
    """One step of a rollout as it went: a line on the terminal, a row in JUnit."""

    name: str
    passed: bool
    text: str
    seconds: float
    numbers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """The moment the canary lost its traffic."""

    why: str
    stage: str
    at: float
    """Wall time at which weight 0 was programmed."""
    seconds: float
    """Time the router took for it."""
    first_bad_at: float | None = None
    """Wall time of the first bad answer of the canary that anybody saw."""

    @property
    def after_seconds(self) -> float | None:
        """From the first bad answer to weight 0."""
        return None if self.first_bad_at is None else max(0.0, self.at - self.first_bad_at)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a finished rollout leaves."""

    run: str
    service: str
    target: str
    image: str
    end: End
    why: str
    began_at: float
    ended_at: float
    stable: Revision | None = None
    """The build that holds 100 % now; None when it is not known."""
    canary: Revision | None = None
    previous: Revision | None = None
    """The build that was stable before."""
    rows: tuple[Row, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """The verdicts of every stage that was held, in order."""
    cut: Cut | None = None
    drained: Drained | None = None
    exposed: int = 0
    """Requests of users that the canary answered."""
    seen: Seen | None = None
    probed: Mapping[Role, Probed] = field(default_factory=dict)
    """What the probes of each role saw; empty where none were sent."""
    overrides: tuple[str, ...] = ()
    calibration: str = ""
    """What the plan used of a calibration, or why it did not; empty where there was none."""
    warnings: tuple[str, ...] = ()
    runbook: str = ""
    trouble: tuple[str, ...] = ()
    """What went wrong while putting things right; not restored when the weight itself is in doubt."""
    recording: str = ""
    rollout: str = ""
    """Node id of the rollout.yaml, which is its path under pytest's root."""
    keep: bool = False
    """Whether the world goes on serving."""
    unload_seconds: float | None = None
    """What it took to remove the build that lost its traffic, once it was drained."""
    return_seconds: float | None = None
    """Where promotion started the build anew: from the last gate that passed to all traffic on the new processes."""
    interrupted: bool = False
    """Whether somebody ended it (Ctrl-C, a signal, ``abort``), so that nothing is said against the build."""
    pins: Mapping[str, Pinned] = field(default_factory=dict)
    """``stable``, ``canary`` and ``previous``, as far as there are any: all that each is pinned by."""
    folder: str = ""
    """Folder of the rollout.yaml, as it is reached from where pytest was started."""

    simulated: str = ""
    """By what it was made up, in words, so that nothing has happened on the target; else empty."""
    how_often: tuple[str, ...] = ()
    """What `pytest-canary power` is asked to learn how often what was injected is caught; empty where nothing was."""

    @property
    def place(self) -> str:
        """Where it ended: ``on production``, or ``in simulation (production)``."""
        return f"in simulation ({self.target})" if self.simulated else f"on {self.target}"

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The verdicts that convicted."""
        return tuple(v for v in self.verdicts if v.status == "fail" and not v.alert)
