"""The stages as tests meet them: entered once, held, reported gate by gate, asked more of, waited in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_canary.errors import CanaryError
from pytest_canary.outcome import Row
from pytest_canary.plan import Stage
from pytest_canary.ports import Role, Sample
from pytest_canary.results import held
from pytest_canary.rollout import Rollout, State
from pytest_canary.spec import gate_from
from pytest_canary.verdict import Decision, Step, Verdict, check_alpha, settled

if TYPE_CHECKING:
    from pytest_canary.session.live import Live
    from pytest_canary.session.playback import Playback

PAUSE_SECONDS = 0.2


class Holds:
    """Of one rollout, in one session."""

    def __init__(self, live: Live | Playback) -> None:
        self._live = live
        self._decisions: dict[int, Decision] = {}
        self._checks: dict[str, str] = {}
        self._began = 0.0

    @property
    def _rollout(self) -> Rollout:
        return self._live.rollout

    def enter(self, stage: Stage) -> None:
        """Give the canary the share of ``stage`` and hold, unless an earlier test has already done so."""
        if stage.index in self._decisions:
            return
        rollout = self._live.reach(State.BASELINED)
        self._began = rollout.world.clock.now()
        try:
            self._live.watch()
            decision = rollout.ramp(stage)
        except CanaryError as error:
            self._live.stop(str(error))
            pytest.skip(f"not reached: {error}")
        self._decisions[stage.index] = decision
        convicted = self._convicted(stage)
        good = decision.step is Step.ADVANCE
        if good or not convicted:
            rollout.book.row(Row(f"hold[{stage}]", good, decision.why, rollout.world.clock.now() - self._began))
        if not good:
            short = ", ".join(f"{verdict.gate} failed at stage {stage}" for verdict in convicted)
            self._live.stop(decision.why, short)

    def entered(self, stage: Stage, decision: Decision, began: float) -> None:
        """Know how the hold of ``stage`` ended, which somebody else has held; ``began`` on the run's clock."""
        self._decisions[stage.index], self._began = decision, began

    def ended(self, stage: Stage) -> Decision | None:
        """How the hold of ``stage`` ended; None when it has not been held."""
        return self._decisions.get(stage.index)

    def _convicted(self, stage: Stage) -> list[Verdict]:
        return [v for v in self._rollout.traffic.verdicts if v.stage == stage.index and v.status == "fail"]

    def convicted(self, stage: Stage) -> list[str]:
        """The gates that have failed at ``stage``."""
        return [verdict.gate for verdict in self._convicted(stage) if not verdict.alert]

    def report(self, stage: Stage, gate: str) -> None:
        """Pass, fail or skip the test of a declared gate with what the hold found."""
        found = [v for v in self._rollout.traffic.verdicts if v.stage == stage.index and v.gate == gate]
        held = self.ended(stage)
        if not found or held is None:
            pytest.skip(f"{gate} is not asked at stage {stage}")
        verdict, stopped = found[-1], held.step is Step.STOP
        if verdict.alert and verdict.status != "pass":
            says = "alert" if verdict.status == "fail" else f"{verdict.status} (only alerts)"
            pytest.xfail(f"{says}: {verdict.sentence}")
        # When a hold ended badly and no gate was convicted, what did not pass is what was missing.
        if verdict.status == "fail" or (stopped and not self._convicted(stage) and verdict.status != "pass"):
            pytest.fail(verdict.sentence, pytrace=False)
        if stopped:
            pytest.skip(f"the hold of stage {stage} ended early: {self._live.stopped_short}")
        print(verdict.sentence)  # noqa: T201 - captured: stands in the JUnit's system-out

    def counted(self, role: Role) -> Sample | None:
        """What ``role`` has counted since this stage began."""
        return self._rollout.traffic.counted(role)

    def check(self, stage: Stage, metric: str, limits: Mapping[str, Any]) -> Verdict:
        """Declare a gate from inside a test and wait for its verdict, at most until the stage's deadline."""
        rollout, key = self._rollout, f"{metric} {sorted(limits.items())}"
        if key not in self._checks:
            nth = len(self._checks) + 1
            self._checks[key] = f"{metric} (check {nth})"
            own = {gate.name: gate.metric for gate in rollout.plan.gates}
            gate = gate_from(metric, limits, "stage.check", levels=rollout.plan.levels, own=own)
            gate = held(gate, rollout.plan.measured)[0] if rollout.plan.measured else gate
            rollout.traffic.ask_more(replace(gate, name=self._checks[key], alpha=check_alpha(nth, gate.levels)))
        while True:
            verdict = rollout.traffic.verdict_of(self._checks[key])
            decision = rollout.traffic.decide_on([verdict], stage, rollout.world.clock.now() - self._began)
            if decision.step is not Step.WAIT or rollout.traffic.cut_made:
                return settled([verdict], decision)[0]
            self._live.tick(f"{stage} | stage.check({metric!r}) | {decision.why}")
            self.pause()

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass under watch."""
        clock = self._rollout.world.clock
        end = clock.now() + seconds
        while (left := end - clock.now()) > 0:
            if self._rollout.traffic.cut_made:
                pytest.fail(f"cut while waiting: {self._rollout.traffic.cut_made.why}", pytrace=False)
            self._live.tick(f"{self._rollout.traffic.stage} | waiting, {left:.0f} s left")
            self.pause(left)

    def pause(self, most: float = float("inf")) -> None:
        """Let a little time pass; where time is virtual nobody else looks meanwhile, so look."""
        clock = self._rollout.world.clock
        clock.sleep(min(self._rollout.plan.poll_seconds if clock.virtual else PAUSE_SECONDS, most))
        if clock.virtual:
            self._rollout.traffic.look()
