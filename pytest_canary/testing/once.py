"""One rollout in virtual time, through the state machine of a real one, without a session of pytest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_canary import world as worlds
from pytest_canary.errors import CanaryError, UsageError
from pytest_canary.outcome import End, Outcome, Row
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Shared
from pytest_canary.rollout import Rollout, State
from pytest_canary.scenario import Scenario, scenario_of
from pytest_canary.session.holds import Holds
from pytest_canary.session.live import Live
from pytest_canary.session.views import BaselineView, CanaryView, RolloutView, StageView
from pytest_canary.spec import Spec
from pytest_canary.standin import Unrecorded, apart, ledger, put_on, stand_ins
from pytest_canary.testing.arguments import name_of, seed_of, texts
from pytest_canary.testing.simulated import Simulated
from pytest_canary.testing.wanted import Source, planned
from pytest_canary.verdict import Judge, Step, share_alpha

Test = Callable[..., None]
PASSED = "every gate passed at every stage"


def simulate(
    rollout: Source,
    inject: str | Sequence[str] = (),
    *,
    seed: int = 1,
    target: str | None = None,
    overrides: Sequence[str] = (),
    tests: Sequence[Test] = (),
) -> Simulated:
    """Roll out a made-up build under made-up traffic, as ``pytest --canary-simulate=SEED`` would; see docs/simulate.md.

    ``rollout`` is a rollout.yaml, its folder or its text; ``inject`` is what is wrong with the build
    (``'error_rate x3'``); ``overrides`` are as of ``--canary-set``.
    Gates that tests beside the file declare by a mark are played; test functions in ``tests`` are called at every
    stage with the fixtures of ours that they ask for, ``stage`` among them, and roll back when they fail.

    Raises:
        UsageError: the file, an injection or a test cannot be used; one line says why.

    """
    names, injected, seed = named(tests), texts(inject, "inject", "error_rate x3"), seed_of(seed)
    with planned(rollout, target=target, overrides=overrides, tests=names) as (spec, plan):
        scenario = scenario_of(spec, plan, injected, seed=seed, everything=bool(tests))
        return Alone(spec, plan, scenario, tests).play()


class Alone:
    """One rollout and who listens to it; its holds ask it what they ask a session."""

    def __init__(self, spec: Spec, plan: Plan, scenario: Scenario, tests: Sequence[Test] = ()) -> None:
        self._plan, self._seed, self._tests = plan, scenario.seed, tests
        clock = worlds.clock_of(spec)
        shared = Shared(spec.service, clock, apart(Path("nowhere")), spec.folder, "simulated")
        put_on(shared, plan, scenario)
        world = worlds.connect(stand_ins(spec, plan, scenario), shared, worlds.nobody)
        judge = Judge(share_alpha(plan.gates), len(plan.stages))
        self.rollout = Rollout(plan, world, ledger(), Unrecorded(Path("nowhere")), judge, self, "simulated")
        self._holds = Holds(cast(Live, self))
        self._why, self._failed, self._from = "", list[str](), 0.0
        self._took = 0.0

    def play(self) -> Simulated:
        """From the first step to the outcome."""
        try:
            self._up()
            for stage in self._plan.stages:
                self._at(stage)
            self._took = self._now() - self._from
            self._bake()
        except CanaryError as error:
            self.stop(str(error))
        finally:
            self.rollout.world.probe.close()
        self._took = self._took or (self._now() - self._from if self._from else 0.0)
        promoting = not self._why and self.rollout.traffic.cut_made is None
        return self._told(self.rollout.promote(PASSED) if promoting else self.rollout.roll_back(self._why or "cut"))

    def _now(self) -> float:
        return self.rollout.world.clock.now()

    def _up(self) -> None:
        self.rollout.open(again=True)
        for step in (self.rollout.deploy, self.rollout.smoke, self.rollout.warm, self.rollout.baseline):
            step()
        self._from = self._now()

    def _at(self, stage: Stage) -> None:
        if self._why:
            return
        began, decision = self._now(), self.rollout.ramp(stage)
        if decision.step is Step.STOP:
            self.stop(decision.why)
            return
        self._holds.entered(stage, decision, began)
        for test in self._tests:
            self._ask(test, StageView(self._holds, stage))

    def _ask(self, test: Test, stage: StageView) -> None:
        if self._why:
            return
        try:
            test(**{name: self._fixture(name, stage) for name in _asks(test)})
        except (Exception, pytest.fail.Exception) as error:
            self._failed.append(name_of(test))
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            self.stop(f"{name_of(test)}[{stage}] failed: {said}")

    def _fixture(self, name: str, stage: StageView) -> Any:
        captured, warmed = self.rollout.captured, self.rollout.warmed
        assert captured is not None
        known: dict[str, Callable[[], Any]] = {
            "stage": lambda: stage,
            "canary": lambda: CanaryView(self.rollout),
            "baseline": lambda: BaselineView(captured),
            "warmup": lambda: warmed,
            "rollout": lambda: RolloutView(self._plan),
        }
        return known[name]()

    def _bake(self) -> None:
        if not self._why and self._plan.bake_seconds and not self.rollout.rebuilds:
            try:
                self._holds.wait(self._plan.bake_seconds)
            except pytest.fail.Exception as error:
                self.stop(str(error))

    def _told(self, outcome: Outcome) -> Simulated:
        stopped = outcome.end is End.ROLLED_BACK
        gates = tuple(dict.fromkeys([*(verdict.gate for verdict in outcome.failed), *self._failed]))
        stage = outcome.cut.stage if outcome.cut is not None and stopped else ""
        return Simulated(
            self._seed, outcome.end, stage, gates, outcome.exposed, self._took, outcome.why, outcome.verdicts
        )

    # -- what holds ask a session --------------------------------------------------------------------------------

    def reach(self, state: State) -> Rollout:
        """It has come as far as any test can ask."""
        del state
        return self.rollout

    def watch(self) -> None:
        """Whoever waits looks: time is virtual."""

    def stop(self, why: str, short: str = "", *, interrupted: bool = False) -> None:
        """Go no further."""
        del short, interrupted
        self._why = self._why or why
        self.rollout.traffic.cut(why)

    @property
    def stopped_short(self) -> str:
        """Why it stopped."""
        return self._why

    # -- Listener ------------------------------------------------------------------------------------------------

    def tick(self, text: str) -> None:
        """Nobody waits."""

    def row(self, row: Row) -> None:
        """Only the end is told."""

    def said(self, text: str) -> None:
        """The same."""


FIXTURES = ("stage", "canary", "baseline", "warmup", "rollout")


def named(tests: Sequence[Test]) -> list[str]:
    """Their names; raises UsageError where one cannot be called."""
    for test in tests:
        name_of(test)
        _asks(test)
    return [name_of(test) for test in tests]


def _asks(test: Test) -> list[str]:
    """The fixtures that ``test`` asks for; raises UsageError for those that are not ours."""
    names = [name for name, one in inspect.signature(test).parameters.items() if one.default is one.empty]
    for name in names:
        if name not in FIXTURES:
            raise UsageError(
                f"{name_of(test)} asks for {name!r}, expected one of {', '.join(FIXTURES)}; bind the others with "
                "functools.partial or a lambda"
            )
    return names
