"""The canary's share of the traffic: given, watched, taken away.

One thread ramps and holds; a watcher may call :meth:`Traffic.look` and :meth:`Traffic.cut` from another.  One lock
serialises every port call that both can make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isfinite
from threading import RLock

from pytest_canary.errors import (
    AdapterError,
    CanaryError,
    NoData,
    NotRestored,
    NotStarted,
    SplitNotSeen,
)
from pytest_canary.gates import Gate
from pytest_canary.outcome import Cut
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Foreseen, Revision, Role, Sample, Seen, World
from pytest_canary.recording import Poll
from pytest_canary.rollout.book import Book
from pytest_canary.rollout.capacity import Capacity
from pytest_canary.rollout.foresight import Foresight, StageRules
from pytest_canary.rollout.news import held_back, old
from pytest_canary.rollout.pulse import Pulse
from pytest_canary.rollout.refuge import Refuge
from pytest_canary.rollout.told import told_stage, told_verdict
from pytest_canary.steps.probing import end_probes
from pytest_canary.steps.ramp import Shifted, pace_of, patience, verify, weights_of
from pytest_canary.verdict import Decision, Judge, Step, Verdict, decide, settled

TICK_SECONDS = 0.2
STALE_SECONDS = 10.0
"""Besides a poll; after a longer gap between two looks (a run that was stopped) nothing goes on before the next."""


TOLD_SECONDS = 30.0
"""Where time is virtual many polls pass in a blink: what is waited for is told at some of them."""


class _CutMeanwhile(Exception):
    """The watcher took the traffic away while the split was being verified."""


class Traffic:
    """What the canary has of the traffic, and what was counted meanwhile."""

    def __init__(
        self, plan: Plan, world: World, judge: Judge, book: Book, build: Callable[[Role], Revision | None]
    ) -> None:
        self.stage: Stage | None = None
        self.flowing = False
        """Whether the canary has a share now."""
        self.cut_made: Cut | None = None
        self.sheltered = ""
        """Why the cut left all traffic with the canary: nobody would have answered elsewhere."""
        self.verdicts: list[Verdict] = []
        """Of every stage that was held, in order."""
        self._plan, self._world, self._judge, self._book, self._build = plan, world, judge, book, build
        self._lock = RLock()
        self._first: Mapping[Role, Sample] = {}
        self._stage_began: Mapping[Role, Sample] = {}
        self._last: dict[Role, Sample] = {}
        self._first_bad: float | None = None
        self._blind, self._looked_at, self._told_at = "", 0.0, float("-inf")
        self._pulse, self._died = Pulse(world), ""
        self._foresight = Foresight(world, judge, plan.poll_seconds)
        self._capacity, self._refuge = Capacity(plan, world, book, build, self._lock), Refuge(world, book)

    # -- given ---------------------------------------------------------------------------------------------------

    def ramp(self, stage: Stage) -> Decision:
        """Give the canary the share of ``stage``, see that requests follow, and hold until there is a decision."""
        with self._book.step(f"ramp[{stage}]") as step:
            try:
                seen = self._shift(stage)
                step.text = self._judge.sides.said(str(seen))
            except _CutMeanwhile:
                step.text = "cut before the split was seen"
        decision = self._hold(stage)
        if decision.step is Step.STOP:
            self.cut(decision.why)
        return decision

    def _shift(self, stage: Stage) -> Shifted:
        weights = weights_of(self._plan, stage)
        self._capacity.make(weights, lambda: self.cut_made is None)
        with self._lock:
            if self.cut_made is not None:
                raise NotStarted(f"stage {stage} is not reached: {self.cut_made.why}")
            before = dict(self._world.source.poll(list(weights)))
            self._first, self._stage_began = self._first or before, before
            self._book.note("weights", **{str(role): share for role, share in weights.items()})
            self.flowing, self.stage = True, stage
            at = self._world.clock.now()
            interval = self._world.source.interval_seconds
            self._book.event("stage", moment=at, interval=interval, **told_stage(stage, weights))
            self._book.polled(at, stage.index, before, Poll.BEFORE)
            self._judge.start_stage(
                stage.index,
                at=at,
                share=weights[Role.CANARY],
                compared=any(share > 0 for role, share in weights.items() if role is not Role.CANARY),
                hold_seconds=stage.hold_seconds,
                min_requests=stage.min_requests,
                samples=before,
                label=str(stage),
                allowance=stage.allowance,
                young_seconds=self._plan.young_seconds if weights.get(Role.CONTROL) else 0.0,
            )
            self._world.router.set_weights(weights)
            self._book.event("weights", stage=str(stage), canary=weights[Role.CANARY])
        clock, pace, tick = self._world.clock, pace_of(self._plan), self._book.listener.tick
        try:
            most = patience(self._world.source)
            return verify(self._poll, before, weights[Role.CANARY], clock, pace, tick, most)
        except SplitNotSeen as error:
            waiting = 0 if error.share else self._in_flight()
            said = f"{waiting} requests wait for the canary, which answers none of them" if waiting else str(error)
            raise SplitNotSeen(self._judge.sides.said(said), error.share) from error

    @property
    def _roles(self) -> list[Role]:
        return [Role.BASELINE, *([Role.CONTROL] if self._plan.control else []), Role.CANARY]

    def _in_flight(self) -> int:
        with self._lock, suppress(AdapterError):
            return self._world.router.in_flight(Role.CANARY)
        return 0

    def _poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        if self._world.clock.virtual:
            self.look()
        with self._lock:
            if self.cut_made is not None:
                raise _CutMeanwhile
            at, samples = self._world.clock.now(), self._world.source.poll(roles)
            self._book.polled(at, self.stage.index if self.stage else -1, samples, Poll.CHECK)
            return samples

    def _hold(self, stage: Stage) -> Decision:
        clock = self._world.clock
        with self._lock:
            start = clock.now()
            self._judge.split_seen()
            self._book.event("split", moment=start, stage=str(stage))
        while True:
            if clock.virtual:
                self._pass_over(stage, start)
                self.look()
            with self._lock:  # what is settled is what was decided on: nobody looks in between
                now = clock.now()
                decision = self._decide(stage, now - start)
                if decision.step is not Step.WAIT:
                    self._settle(stage, decision, now)
                    return decision
            if not clock.virtual or now - self._told_at >= TOLD_SECONDS:
                self._told_at = now
                self._book.listener.tick(self.line(stage, decision.why))
            clock.sleep(self._plan.poll_seconds if clock.virtual else min(TICK_SECONDS, self._plan.poll_seconds))

    def _pass_over(self, stage: Stage, start: float) -> None:
        """Let all polls pass of which it is known that they bring no decision; the next one may."""
        while self.flowing:
            foreseen = self._foresight.polls(self._roles, stage, start, self._rules(stage))
            if foreseen is None:
                return
            told, ahead = foreseen
            passed = self._passed(told, ahead.quiet)
            if passed:
                self._judge.go_on(ahead, passed)
                self._last.update({role: one.sample(passed - 1) for role, one in told.items()})
            if not self._foresight.went(passed):
                return

    def _passed(self, told: Mapping[Role, Foreseen], polls: int) -> int:
        """Let so many polls pass, or as many as come before something is to be seen that nobody counts."""
        clock, nobody = self._world.clock, [0.0] * polls
        stable, canary = (
            [told[role].counters.get(name, nobody) if role in told else nobody for name in ("requests", "errors")]
            for role in (Role.BASELINE, Role.CANARY)
        )
        for index in range(polls):
            now = clock.now()
            self._looked_at, self._blind = now, ""
            if self._pulse.of_stable(stable[0][index], stable[1][index], now) or self._hurt(now):
                return index
            self._remember_bad(canary[1][index])
            if self._book.records:
                whole = {role: one.sample(index) for role, one in told.items()}
                self._book.polled(now, self.stage.index if self.stage else -1, whole, Poll.LOOK)
            clock.sleep(self._plan.poll_seconds)
        return polls

    def _settle(self, stage: Stage, decision: Decision, at: float) -> None:
        verdicts = settled(self._judge.verdicts(), decision)
        self.verdicts += verdicts
        told = [told_verdict(verdict) for verdict in verdicts]
        step = str(decision.step)
        self._book.event("held", moment=at, stage=str(stage), step=step, why=decision.why, verdicts=told)

    def _decide(self, stage: Stage, elapsed: float) -> Decision:
        with self._lock:
            if self.cut_made is not None:
                return Decision(Step.STOP, self.cut_made.why)
            gap = self._world.clock.now() - self._looked_at
            if self._looked_at and gap > self._plan.poll_seconds + STALE_SECONDS:
                return Decision(Step.WAIT, f"a look, the last was {gap:.0f} s ago")
            decision = self._judge.decide(elapsed=elapsed, **self._rules(stage))
            decision = held_back(decision, self._blind or self._old(), elapsed, stage.deadline_seconds)
        if decision.step is Step.STOP and self._blind and self._blind not in decision.why:
            return replace(decision, why=f"{decision.why}; {self._blind}")
        return decision

    def _old(self) -> str:
        poll, interval = self._plan.poll_seconds, self._world.source.interval_seconds
        return old(self._last, self._roles, self._looked_at, poll, interval)

    def decide_on(self, verdicts: Sequence[Verdict], stage: Stage, elapsed: float) -> Decision:
        """What ``verdicts`` say about ``stage``, ``elapsed`` seconds after its split was verified."""
        return decide(verdicts, elapsed=elapsed, requests=self._judge.requests, **self._rules(stage))

    def _rules(self, stage: Stage) -> StageRules:
        return {
            "hold": stage.hold_seconds,
            "min_requests": stage.min_requests,
            "deadline": stage.deadline_seconds,
            "pace": self._plan.pace,
            "when_undecided": self._plan.when_undecided,
        }

    # -- watched -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Poll once, and cut at once when a gate fails.  Does nothing unless the canary has a share."""
        with self._lock:
            if not self.flowing:
                return
            now = self._world.clock.now()
            try:
                samples, self._blind = self._world.source.poll(self._roles), ""
            except NoData as error:
                samples, self._blind = {}, str(error)
            self._looked_at = self._world.clock.now()
            self._last.update(samples)
            self._judge.observe(samples, now)
            if Role.CANARY in samples:
                self._remember_bad(samples[Role.CANARY].counters.get("errors", 0.0))
            self._book.polled(now, self.stage.index if self.stage else -1, samples, Poll.LOOK, self._blind)
            failed = self._judge.failures()
            self._died = self._pulse.feel(samples, now)
            wrong = self._died or self._hurt(now) or self._judge.wrong()
            if failed or wrong:
                self.cut("; ".join(failed) or wrong)

    def _hurt(self, now: float) -> str:
        canary = self._build(Role.CANARY)
        return self._pulse.of_canary(canary, now, counted=not self._blind) if canary is not None else ""

    def _remember_bad(self, errors: float) -> None:
        """When the canary had counted an error for the first time."""
        if self._first_bad is None:
            first = self._first.get(Role.CANARY)
            if errors > (first.counters.get("errors", 0.0) if first else 0.0):
                self._first_bad = self._world.clock.wall()

    def counted(self, role: Role) -> Sample | None:
        """What ``role`` has counted since the present stage began; None when nobody knows."""
        with self._lock, suppress(NoData, KeyError):
            return self._world.source.poll([role])[role].since(self._stage_began.get(role))
        return None

    def ask_more(self, gate: Gate) -> None:
        """Judge by ``gate`` too from this stage on; raises BaselineFailed when nobody could."""
        with self._lock:  # the watcher may be adding a poll to what the gate has to catch up with
            self._judge.add(gate)

    def findings(self) -> tuple[Verdict, ...]:
        """What every gate says now."""
        with self._lock:
            return self._judge.verdicts()

    def verdict_of(self, gate: str) -> Verdict:
        """What ``gate`` says now."""
        return next(verdict for verdict in self.findings() if verdict.gate == gate)

    def line(self, stage: Stage, waiting: str) -> str:
        """Where the rollout is, in one line: share wanted and seen, both sides, what is waited for."""
        if self._blind:
            return f"{stage} | no data: {self._blind}"
        with self._lock:
            counts = self._judge.stage_counts()
        total = sum(side.requests for side in counts.values())
        canary = counts.get(Role.CANARY)
        seen = f"{canary.requests / total:.1%}" if canary and total else "nothing yet"
        named = self._judge.sides.named
        sides = " | ".join(f"{named(role)} {side}" for role, side in sorted(counts.items(), reverse=True))
        return f"{stage} (seen {seen}) {waiting} | {sides}"

    # -- taken away ----------------------------------------------------------------------------------------------

    def cut(self, why: str) -> None:
        """Take all traffic from the canary, now.  Safe to repeat; never raises."""
        with self._lock:
            if not self.flowing:
                return
            self._book.safely_note("weights", baseline=1.0, canary=0.0, why=why)
            began = self._world.clock.now()
            try:
                if not self._book.lost:
                    self.sheltered = self._refuge.give_back(self._build(Role.CANARY), self._died)
            except NotRestored as error:
                self._book.in_trouble(str(error), not_restored=True)
            self.flowing = False
            end_probes(self._world)
            at, seconds = self._world.clock.wall(), self._world.clock.now() - began
            self.cut_made = Cut(why, str(self.stage), at, seconds, self._first_bad)
            self._book.event("cut", stage=str(self.stage), why=why)

    def handed_over(self) -> None:
        """The canary is stable now: nobody may take its traffic any more."""
        with self._lock:
            self.flowing = False
            end_probes(self._world)

    def taken_back(self) -> None:
        """The hand-over did not succeed: the canary is one again, and its traffic may be taken."""
        with self._lock:
            self.flowing = True

    def exposed(self) -> int:
        """Requests of users that the canary has answered since its first share."""
        with self._lock, suppress(CanaryError, KeyError):
            self._last.update(self._world.source.poll([Role.CANARY]))
        first, last = self._first.get(Role.CANARY), self._last.get(Role.CANARY)
        since = last.since(first) if first and last else None
        users = max(since.of_users, 0.0) if since else 0.0
        return int(users) if isfinite(users) else 0

    def cut_as_seen(self, seen: Seen | None, pin: str) -> Cut | None:
        """The cut, with the users' own clock for the first bad answer: it is more exact than a poll."""
        made = self.cut_made
        if made is None or seen is None:
            return made
        return Cut(made.why, made.stage, made.at, made.seconds, seen.first_bad.get(pin, made.first_bad_at))
