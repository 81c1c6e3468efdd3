"""The plan of a run, as plain values: what a replay needs and a person wants to know."""

from __future__ import annotations

from typing import Any

from pytest_canary.plan import Plan


def header_of(plan: Plan) -> dict[str, Any]:
    """Plain values; seconds, shares 0..1."""
    return {
        "stages": [
            {
                "weight": stage.weight,
                "hold": stage.hold_seconds,
                "min_requests": stage.min_requests,
                "deadline": stage.deadline_seconds,
                "allowance": stage.allowance,
            }
            for stage in plan.stages
        ],
        "gates": [
            {
                "name": gate.name,
                "limits": str(gate.limits),
                "decide": str(gate.decide),
                "alpha": gate.alpha,
                "action": str(gate.action),
            }
            for gate in plan.gates
        ],
        "poll": plan.poll_seconds,
        "pace": plan.pace,
        "when_undecided": plan.when_undecided,
        "baseline": {"window": plan.baseline_seconds, "min_requests": plan.baseline_requests},
        "control": plan.control,
        "young": plan.young_seconds,
        "holdback": plan.holdback,
        "bake": plan.bake_seconds,
        "probes": plan.probing.rate if plan.probing else None,
        "overrides": list(plan.overrides),
    }
