"""One service going from its baseline to a canary revision, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum

from pytest_canary.errors import AdapterError, CanaryError, NoData, NotStarted
from pytest_canary.outcome import End, Outcome, Row
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Ledger, Revision, Role, Seen, World
from pytest_canary.recording import Recording
from pytest_canary.rollout.book import Book, Listener
from pytest_canary.rollout.traffic import Traffic
from pytest_canary.steps.baseline import Baseline, capture, fits, same_model
from pytest_canary.steps.build import build
from pytest_canary.steps.deploy import control_of, deploy, open_world
from pytest_canary.steps.promote import hand_over, retire
from pytest_canary.steps.restore import OWN_KINDS, Restored, Unfinished, restore, unfinished
from pytest_canary.steps.rollback import Drained, drain, serves, unload
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

CANARY_RUNS = frozenset({State.DEPLOYED, State.SMOKED, State.WARM, State.BASELINED, State.RAMPING})


class Rollout:
    """Driven by one thread, up through its states, and to its end from whichever it has reached."""

    def __init__(
        self, plan: Plan, world: World, ledger: Ledger, recording: Recording, judge: Judge, listener: Listener, run: str
    ) -> None:
        self.plan, self.world, self.judge, self.run = plan, world, judge, run
        self.state = State.IDLE
        self.book = Book(ledger, recording, listener, world.clock)
        self.traffic = Traffic(plan, world, judge, self.book)
        self.captured: Baseline | None = None
        self.warmed: Warmed | None = None
        self.drained: Drained | None = None
        self.outcome: Outcome | None = None
        self.healed: Restored | None = None
        """What an earlier, killed run had left."""
        self._stable: Revision | None = None
        self._canary: Revision | None = None
        self._control: Revision | None = None
        self._unload_seconds: float | None = None
        self._began = world.clock.wall()

    @property
    def canary(self) -> Revision:
        """The pinned build that is being shipped."""
        if self._canary is None:
            raise NotStarted("there is no canary yet")
        return self._canary

    @property
    def stable(self) -> Revision:
        """The build that was stable when the rollout began, and after promotion the promoted one."""
        if self._stable is None:
            raise NotStarted("the target has not started yet")
        return self._stable

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
        if left is not None:
            self._heal(left)
        self.book.ledger.close_chapter([f for f in facts if f.kind not in OWN_KINDS] if self.plan.keep else [])
        self.book.note("run", run=self.run, image=self.plan.image, target=self.plan.target, keep=self.plan.keep)
        with self.book.step("target") as step:
            self._stable = open_world(self.world)
            step.text = f"{self.stable} holds 100 % at {self.world.router.address()}"
        if self.plan.build:
            with self.book.step("build") as step:
                step.text = build(self.plan.build, self.plan.folder)
        with self.book.step("verify image") as step:
            self._canary = self.world.platform.resolve(self.plan.image or "", self.plan.change)
            step.text = f"{self.plan.image} can be started, pinned as {self.canary.pin}"
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
        with suppress(NoData):
            counted = self.world.source.poll([Role.BASELINE]).get(Role.BASELINE)
            if counted and counted.counters.get("requests", 0.0) >= self.plan.baseline_requests:
                self.judge.foresee(counted)

    def deploy(self) -> None:
        """Start the canary beside the stable build, with no traffic."""
        with self.book.step("deploy") as step:
            self._foresee()
            beside = {Role.CANARY: self.canary}
            if self.plan.control:
                self._control = beside[Role.CONTROL] = control_of(self.stable, self.canary)
            named = {str(role): revision.to_data() for role, revision in beside.items()}
            self.book.note("deploy", stable=self.stable.to_data(), **named)
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
            if self._control is not None:
                said = [f"control: {self._warm(self.world.platform.address(self._control))}"]
            warmed = self._warm(self.address)
            step.text = "; ".join([str(warmed), *said])
        self.warmed = warmed
        self._enter(State.WARM)
        return warmed

    def _warm(self, address: str) -> Warmed:
        return warm(self.world.probe, address, self.plan.warmup, self.world.clock, self.book.listener.tick)

    def baseline(self) -> Baseline:
        """Read what is normal, and refuse to compare two model versions."""
        plan, tick = self.plan, self.book.listener.tick
        with self.book.step("baseline") as step:
            model = same_model(plan, self.world.platform, self.stable, self.canary)
            window = capture(self.world.source, self.world.clock, plan, tick)
            captured = replace(window, model=model)
            self.judge.capture(captured.counted, captured.polls)
            step.text = f"{captured}; at this traffic {', '.join(fits(plan.stages, captured.rate))}"
        for note in self.judge.notes():
            self.book.listener.said(note)
        self.captured = captured
        self._enter(State.BASELINED)
        return captured

    def ramp(self, stage: Stage) -> Decision:
        """Give the canary the share of ``stage`` and hold it until there is a decision; STOP has cut it already."""
        self._enter(State.RAMPING)
        return self.traffic.ramp(stage)

    # -- the end -------------------------------------------------------------------------------------------------

    def roll_back(self, why: str) -> Outcome:
        """Cut, drain, remove; never raises.  What cannot be put right is in the outcome."""
        if self.outcome is not None:
            return self.outcome
        began = self.world.clock.now()
        self.traffic.cut(why)
        met = self.traffic.cut_made
        if self.state in CANARY_RUNS:
            self.book.attempt("drain", self._drain)
            drained_at = self.world.clock.now()
            self.book.attempt("unload", lambda: unload(self.world, Role.CANARY, self.canary), vital=True)
            self._unload_seconds = self.world.clock.now() - drained_at
            self._dismiss_control()
        if met:
            self.book.attempt("stable", lambda: serves(self.world, self.stable), vital=True)
        seconds = self.world.clock.now() - began
        return self._end(End.ROLLED_BACK if met else End.NOT_STARTED, met.why if met else why, seconds)

    def _dismiss_control(self) -> None:
        """The copy of the stable build has no traffic any more: let it finish, and stop it."""
        control, tick = self._control, self.book.listener.tick
        if control is None:
            return

        def dismiss() -> None:
            drained = drain(self.world.router, Role.CONTROL, self.world.clock, self.plan.drain_seconds, tick)
            self._count_what_was_cut(drained)
            unload(self.world, Role.CONTROL, control)

        self.book.attempt("unload control", dismiss, vital=True)

    def _drain(self) -> None:
        clock, limit = self.world.clock, self.plan.drain_seconds
        self.drained = drain(self.world.router, Role.CANARY, clock, limit, self.book.listener.tick)
        self.traffic.exposed()  # what was in flight has been answered; once the canary is detached nobody can count
        self._count_what_was_cut(self.drained)

    def _count_what_was_cut(self, drained: Drained) -> None:
        if drained.unknown:
            self.book.in_trouble(
                f"the router could not say what was in flight ({drained.unknown}); after `drain_timeout` "
                f"({self.plan.drain_seconds:g} s) whatever was has been cut"
            )
        if drained.cut:
            self.book.in_trouble(
                f"{drained.cut} requests were still in flight after `drain_timeout` ({self.plan.drain_seconds:g} s) "
                "and were cut"
            )

    def promote(self, why: str) -> Outcome:
        """Make the canary the stable build and retire the old one; rolls back when the hand-over fails."""
        old, began = self.stable, self.world.clock.now()
        try:
            self.book.note("weights", canary=1.0)
            stable = hand_over(self.world, self.canary)
            self.book.note("stable", **stable.to_data())
        except (CanaryError, OSError) as error:
            return self.roll_back(f"promotion failed: {error}")
        self.traffic.handed_over()
        self._stable = stable
        self.book.safely_note("retire", pin=old.pin)
        retired_at = self.world.clock.now()
        self._dismiss_control()
        self.book.attempt("retire", lambda: self._retire(old, stable), vital=True)
        if self.drained is not None:
            self._unload_seconds = self.world.clock.now() - retired_at - self.drained.seconds
        return self._end(End.PROMOTED, why, self.world.clock.now() - began, previous=old)

    def _retire(self, old: Revision, stable: Revision) -> None:
        self.drained = retire(self.world, old, stable, self.plan.drain_seconds, self.book.listener.tick)
        self._count_what_was_cut(self.drained)

    def unchanged(self) -> Outcome:
        """End a rollout that has nothing to ship."""
        return self._end(End.UNCHANGED, f"{self.canary} is already stable", 0.0)

    def _end(self, end: End, why: str, seconds: float, previous: Revision | None = None) -> Outcome:
        exposed, seen = self.traffic.exposed(), self._users_leave()
        if self.book.not_restored:
            end = End.NOT_RESTORED
        # What is not restored is not settled either: `recover` and the next run find it and try again.
        self.book.safely_note("unsettled" if end is End.NOT_RESTORED else "settled", run=self.run, end=end, why=why)
        self.state = State.OVER
        if end is not End.NOT_RESTORED and not self.plan.keep:
            for adapter in reversed(self.world.adapters):
                self.book.attempt("stop", adapter.stop)
        with suppress(Exception):
            self.world.probe.close()
        name = "promote" if end in (End.PROMOTED, End.UNCHANGED) else "rollback"
        text = "; ".join([f"{end} on {self.plan.target}: {why}", *self.book.trouble])
        self.book.row(Row(name, end is not End.NOT_RESTORED, text, seconds))
        self.outcome = self._make_outcome(end, why, exposed, seen, previous)
        return self.outcome

    def _users_leave(self) -> Seen | None:
        if self.world.users is None or self.state is State.IDLE:
            return None
        try:
            return self.world.users.leave()
        except AdapterError as error:
            self.book.in_trouble(str(error))
            return None

    def _make_outcome(self, end: End, why: str, exposed: int, seen: Seen | None, previous: Revision | None) -> Outcome:
        return Outcome(
            run=self.run,
            service=self.plan.service,
            target=self.plan.target,
            image=self.plan.image or "",
            end=end,
            why=why,
            began_at=self._began,
            ended_at=self.world.clock.wall(),
            stable=self._stable,
            canary=self._canary,
            previous=previous,
            rows=tuple(self.book.rows),
            verdicts=tuple(self.traffic.verdicts),
            cut=self.traffic.cut_as_seen(seen, self._canary.pin if self._canary else ""),
            drained=self.drained,
            exposed=exposed,
            seen=seen,
            overrides=self.plan.overrides,
            warnings=self.plan.warnings,
            runbook=self.plan.runbook,
            trouble=tuple(self.book.trouble),
            recording=str(self.book.recording.path),
            rollout=self.plan.rollout,
            keep=self.plan.keep,
            unload_seconds=self._unload_seconds,
        )
