"""What a recording says of stages and verdicts, as plain values."""

from __future__ import annotations

from typing import Any

from pytest_canary.plan import Stage
from pytest_canary.ports import Weights
from pytest_canary.verdict import Verdict


def told_stage(stage: Stage, weights: Weights) -> dict[str, Any]:
    """A stage that begins."""
    named = {"index": stage.index, "stage": str(stage), "weight": stage.weight, "whose": stage.whose}
    return {**named, "weights": {str(role): share for role, share in weights.items()}}


def told_verdict(verdict: Verdict) -> dict[str, Any]:
    """What a gate said when the hold ended."""
    return {
        "gate": verdict.gate,
        "status": str(verdict.status),
        "by": str(verdict.by) if verdict.by else None,
        "alert": verdict.alert,
        "requests": verdict.canary.requests,
        "evidence": verdict.evidence,
        "odds": verdict.odds,
        "ratio": verdict.ratio,
        "sentence": verdict.sentence,
    }
