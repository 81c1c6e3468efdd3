"""Today's gates and the stages that were recorded -> the plan of a replay, and what of today's cannot be replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_canary.gates import Gate
from pytest_canary.identity import Wanted
from pytest_canary.plan import Plan, Stage, Warmup
from pytest_canary.recording import Header
from pytest_canary.replay.quantity import quantity


@dataclass(frozen=True, slots=True)
class Replan:
    """The plan of a replay."""

    plan: Plan
    notes: tuple[str, ...]
    """What of today's rollout.yaml a recording cannot answer, one sentence each."""


def replanned(plan: Plan, header: Header) -> Replan:
    """``plan`` over the stages of ``header``; whatever would start, ask or wait for something is left out.

    Raises ValueError where the header has a plan that makes no sense.
    """
    told = header.plan
    stages = tuple(_stage(plan, index, one) for index, one in enumerate(header.stages))
    gates = tuple(_moved(gate, plan.stages, stages) for gate in plan.gates)
    window = told.get("baseline") or {}
    if not isinstance(window, Mapping):
        raise ValueError(f"baseline {str(window)[:40]}, expected such as {{'window': 600, 'min_requests': 100}}")
    made = replace(
        plan,
        image=header.image or f"{header.service or plan.service}:canary",
        stages=stages,
        gates=gates,
        poll_seconds=quantity("poll", told.get("poll") or None, plan.poll_seconds),
        baseline_seconds=quantity("window", window.get("window")),
        baseline_requests=int(quantity("min_requests", window.get("min_requests"))),
        control=bool(told.get("control", False)),
        young_seconds=quantity("young", told.get("young"), plan.young_seconds),
        holdback=quantity("holdback", told.get("holdback"), most=1.0),
        warmup=Warmup(),
        smoke=(),
        models=Wanted(served=False),
        policies=(),
        build=(),
        bake_seconds=None,
        probing=None,
        synthetic_users=False,
        keep=False,
    )
    return Replan(made, tuple(_notes(plan.stages, stages)))


def _stage(plan: Plan, index: int, told: Mapping[str, Any]) -> Stage:
    deadline = told.get("deadline")
    weight = quantity("weight", told.get("weight"), -1.0, most=1.0)
    if weight <= 0:
        raise ValueError(f"stage {index + 1} without a weight, expected 0..1; 0.05 is 5 %")
    return Stage(
        plan.rollout,
        index,
        weight,
        quantity("hold", told.get("hold")),
        int(quantity("min_requests", told.get("min_requests"))),
        None if deadline is None else quantity("deadline", deadline),
        max(quantity("allowance", told.get("allowance"), 1.0, most=1000.0), 1.0),
    )


def _moved(gate: Gate, today: Sequence[Stage], recorded: Sequence[Stage]) -> Gate:
    """``gate`` with what it says of single stages moved to the recorded stages of the same weight."""
    by_weight = {stage.weight: stage.index for stage in recorded}
    place = {stage.index: by_weight[stage.weight] for stage in today if stage.weight in by_weight}
    own = tuple((place[index], limits) for index, limits in gate.stages if index in place)
    only = gate.only_stages and tuple(place[index] for index in gate.only_stages if index in place)
    return replace(gate, stages=own, only_stages=only)


def _notes(today: Sequence[Stage], recorded: Sequence[Stage]) -> list[str]:
    if [stage.weight for stage in today] != [stage.weight for stage in recorded]:
        then, now = (", ".join(map(str, stages)) for stages in (recorded, today))
        return [f"replayed at the recorded stages {then}, not at today's {now}: traffic cannot be split again"]
    differ = [
        f"{name} of {_values(mine, key)}, not {_values(theirs, key)}"
        for name, key in (("hold", "hold_seconds"), ("min_requests", "min_requests"), ("deadline", "deadline_seconds"))
        for mine, theirs in [(recorded, today)]
        if _values(mine, key) != _values(theirs, key)
    ]
    return [f"replayed with the recorded {'; '.join(differ)}"] if differ else []


def _values(stages: Sequence[Stage], key: str) -> str:
    values = [getattr(stage, key) for stage in stages]
    texts = ["none" if value is None else f"{value:g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
