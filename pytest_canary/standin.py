"""What stands in for a target while its rollouts are simulated: builds, a split and a ledger that are only names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pytest_canary.plan import Plan
from pytest_canary.ports import Ledger, Revision, Role, Sample, Shared
from pytest_canary.recording import Poll, Recording
from pytest_canary.scenario import Scenario
from pytest_canary.spec import Spec

MADE_UP = "simulated"
"""The tag of the build that is simulated where nobody names one."""
STABLE, ANOTHER = "stable", "baseline"
"""Tag of the build that serves; the second where the build that is shipped is called so."""
MODEL = "simulated"
"""The model version that both builds serve where nobody states one."""


def stand_ins(spec: Spec, plan: Plan, scenario: Scenario) -> Spec:
    """``spec`` with the options of the adapters that stand in for the target's own."""
    tag = Revision(plan.image or "", "").tag
    stable = ANOTHER if tag == STABLE else STABLE
    ours, theirs = _models(plan)
    platform: Mapping[str, Any] = {
        "stable": stable,
        "rebuilds": spec.rebuilds,
        "model": ours,
        "models": {tag: theirs},
    }
    probe: dict[str, Any] = {}
    if plan.models.header:
        probe["headers"] = {stable: {plan.models.header: ours}, tag: {plan.models.header: theirs}}
    if cold := [one.amount for one in scenario.scene.injections if one.kind == "cold" and one.amount]:
        probe["cold"] = {tag: {"answers": int(max(cold))}}
    return replace(
        spec,
        platform=replace(spec.platform, options=platform),
        probe=replace(spec.probe, options=probe),
    )


def _models(plan: Plan) -> tuple[str, str]:
    """What both builds say that they serve: what is stated of them, as it would be."""
    measured = plan.measured.model if plan.measured else None
    stated = {role: said.text for role, said in plan.models.stated if "@sha256:" not in said.text}
    ours = stated.get(Role.BASELINE) or measured or MODEL
    return ours, plan.change.model or stated.get(Role.CANARY) or ours


def apart(state: Path) -> Path:
    """The folder of what a simulation leaves: beside that of the target, whose history it must not touch."""
    return state.with_name(f"{state.name}.simulated")


def ledger() -> Ledger:
    """A ledger that is gone with the session, and that no other run waits for."""
    return cast(Ledger, importlib.import_module("pytest_canary.adapters.memory").OFFERS["ledger"]())


def put_on(shared: Shared, plan: Plan, scenario: Scenario) -> None:
    """Let the metrics of the target find what is played."""
    adapters = importlib.import_module("pytest_canary.adapters.simulated")
    importlib.import_module("pytest_canary.adapters.memory").MemoryWorld.of(shared)
    shared.handles[adapters.SCENE] = adapters.Play(scenario.scene, scenario.seed, plan.image or "")


class Unrecorded(Recording):
    """Writes nothing: the same seed gives the same counts again."""

    keeps = False

    def begin(self, plan: Plan, run: str = "", at: float = 0.0, wall: float | None = None) -> None:
        """Nothing."""

    def write_sample(
        self, at: float, stage_index: int, samples: Mapping[Role, Sample], poll: Poll = Poll.LOOK, why: str = ""
    ) -> None:
        """Nothing."""

    def write_event(self, at: float, kind: str, **data: Any) -> None:
        """Nothing."""
