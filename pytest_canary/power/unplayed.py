"""What a real rollout does besides, and no batch plays: said, so that nobody takes it to be in the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_canary.gates import Decide, Gate, Kind
from pytest_canary.plan import Plan


def unplayed(plan: Plan, checks: Sequence[str], tests: Sequence[str], *, rebuilds: bool) -> Iterator[str]:
    """One line each; ``checks`` are ``stage.check`` calls, ``tests`` those that ask for ``stage``."""
    probed = [gate.name for gate in plan.gates if gate.metric.probed]
    if probed:
        yield f"{', '.join(probed)}: fed by probes, which are not simulated"
    if checks:
        yield f"stage.check in {', '.join(checks)}"
    if tests:
        many = f"{len(tests)} tests that ask for `stage`" if len(tests) > 3 else ", ".join(tests)
        yield f"the bodies of {many}" if len(tests) > 3 else f"the body of {many}"
    if rebuilds:
        yield "the way back of the traffic to the stable build once that has been promoted"
    if plan.bake_seconds and not rebuilds:
        yield f"the bake of {plan.bake_seconds:g} s after the last stage"


def one_by_one(gates: Sequence[Gate]) -> list[str]:
    """Gates that are played, but rollout by rollout: slower than the others."""
    slow = (Decide.WINDOW,)
    return [
        gate.name for gate in gates if gate.decide in slow or gate.metric.kind is Kind.GAUGE or "shift" in gate.kinds()
    ]
