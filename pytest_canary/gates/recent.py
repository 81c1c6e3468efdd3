"""``decide: window``: the last 1,000 requests of each side, looked at in every poll."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from pytest_canary.gates.finding import Finding
from pytest_canary.gates.plain import Plain
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import By, Gate, Limits, Status
from pytest_canary.gates.window import Window

KEPT = 1000
"""Requests a side; whole polls, so a few more."""
LEAST = 50
"""Requests that each side must have before the rule speaks."""


class Recent:
    """All limits of one gate, judged on what came last; point estimates, at every poll, with no hold to wait for."""

    def __init__(self, gate: Gate) -> None:
        self._plain = Plain(gate)
        self._sides: tuple[deque[Reading], deque[Reading]] = (deque(), deque())
        self._captured = Reading()
        self._compared = True

    def capture(self, baseline: Reading) -> str | None:
        """Learn what is normal before the ramp."""
        self._captured = baseline
        return self._plain.unreadable(baseline)

    def normal(self, baseline: Reading) -> None:
        """Nothing: only what comes last counts."""

    def start_stage(self, window: Window, limits: Limits) -> None:
        """Begin a stage with the limits that hold there; what was seen last stays in the window."""
        self._plain.limits, self._compared = limits, window.compared

    def alone(self, canary: Reading) -> None:
        """Add one poll of the canary."""
        _keep(self._sides[0], canary)

    def compare(self, canary: Reading, baseline: Reading, at: float) -> None:
        """Add what the baseline counted; the canary's part has come in alone."""
        del canary, at
        _keep(self._sides[1], baseline)

    def finding(self, _canary: Reading, _baseline: Reading, served: bool) -> Finding:
        """What the last requests say."""
        mine = sum(self._sides[0], Reading())
        theirs = sum(self._sides[1], Reading()) if self._compared else self._captured
        finding = self._plain.finding(mine, theirs, f"last {mine.requests:.0f}: ")
        if not mine.requests:
            return replace(finding, status=Status.NO_DATA)
        needs_baseline = self._plain.limits.relative and theirs.requests < LEAST
        if mine.requests < LEAST or needs_baseline:
            return replace(finding, says=f"{finding.says}; needs {LEAST} requests a side")
        worse = self._plain.worse(mine, theirs)
        if worse is None:
            return finding
        if worse:
            return replace(finding, status=Status.FAIL, by=By.WINDOW, harmless=False)
        return replace(finding, status=Status.PASS if served else Status.UNDECIDED, by=By.WINDOW, harmless=True)


def _keep(side: deque[Reading], poll: Reading) -> None:
    """Add a poll, and let go of the oldest that are not needed for a full window."""
    if poll.requests:
        side.append(poll)
    while side and sum(one.requests for one in side) - side[0].requests >= KEPT:
        side.popleft()
