"""Promotion where becoming stable means new processes: nobody has seen them serve, so it is a shift under the gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pytest_canary.errors import CanaryError, NotRestored, NotStarted
from pytest_canary.outcome import Row
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Revision, Role, World
from pytest_canary.rollout.book import Book
from pytest_canary.rollout.exchange import exchanged
from pytest_canary.rollout.traffic import Traffic
from pytest_canary.steps.deploy import wait_ready
from pytest_canary.steps.probing import begin_probes
from pytest_canary.steps.rollback import drain, silent
from pytest_canary.steps.smoke import smoke
from pytest_canary.steps.warm import warm
from pytest_canary.verdict import Judge, Step, Verdict, share_alpha

RETURN_SECONDS = 60.0
"""How long the traffic takes to come back, all stages together, besides what it takes to see each split."""
RETURN_REQUESTS = 40
"""Requests that a stage of the return needs at least, where the plan does not ask for fewer."""
PAUSE_SECONDS = 0.2
WHOSE = "stable"


class Failed(Exception):
    """The new processes are not as good as the canary was; ``why`` in one line."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Rebuild:
    """The proven canary has all traffic while the stable build is started anew beside it and takes it over."""

    def __init__(self, plan: Plan, world: World, book: Book, canary: Revision, old: Revision) -> None:
        self._plan, self._world, self._book = plan, world, book
        self._canary, self._old = canary, old
        stages = _stages(plan)
        self._plan_back = replace(plan, stages=stages, control=False, holdback=0.0)
        self._judge = Judge(share_alpha(plan.gates), len(stages))
        self._exchanged = exchanged(world, canary)
        self.traffic = Traffic(self._plan_back, self._exchanged, self._judge, book, lambda role: self._cast.get(role))
        """What the stable build has of the traffic meanwhile; whoever watches a rollout watches this."""
        self._cast: dict[Role, Revision] = {Role.BASELINE: canary}
        self.return_seconds: float | None = None

    def go(self, proven: Traffic, interrupted: Callable[[], str]) -> Revision:
        """Bring the new stable build up, and give it the traffic; ``proven`` says what is normal.

        Raises:
            Failed: a gate, a test of readiness or an interruption spoke against it; the canary has all traffic.

        """
        world = self._world
        first = world.clock.now()
        try:
            self._cast[Role.CANARY] = stable = self._bring_up(interrupted)
            self._capture(proven)
            self._book.event("builds", baseline=self._canary.to_data(), canary=stable.to_data())
            begin_probes(self._exchanged, self._plan_back, self._cast)
            for stage in self._plan_back.stages:
                self._unless(interrupted)
                self._is_still(stable)
                began = world.clock.now()
                decision = self.traffic.ramp(stage)
                good = decision.step is not Step.STOP
                self._book.row(Row(f"hold[{stage}]", good, decision.why, world.clock.now() - began))
                if not good:
                    raise Failed(decision.why)
            self.return_seconds = world.clock.now() - first
            self._bake(interrupted)
            self._is_still(stable)
        except (CanaryError, OSError) as error:
            self.traffic.cut(str(error))
            raise Failed(str(error)) from error
        except Failed as failed:
            self.traffic.cut(failed.why)
            raise
        self.traffic.handed_over()
        return stable

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of the stages of the return, numbered after those of the rollout."""
        return tuple(replace(each, stage=each.stage + len(self._plan.stages)) for each in self.traffic.verdicts)

    def undo(self) -> Revision:
        """Let the stable build be what it was; the canary has all traffic until it is.

        Raises:
            NotRestored: it does not come up.

        """
        with self._book.step("restore stable") as step:
            try:
                self._book.safely_note("promoting", back=True, **self._old.to_data())
                self._unless_orphaned()
                stable = self._world.platform.promote(self._old)
                seconds = self._wait(stable)
            except (CanaryError, OSError) as error:
                raise NotRestored(
                    f"{self._old} does not come up again in the stable place: {error}; the canary, which every gate "
                    "had passed, keeps all traffic"
                ) from error
            step.text = f"{stable} is back after {seconds:.1f} s"
        return stable

    # -- on the way ----------------------------------------------------------------------------------------------

    def _bring_up(self, interrupted: Callable[[], str]) -> Revision:
        plan, world = self._plan, self._world

        def tick(text: str) -> None:
            self._unless(interrupted)  # who ends the run does not wait for `ready_timeout`
            self._book.listener.tick(text)

        with self._book.step("rebuild stable") as step:
            # Nobody is sent there now; whoever still is there finishes before the processes go.
            drained = drain(world.router, Role.BASELINE, world.clock, plan.drain_seconds, tick)
            self._book.note("promoting", **self._canary.to_data())
            stable = world.platform.promote(self._canary)
            seconds = wait_ready(world.platform, stable, world.clock, plan.ready_seconds, tick)
            address = world.platform.address(stable)
            world.router.attach(Role.BASELINE, stable, address)
            if gone := silent(world.platform, self._canary):
                raise NotStarted(gone)
            smoke(world.probe, address, plan.health, plan.smoke)
            warmed = warm(world.probe, address, plan.warmup, world.clock, tick)
            step.text = f"old pods: {drained}; {stable} ready after {seconds:.1f} s; {warmed}"
        return stable

    def _unless_orphaned(self) -> None:
        """Where the canary has gone, whatever is in the stable place is all that users have."""
        world, gone = self._world, silent(self._world.platform, self._canary)
        if gone:
            self._book.in_trouble(f"{gone}; all traffic to what runs in the stable place")
            world.router.set_weights({Role.BASELINE: 1.0})

    def _wait(self, stable: Revision) -> float:
        plan, world = self._plan, self._world
        return wait_ready(world.platform, stable, world.clock, plan.ready_seconds, self._book.listener.tick)

    def _capture(self, proven: Traffic) -> None:
        """What is normal now is what the canary has done with all the traffic."""
        counted = proven.counted(Role.CANARY)
        if counted is not None:
            self._judge.capture(counted)

    def _bake(self, interrupted: Callable[[], str]) -> None:
        clock, seconds = self._world.clock, self._plan.bake_seconds
        if seconds is None:
            seconds = self._plan.stages[-1].hold_seconds
        began = clock.now()
        why = ""
        while (left := began + seconds - clock.now()) > 0 and not self.traffic.cut_made and not why:
            self._book.listener.tick(f"bake: the stable build has all traffic, the way back is open, {left:.0f} s left")
            clock.sleep(min(left, self._plan.poll_seconds if clock.virtual else PAUSE_SECONDS))
            if clock.virtual:
                self.traffic.look()
            why = interrupted()
        took = clock.now() - began
        if why:
            self._book.row(Row("bake", False, why, took))
        for verdict in self.traffic.findings() if seconds else ():
            good = verdict.alert or verdict.status != "fail"
            self._book.row(Row(f"bake::{verdict.gate}", good, verdict.sentence or "nothing against it", took))
        self._unless(interrupted)

    def _is_still(self, stable: Revision) -> None:
        """Whoever else may change the stable place: what was not proven is not promoted."""
        now = self._world.platform.ready(stable)
        if not now.ready:
            raise Failed(now.why)

    def _unless(self, interrupted: Callable[[], str]) -> None:
        why = self.traffic.cut_made.why if self.traffic.cut_made else interrupted()
        if why:
            raise Failed(why)


def _stages(plan: Plan) -> tuple[Stage, ...]:
    """Those of the plan, held for less: what serves now has been proven, only the new processes have not."""
    most = RETURN_SECONDS / len(plan.stages)
    return tuple(
        replace(
            stage,
            hold_seconds=min(stage.hold_seconds, most),
            min_requests=min(stage.min_requests, RETURN_REQUESTS),
            allowance=1.0,
            whose=WHOSE,
        )
        for stage in plan.stages
    )
