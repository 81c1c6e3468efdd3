"""A stage made of counts, for tests that ask for ``stage``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from pytest_canary.errors import UsageError
from pytest_canary.plan import Stage
from pytest_canary.ports import Role, Sample
from pytest_canary.session.holds import Holds
from pytest_canary.session.views import StageView
from pytest_canary.spec import gate_from
from pytest_canary.testing.counted import Counts
from pytest_canary.testing.judged import judge, verdict_of
from pytest_canary.testing.wanted import Source, planned
from pytest_canary.verdict import Verdict, check_alpha


def at_stage(
    canary: Counts,
    baseline: Counts | None = None,
    *,
    weight: float = 0.25,
    seconds: float = 300.0,
    rollout: Source | None = None,
) -> StageView:
    """The fixture ``stage`` at the end of a stage at which both builds have counted that.

    Hand it to a test function of a rollout: ``test_few_refusals(at_stage(counts(1000, refusals=90)))`` fails as it
    would there.  ``weight`` is the share, 0..1; ``rollout`` is whose own metrics ``stage.check`` knows.
    """
    for one in (canary, *([] if baseline is None else [baseline])):
        if not isinstance(one, Counts):
            raise UsageError(f"at_stage(): found {one!r}, expected counts, such as counts(1000, errors=40)")
    stage = Stage("rollout.yaml", 0, weight, seconds, 0, None)
    return StageView(cast(Holds, _Given(canary, baseline, seconds, rollout)), stage)


class _Given:
    """Answers what a stage asks the holds of a rollout."""

    def __init__(self, canary: Counts, baseline: Counts | None, seconds: float, rollout: Source | None) -> None:
        self._counts = {Role.CANARY: canary} | ({Role.BASELINE: baseline} if baseline is not None else {})
        self._seconds, self._rollout, self._checks = seconds, rollout, 0

    def counted(self, role: Role) -> Sample | None:
        return self._counts[role].sample() if role in self._counts else None

    def check(self, stage: Stage, metric: str, limits: Mapping[str, Any]) -> Verdict:
        del stage
        self._checks += 1
        own = {}
        if self._rollout is not None:
            with planned(self._rollout) as (_, plan):
                own = {gate.name: gate.metric for gate in plan.gates}
        gate = gate_from(metric, limits, "stage.check", own=own)
        gate = replace(gate, alpha=check_alpha(self._checks, gate.levels))
        return judge(gate, self._counts[Role.CANARY], self._counts.get(Role.BASELINE), self._seconds)

    def wait(self, seconds: float) -> None:
        """Nothing more is counted."""

    def report(self, stage: Stage, gate: str) -> None:
        del stage
        canary, baseline = self._counts[Role.CANARY], self._counts.get(Role.BASELINE)
        verdict = verdict_of(gate, canary=canary, baseline=baseline, rollout=self._rollout, seconds=self._seconds)
        if verdict.status != "pass" and not verdict.alert:
            pytest.fail(verdict.sentence, pytrace=False)
