"""From the verdicts of a poll to what to do, and how the false-rollback budget is shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import pi
from typing import TYPE_CHECKING

from pytest_canary.gates.values import By, Gate, Levels, Status
from pytest_canary.verdict.values import Decision, Step, Verdict

if TYPE_CHECKING:  # numpy loads with the first judge
    import numpy as np
    from numpy.typing import NDArray

    from pytest_canary.gates.look import Codes
    from pytest_canary.stats.rows import Flags

NAMED = 4
"""So many gates are named where one line tells how they passed."""


def decide(
    verdicts: Sequence[Verdict],
    *,
    elapsed: float,
    requests: float,
    hold: float,
    min_requests: int,
    deadline: float | None,
    pace: str = "hold",
    when_undecided: str = "advance",
) -> Decision:
    """What to do now: stop on any fail; go on once the stage is served and nothing speaks against it; else wait.

    ``elapsed``, ``hold`` and ``deadline`` in seconds; gates that only alert have no say.
    """
    from pytest_canary.verdict.course import STEPS, Rules, what_next

    required = [verdict for verdict in verdicts if not verdict.alert]
    rules = Rules(hold, min_requests, deadline, pace, when_undecided)
    course = what_next(*_columns(required), rules, *_rows(elapsed, requests))
    step, overdue = STEPS[course.step[0]], bool(course.overdue[0])
    if overdue:
        waits = _waits(required, elapsed, requests, hold, min_requests, at_length=True)
        return Decision(step, f"deadline of {deadline:g} s reached: {waits}", overdue=True)
    if step is Step.STOP:
        failed = [verdict for verdict in required if verdict.status is Status.FAIL]
        return Decision(step, "; ".join(verdict.sentence or f"{verdict.gate} fails" for verdict in failed))
    if step is Step.ADVANCE:
        return Decision(step, _why_passed(required))
    return Decision(step, f"waits for {_waits(required, elapsed, requests, hold, min_requests, at_length=False)}")


def _columns(verdicts: Sequence[Verdict]) -> tuple[Codes, Flags]:
    """Status and harmlessness of one rollout, a row per gate."""
    import numpy as np

    from pytest_canary.gates.look import STATUSES

    status = np.array([[STATUSES.index(verdict.status)] for verdict in verdicts], dtype=np.int8)
    harmless = np.array([[verdict.harmless] for verdict in verdicts], dtype=bool)
    return status.reshape(-1, 1), harmless.reshape(-1, 1)


def _rows(*values: float) -> Iterator[NDArray[np.float64]]:
    import numpy as np

    return (np.array([value]) for value in values)


def still_waits(
    elapsed: float, requests: float, hold: float, min_requests: int, blind: Sequence[str], side: str
) -> Decision:
    """What a stage waits for that cannot end yet, whatever its gates say; ``blind`` are those without data."""
    waits = _missing(elapsed, requests, hold, min_requests, side, blind)
    return Decision(Step.WAIT, f"waits for {' and '.join(waits) or 'the next poll'}")


def _no_harm(verdict: Verdict) -> bool:
    return verdict.status is Status.PASS or (verdict.status is Status.UNDECIDED and verdict.harmless)


def _why_passed(required: Sequence[Verdict]) -> str:
    grounds: dict[str, list[str]] = {}
    for verdict in required:
        by = verdict.by if verdict.status is Status.PASS and verdict.by else By.SOAK
        grounds.setdefault(by.value, []).append(verdict.gate)
    said = [f"{_named(names, len(required))} {_ground(by)}" for by, names in grounds.items()]
    return "; ".join(said) or "served; no gate was declared that rolls back"


def _named(gates: Sequence[str], all_gates: int) -> str:
    """Their names, or how many they are where that says enough."""
    if len(gates) <= NAMED:
        return ", ".join(gates)
    return f"all {len(gates)} gates" if len(gates) == all_gates else f"{len(gates)} gates"


def _ground(by: str) -> str:
    return "not compared: nothing is left to compare with" if by == By.NOT_COMPARED else f"passed by {by}"


def _waits(
    required: Sequence[Verdict], elapsed: float, requests: float, hold: float, min_requests: int, *, at_length: bool
) -> str:
    blind = [verdict.gate for verdict in required if verdict.status is Status.NO_DATA]
    side = required[0].side if required else "canary"
    waits = _missing(elapsed, requests, hold, min_requests, side, blind)
    doubted = [verdict for verdict in required if verdict.status is Status.UNDECIDED and not verdict.harmless]
    if not waits or (elapsed >= hold and requests >= min_requests):
        undecided = doubted or [verdict for verdict in required if verdict.status is Status.UNDECIDED]
        waits += [f"a decision on {(at_length and verdict.sentence) or verdict.gate}" for verdict in undecided]
    return " and ".join(waits) or "the next poll"


def _missing(
    elapsed: float, requests: float, hold: float, min_requests: int, side: str, blind: Sequence[str]
) -> list[str]:
    waits = [f"{hold - elapsed:.0f} s of hold"] if elapsed < hold else []
    waits += [f"{min_requests - requests:.0f} more {side} requests"] if requests < min_requests else []
    return waits + ([f"data for {', '.join(blind)}"] if blind else [])


def settled(verdicts: Sequence[Verdict], decision: Decision) -> tuple[Verdict, ...]:
    """The verdicts as ``decision`` leaves them: passed by proof or soak, or failed by the deadline."""
    if decision.step is Step.ADVANCE:
        return tuple(_soaked(verdict) if verdict.status is Status.UNDECIDED else verdict for verdict in verdicts)
    if not decision.overdue:
        return tuple(verdicts)
    required = [verdict for verdict in verdicts if not verdict.alert]
    guilty = [v for v in required if not _no_harm(v)] or [v for v in required if v.status is not Status.PASS]
    return tuple(_overdue(verdict, decision.why) if verdict in guilty else verdict for verdict in verdicts)


def _soaked(verdict: Verdict) -> Verdict:
    if not verdict.harmless:
        return verdict
    proof = _proof(verdict)
    sentence = f"{verdict.sentence}; no sign of harm{', ' if proof else ''}{proof}"
    return replace(verdict, status=Status.PASS, by=By.SOAK, sentence=sentence)


def _proof(verdict: Verdict) -> str:
    """How far proof is away; empty where that is not known."""
    if not verdict.needed:
        return ""
    minutes = f" ({_minutes(verdict.needed_seconds)} at this split)" if verdict.needed_seconds else ""
    return f"proof would take about {verdict.needed:,.0f} more {verdict.side} {verdict.of}{minutes}"


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _overdue(verdict: Verdict, why: str) -> Verdict:
    status = Status.NO_DATA if verdict.status is Status.NO_DATA else Status.FAIL
    proof = _proof(verdict)
    sentence = f"{verdict.sentence}; {why.partition(':')[0]}{', ' if proof else ''}{proof}"
    return replace(verdict, status=status, by=By.DEADLINE, sentence=sentence)


def share_alpha(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """Give each declared gate its part of the false-rollback budget: errors 1 %, all others together 2 %.

    A gate that asks for a part of its own has that.
    """
    sharing = [gate for gate in gates if gate.asked_alpha is None]
    errors = sum(gate.metric.name == "error_rate" for gate in sharing)
    others = len(sharing) - errors
    return tuple(replace(gate, alpha=gate.asked_alpha or _part(gate, gate.levels, errors, others)) for gate in gates)


def _part(gate: Gate, levels: Levels, errors: int, others: int) -> float:
    return levels.alpha / max(errors, 1) if gate.metric.name == "error_rate" else levels.others / max(others, 1)


def check_alpha(nth: int, levels: Levels) -> float:
    """Part of the budget for the ``nth`` gate (from 1) that appears while the rollout runs; 1 % all together."""
    return levels.checks * 6 / (pi**2 * nth**2)
