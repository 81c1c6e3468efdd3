"""Whether what was told last is new enough for a stage to be over: no news is not good news."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_canary.ports import Role, Sample
from pytest_canary.verdict import Decision, Step

OLD_SECONDS = 5.0
"""How old it may be, besides two looks or two of the source's own intervals."""


def old(
    samples: Mapping[Role, Sample], roles: Sequence[Role], looked_at: float, poll: float, interval: float | None
) -> str:
    """Which role was told of too long before the last look, one copy of it perhaps; empty when none was.

    ``looked_at`` is on the run's clock; ``poll`` and ``interval``, how often the source itself has news, in seconds.
    """
    most = 2 * max(poll, interval or 0.0) + OLD_SECONDS
    ages = {role: looked_at - samples[role].at for role in roles if role in samples}
    late = [role for role, age in ages.items() if age > most]
    return f"what is told of the {late[0]} is {ages[late[0]]:.0f} s old" if late else ""


def held_back(decision: Decision, why: str, elapsed: float, deadline: float | None) -> Decision:
    """``decision``, which goes on with nothing as long as there is a ``why``; seconds since the hold began."""
    if decision.step is not Step.ADVANCE or not why:
        return decision
    if deadline is not None and elapsed >= deadline:
        return replace(decision, step=Step.STOP, why=f"deadline of {deadline:g} s reached: {why}", overdue=True)
    return replace(decision, step=Step.WAIT, why=f"waits for news: {why}")
