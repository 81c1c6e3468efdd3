"""One service going from its baseline to a canary revision, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Any

from pytest_canary.errors import NoData, NotStarted
from pytest_canary.outcome import End, Outcome
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import PROBES_TOO, Ledger, Revision, Role, Sample, World
from pytest_canary.recording import Poll, Recording
from pytest_canary.rollout.book import Book, Listener
from pytest_canary.rollout.cast import Cast
from pytest_canary.rollout.ending import Ending
from pytest_canary.rollout.pinning import Pinning
from pytest_canary.rollout.traffic import Traffic
from pytest_canary.steps.baseline import Baseline, capture, fits, same_as_measured
from pytest_canary.steps.build import build
from pytest_canary.steps.deploy import control_of, deploy, open_world
from pytest_canary.steps.identify import Listening
from pytest_canary.steps.probing import begin_probes, unmet, without_probes
from pytest_canary.steps.restore import OWN_KINDS, Restored, Unfinished, restore, unfinished, untold
from pytest_canary.steps.smoke import Smoked, smoke
from pytest_canary.steps.warm import Warmed, warm
from pytest_canary.verdict import Decision, Judge


class State(StrEnum):
    """How far a rollout has come."""

    IDLE = "idle"
    OPEN = "open"
    UNCHANGED = "unchanged"
    DEPLOYED = "deployed"
    SMOKED = "smoked"
    WARM = "warm"
    BASELINED = "baselined"
    RAMPING = "ramping"
    OVER = "over"


FOLLOWS: Mapping[State, frozenset[State]] = {
    State.IDLE: frozenset({State.OPEN, State.OVER}),
    State.OPEN: frozenset({State.UNCHANGED, State.DEPLOYED, State.OVER}),
    State.UNCHANGED: frozenset({State.OVER}),
    State.DEPLOYED: frozenset({State.SMOKED, State.OVER}),
    State.SMOKED: frozenset({State.WARM, State.OVER}),
    State.WARM: frozenset({State.BASELINED, State.OVER}),
    State.BASELINED: frozenset({State.RAMPING, State.OVER}),
    State.RAMPING: frozenset({State.RAMPING, State.OVER}),
    State.OVER: frozenset(),
}
"""Which state may follow which."""

FAILED_SHARE = 0.1
"""More failures than this in a warm-up are said; more than half end it."""
CANARY_RUNS = frozenset({State.DEPLOYED, State.SMOKED, State.WARM, State.BASELINED, State.RAMPING})


class Rollout:
    """Driven by one thread, up through its states, and to its end from whichever it has reached."""

    def __init__(
        self, plan: Plan, world: World, ledger: Ledger, recording: Recording, judge: Judge, listener: Listener, run: str
    ) -> None:
        probe = Listening(world.probe, plan.models.header)
        world = replace(world, probe=probe)
        self.plan, self.world, self.judge, self.run = plan, world, judge, run
        self.state = State.IDLE
        self.book = Book(ledger, recording, listener, world.clock)
        self._cast = Cast()
        self._pinning = Pinning(plan, world, probe, self.book, self._cast)
        self.traffic = Traffic(plan, world, judge, self.book, self._cast.build)
        self.captured: Baseline | None = None
        self.warmed: Warmed | None = None
        self.outcome: Outcome | None = None
        self.healed: Restored | None = None
        """What an earlier, killed run had left."""
        self._ending = Ending(plan, world, self.book, self.traffic, self._cast, run)

    @property
    def canary(self) -> Revision:
        """The pinned build that is being shipped."""
        if self._cast.canary is None:
            raise NotStarted("there is no canary yet")
        return self._cast.canary

    @property
    def stable(self) -> Revision:
        """The build that was stable when the rollout began, and after promotion the promoted one."""
        if self._cast.stable is None:
            raise NotStarted("the target has not started yet")
        return self._cast.stable

    @property
    def rebuilds(self) -> bool:
        """Whether promotion starts the build anew, so that it has to be proven once more."""
        return bool(self.stable.place)

    @property
    def address(self) -> str:
        """Where the canary is reached directly."""
        return self.world.platform.address(self.canary)

    def _enter(self, state: State) -> None:
        if state not in FOLLOWS[self.state]:
            raise AssertionError(f"{state} cannot follow {self.state}")
        self.state = state

    # -- up ------------------------------------------------------------------------------------------------------

    def open(self, *, again: bool = False) -> None:
        """Heal what an earlier run left, start the target, and pin the image.

        Raises:
            NotStarted: the target did not start, the build step failed, or the image names no build.

        """
        facts = self.book.ledger.read()
        self._enter(State.OPEN)
        for adapter in self.world.adapters:
            adapter.recover(facts)
        left = unfinished(facts)
        if left is None and self.world.platform.lasting and not facts:
            left = untold(self.world.platform.strays())
        if left is not None:
            self._heal(left)
        self.book.ledger.close_chapter([f for f in facts if f.kind not in OWN_KINDS] if self.plan.keep else [])
        self.book.note("run", run=self.run, image=self.plan.image, target=self.plan.target, keep=self.plan.keep)
        with self.book.step("target") as step:
            self._cast.stable = open_world(self.world)
            step.text = f"{self.stable} holds 100 % at {self.world.router.address()}"
        if self.plan.build:
            with self.book.step("build") as step:
                step.text = build(self.plan.build, self.plan.folder)
        with self.book.step("verify image") as step:
            self._cast.canary = self.world.platform.resolve(self.plan.image or "", self.plan.change)
            step.text = f"{self.plan.image} can be started, pinned as {self.canary.pin}"
        self._pinning.files(self.stable, self.canary)
        if self.canary.pin == self.stable.pin and not again:
            self._enter(State.UNCHANGED)

    def _heal(self, left: Unfinished) -> None:
        with self.book.step("recover") as step:
            self.healed = restore(self.world, left, self.plan.drain_seconds, self.book.listener.tick)
            step.text = str(self.healed)
            end = End.PROMOTED if self.healed.promoted else End.ROLLED_BACK
            self.book.note("settled", run=left.run, end=end, by="the next run", stable=self.healed.stable.to_data())
        if not self.plan.keep:  # a rehearsal starts from its own stable build, not from what a dead one left
            for adapter in reversed(self.world.adapters):
                adapter.stop()

    def _foresee(self) -> None:
        """A gate that nobody could judge is an error before anything is deployed, where enough was counted to tell."""
        same_as_measured(self.plan, self.world.platform, self.stable)
        with suppress(NoData):
            counted = self.world.source.poll([Role.BASELINE]).get(Role.BASELINE)
            enough = counted and counted.counters.get("requests", 0.0) >= self.plan.baseline_requests
            if counted and enough and all(one.number for one in counted.histograms.values()):
                self.judge.foresee(counted)

    def deploy(self) -> None:
        """Start the canary beside the stable build, with no traffic."""
        with self.book.step("deploy") as step:
            self._foresee()
            beside = {Role.CANARY: self.canary}
            if self.plan.control:
                self._cast.control = beside[Role.CONTROL] = control_of(self.stable, self.canary)
            named: dict[str, Any] = {str(role): revision.to_data() for role, revision in beside.items()}
            self.book.note("deploy", stable=self.stable.to_data(), **named)
            self.book.event("builds", baseline=self.stable.to_data(), **named)
            self._enter(State.DEPLOYED)
            said = []
            for role, revision in beside.items():
                seconds = deploy(self.world, role, revision, self.plan.ready_seconds, self.book.listener.tick)
                said.append(f"{revision} ready at zero traffic after {seconds:.1f} s")
            step.text = "; ".join(said)

    def smoke(self) -> Smoked:
        """Ask the canary directly; no user is involved."""
        with self.book.step("smoke") as step:
            smoked = smoke(self.world.probe, self.address, self.plan.health, self.plan.smoke)
            step.text = str(smoked)
        self._enter(State.SMOKED)
        return smoked

    def warm(self) -> Warmed:
        """Warm the canary with requests that are never counted."""
        with self.book.step("warmup") as step:
            said = []
            if self._cast.control is not None:
                said = [f"control: {self._warm(self.world.platform.address(self._cast.control))}"]
            warmed = self._warm(self.address)
            step.text = "; ".join([str(warmed), *said])
        if warmed.failed > FAILED_SHARE * warmed.requests:
            self.book.listener.said(
                f"{warmed.failed} of {warmed.requests} warm-up requests failed: {warmed.first_fault}"
            )
        self.warmed = warmed
        self._enter(State.WARM)
        return warmed

    def _warm(self, address: str) -> Warmed:
        return warm(self.world.probe, address, self.plan.warmup, self.world.clock, self.book.listener.tick)

    def baseline(self) -> Baseline:
        """Read what is normal, and refuse to compare two model versions."""
        plan, tick = self.plan, self.book.listener.tick
        with self.book.step("baseline") as step:
            found = self._pinning.models(self.stable, self.canary)
            step.numbers = self._cast.properties()
            begin_probes(self.world, plan, self._cast.builds)
            before = unmet(self.world)
            window = capture(self.world.source, self.world.clock, plan, tick, self._heard)
            window = replace(window, model=found.baseline.text or None, served=str(found))
            captured, probed = without_probes(self.world, plan, window, before)
            self.judge.capture(captured.counted, captured.polls)
            self.book.event("baseline", seconds=captured.seconds, probes_too=PROBES_TOO in captured.counted.counters)
            said = [str(captured), f"at this traffic {', '.join(fits(plan.stages, captured.rate))}"]
            step.text = "; ".join([*said, *([probed] if probed else [])])
        for note in self.judge.notes():
            self.book.listener.said(note)
        self.captured = captured
        self._enter(State.BASELINED)
        return captured

    def _heard(self, at: float, sample: Sample) -> None:
        self.book.polled(at, -1, {Role.BASELINE: sample}, Poll.BASELINE)

    def ramp(self, stage: Stage) -> Decision:
        """Give the canary the share of ``stage`` and hold it until there is a decision; STOP has cut it already."""
        self._enter(State.RAMPING)
        return self.traffic.ramp(stage)

    # -- the end -------------------------------------------------------------------------------------------------

    def roll_back(self, why: str) -> Outcome:
        """Cut, drain, remove; never raises.  What cannot be put right is in the outcome."""
        canary_runs, users_came = self.state in CANARY_RUNS, self.state is not State.IDLE
        return self._over(lambda: self._ending.roll_back(why, canary_runs=canary_runs, users_came=users_came))

    def promote(self, why: str, interrupted: Callable[[], str] = str) -> Outcome:
        """Make the canary the stable build and retire the old one; rolls back when the hand-over fails.

        Where that takes a while, ``interrupted`` is asked meanwhile why it should not go on.
        """

        def watched(traffic: Traffic) -> None:
            self.traffic = traffic

        return self._over(lambda: self._ending.promote(self.canary, self.stable, why, watched, interrupted))

    def unchanged(self) -> Outcome:
        """End a rollout that has nothing to ship."""
        return self._over(self._ending.unchanged)

    def _over(self, end: Callable[[], Outcome]) -> Outcome:
        if self.outcome is None:
            self.outcome = end()
            self._enter(State.OVER)
        return self.outcome
