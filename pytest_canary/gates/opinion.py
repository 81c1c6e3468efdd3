"""The second opinion of the replicas: one bad minute of one of them convicts nobody."""

from __future__ import annotations

from collections.abc import Callable
from math import log

from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Levels
from pytest_canary.stats.replicas import FEWEST, ReplicaEvidence, choices, evened

WINDOW_WORTH = 10.0
"""The most that one window may be worth, so that no single moment convicts, however large the fleet."""
FEWEST_TO_CLEAR = 3
"""Canary replicas below which one of them cannot be told from the build."""

Events = Callable[[Reading], float | None]
"""How many of a reading's requests count as events; None where nobody can say."""

Replica = tuple[float, float]
"""Requests and events."""


class SecondOpinion:
    """Windows of counts per replica; where they can be compared, they must agree before a canary is convicted."""

    def __init__(self, stages: int, levels: Levels) -> None:
        self._evidence = ReplicaEvidence(stages, first=levels.first, worth=WINDOW_WORTH)
        self._levels = levels
        self._window_seconds = levels.replica_window_seconds
        self._began: float | None = None
        self._canary: dict[str, Replica] = {}
        self._baseline: dict[str, Replica] = {}
        self._compared, self._canaries = False, 0
        self.uneven = False
        """Whether there were replicas on both sides, but none of equal traffic."""

    def start_stage(self, hold_seconds: float) -> None:
        """Begin the copy that starts at this stage; a fifth of the hold is the longest window."""
        self._evidence.start_stage()
        self._window_seconds = min(self._levels.replica_window_seconds, hold_seconds / 5)
        self._began, self._canary, self._baseline = None, {}, {}
        self._compared = self.uneven = False

    def add(self, canary: Reading, baseline: Reading, events: Events, at: float) -> None:
        """Add one poll, which ended at ``at`` seconds."""
        if self._levels.replicas <= 1:
            return
        if self._began is None:
            self._began = at
        elif at - self._began >= self._window_seconds - 1e-6:
            self._close()
            self._began = at
        _gather(self._canary, canary, events)
        _gather(self._baseline, baseline, events)

    def _close(self) -> None:
        mine, theirs = list(self._canary.values()), list(self._baseline.values())
        self._canary, self._baseline = {}, {}
        if not mine or not theirs:
            return
        even = evened(mine, theirs)
        self.uneven = even is None
        if even is not None:
            canary, baseline = even
            both = [*canary, *baseline]
            self._evidence.window([n for n, _ in both], [x for _, x in both], len(canary))
            self._compared, self._canaries = True, len(canary)

    @property
    def asked(self) -> bool:
        """Whether the replicas have anything to say at this stage."""
        return self._compared or (not self.uneven and choices(len(self._canary), len(self._baseline)) >= FEWEST)

    @property
    def log_e(self) -> float:
        """Log evidence of "the canary's replicas are not like the others"."""
        return float(self._evidence.log_e[0])

    @property
    def agrees(self) -> bool:
        """Whether the replicas do not stand in the way of a conviction."""
        return not self.asked or self.log_e >= log(self._levels.replicas)

    @property
    def clears(self) -> bool:
        """Whether one bad moment of one replica explains what totals hold against the canary.

        It can bring the evidence to 10 at most, the worth of one window; a build twice as bad, with three replicas or
        more, is far above that after a hold.
        """
        return self._compared and self._canaries >= FEWEST_TO_CLEAR and self.log_e <= log(WINDOW_WORTH)

    @property
    def wanted(self) -> float:
        """Evidence that is asked of the replicas."""
        return self._levels.replicas


def _gather(window: dict[str, Replica], side: Reading, events: Events) -> None:
    for name, one in side.replicas.items():
        bad = events(one)
        if bad is not None:
            requests, before = window.get(name, (0.0, 0.0))
            window[name] = (requests + one.requests, before + bad)
