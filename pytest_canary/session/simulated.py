"""``--canary-simulate``: the same session on a world that is made up; nothing of it touches the target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_canary.errors import SpecError, UsageError
from pytest_canary.plan import Plan
from pytest_canary.scenario import Scenario, scenario_of, simulable
from pytest_canary.session.collection import Home
from pytest_canary.standin import Unrecorded, apart, ledger, put_on, stand_ins

__all__ = ["Unrecorded", "apart", "ledger", "put_on", "scenario_for", "stand_ins"]


def scenario_for(config: pytest.Config, home: Home, plan: Plan, *, everything: bool) -> tuple[Plan, Scenario]:
    """What is simulated, and the plan of it; ``everything``: tests look at stages themselves.

    Raises:
        pytest.UsageError: an injection cannot be read, or nobody can see it, or ``simulate:`` is wrong.

    """
    assert home.spec is not None
    seed, plan = config.getoption("canary_simulate"), simulable(plan)
    try:
        scenario = scenario_of(
            home.spec,
            plan,
            config.getoption("canary_inject"),
            seed=int(seed) if seed else None,
            everything=everything,
        )
    except (UsageError, SpecError) as error:
        raise pytest.UsageError(str(error)) from error
    warnings = (*plan.warnings, *scenario.warnings)
    # Nothing is built, nothing goes on serving, and nothing of this speaks against a build.
    plan = replace(
        plan, simulated=str(scenario), how_often=scenario.how_often, warnings=warnings, keep=False, build=(),
        refuse_rejected=False,
    )  # fmt: skip
    return plan, scenario
