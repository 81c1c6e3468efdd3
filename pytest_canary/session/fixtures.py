"""The fixtures, registered on the folder of a rollout.yaml and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pytest_canary.rollout import State
from pytest_canary.session.views import BaselineView, CanaryView, RolloutView, StageView
from pytest_canary.steps.warm import Warmed

if TYPE_CHECKING:
    from pytest_canary.plan import Plan
    from pytest_canary.session.live import Live

CONDUCTOR = "canary-conductor"
"""The name under which the conductor is known to pytest."""


def _live(request: pytest.FixtureRequest) -> Live:
    live: Live = request.config.pluginmanager.get_plugin(CONDUCTOR).shipping()  # type: ignore[union-attr]
    return live


def rollout(request: pytest.FixtureRequest) -> RolloutView:
    """What is being shipped, and where; asking for it deploys nothing."""
    plan: Plan = request.config.pluginmanager.get_plugin(CONDUCTOR).plan()  # type: ignore[union-attr]
    return RolloutView(plan)


def canary(request: pytest.FixtureRequest) -> CanaryView:
    """The running canary, with no traffic: asking for it makes the test a smoke test."""
    return CanaryView(_live(request).reach(State.SMOKED))


def warmup(request: pytest.FixtureRequest) -> Warmed:
    """The canary is warm; how long it took, and with how much."""
    warmed = _live(request).reach(State.WARM).warmed
    assert warmed is not None
    return warmed


def baseline(request: pytest.FixtureRequest) -> BaselineView:
    """What is normal now; asking for it runs the test before any user meets the canary."""
    captured = _live(request).reach(State.BASELINED).captured
    assert captured is not None
    return BaselineView(captured)


def stage(request: Any) -> StageView:
    """The share of traffic the canary has now: asking for it makes the test a gate, once per stage."""
    holds = _live(request).holds
    holds.enter(request.param)
    return StageView(holds, request.param)


ALL: tuple[Callable[..., object], ...] = (rollout, canary, warmup, baseline, stage)
for function in ALL:
    function.canary_fixture = True  # type: ignore[attr-defined]


def register(node: pytest.Collector) -> None:
    """Make the fixtures known to everything collected below ``node``."""
    for function in ALL:
        pytest.register_fixture(name=function.__name__, func=function, node=node, scope="session")
