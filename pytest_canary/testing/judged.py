"""One gate, held against counts that a test states, by the judge of a rollout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_canary.errors import UsageError
from pytest_canary.gates import Gate
from pytest_canary.ports import Role
from pytest_canary.spec import gate_from
from pytest_canary.testing.counted import Counts, samples_of
from pytest_canary.testing.wanted import Source, planned
from pytest_canary.verdict import Judge, Verdict, settled, share_alpha

POLLS = 20
"""In so many equal parts the counts come; evidence is looked at after each."""


def verdict_of(
    gate: str,
    *,
    canary: Counts,
    baseline: Counts | None = None,
    rollout: Source | None = None,
    target: str | None = None,
    seconds: float = 300.0,
    **limits: Any,
) -> Verdict:
    """What the gate says of a stage at which both builds have counted that, once its hold of ``seconds`` is over.

    Either the limits are given as in rollout.yaml (``ratio=1.5``, ``max="800ms"``, ``decide="threshold"``), or
    ``rollout`` is the file that declares the gate (a path, a folder or its text).
    The counts come evenly over the stage; what is normal is what the baseline counts.
    Without a ``baseline`` nothing is compared, as at 100 %.

    Raises:
        UsageError: no such gate or limit, in one line.

    """
    if rollout is None:
        return judge(share_alpha([gate_from(gate, limits, "verdict_of")])[0], canary, baseline, seconds)
    if limits:
        raise UsageError(f"verdict_of({gate!r}): found limits and a rollout, expected one of them")
    with planned(rollout, target=target) as (_, plan):
        declared = {one.name: one for one in share_alpha(plan.gates)}
    if gate not in declared:
        raise UsageError(f"verdict_of({gate!r}): no gate is called so, expected one of {', '.join(declared)}")
    return judge(declared[gate], canary, baseline, seconds)


def judge(gate: Gate, canary: Counts, baseline: Counts | None, seconds: float) -> Verdict:
    """What ``gate`` says in the end."""
    gate = replace(gate, only_stages=None, stages=())
    for one in (canary, *([] if baseline is None else [baseline])):
        if not isinstance(one, Counts):
            raise UsageError(f"found {one!r}, expected counts, such as counts(1000, errors=40)")
    both = {Role.CANARY: canary} | ({Role.BASELINE: baseline} if baseline is not None else {})
    limits = [limit for limit in (gate.limits.max, gate.limits.min) if limit is not None]
    normal = (canary if baseline is None else baseline).sample(limits)
    asking, users = Judge([gate], 1), sum(one.requests for one in both.values())
    asking.capture(normal)
    share = canary.requests / users if users else 0.0
    asking.start_stage(
        0,
        0.0,
        share,
        baseline is not None,
        seconds,
        0,
        samples_of(both, limits, 0.0, 0.0),
        label=f"{share:.0%}",
    )
    step = seconds / POLLS
    for poll in range(1, POLLS + 1):
        asking.observe(samples_of(both, limits, poll / POLLS, poll * step), poll * step)
    decision = asking.decide(
        elapsed=seconds, hold=seconds, min_requests=0, deadline=None, pace="hold", when_undecided="advance"
    )
    return settled(asking.verdicts(), decision)[0]
