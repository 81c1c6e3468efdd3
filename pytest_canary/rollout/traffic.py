"""The canary's share of the traffic: given, watched, taken away.

One thread ramps and holds; a watcher may call :meth:`Traffic.look` and :meth:`Traffic.cut` from another.  One lock
serialises every port call that both can make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import RLock

from pytest_canary.errors import AdapterError, CanaryError, NoData, NotRestored, NotStarted, SplitNotSeen
from pytest_canary.outcome import Cut
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Role, Sample, Seen, Weights, World
from pytest_canary.rollout.book import Book
from pytest_canary.steps.ramp import Shifted, pace_of, verify, weights_of
from pytest_canary.steps.rollback import cut
from pytest_canary.verdict import Decision, Judge, Step, Verdict, decide, settled

TICK_SECONDS = 0.2
PATIENCE_SECONDS = 60.0
"""How long a source may be silent before traffic is shifted."""


class _CutMeanwhile(Exception):
    """The watcher took the traffic away while the split was being verified."""


class Traffic:
    """What the canary has of the traffic, and what was counted meanwhile."""

    def __init__(self, plan: Plan, world: World, judge: Judge, book: Book) -> None:
        self.stage: Stage | None = None
        self.flowing = False
        """Whether the canary has a share now."""
        self.cut_made: Cut | None = None
        self.verdicts: list[Verdict] = []
        """Of every stage that was held, in order."""
        self._plan, self._world, self._judge, self._book = plan, world, judge, book
        self._lock = RLock()
        self._first: Mapping[Role, Sample] = {}
        self._stage_began: Mapping[Role, Sample] = {}
        self._last: dict[Role, Sample] = {}
        self._first_bad: float | None = None
        self._blind = ""

    # -- given ---------------------------------------------------------------------------------------------------

    def ramp(self, stage: Stage) -> Decision:
        """Give the canary the share of ``stage``, see that requests follow, and hold until there is a decision."""
        with self._book.step(f"ramp[{stage}]") as step:
            try:
                step.text = str(self._shift(stage))
            except _CutMeanwhile:
                step.text = "cut before the split was seen"
        decision = self._hold(stage)
        with self._lock:
            self.verdicts += settled(self._judge.verdicts(), decision)
        if decision.step is Step.STOP:
            self.cut(decision.why)
        self._book.event("held", stage=str(stage), step=decision.step, why=decision.why)
        return decision

    def _shift(self, stage: Stage) -> Shifted:
        weights = weights_of(self._plan, stage)
        self._wait_for_the_source(weights)
        with self._lock:
            if self.cut_made is not None:
                raise NotStarted(f"stage {stage} is not reached: {self.cut_made.why}")
            before = dict(self._world.source.poll(list(weights)))
            self._first, self._stage_began = self._first or before, before
            self._book.note("weights", **{str(role): share for role, share in weights.items()})
            self.flowing, self.stage = True, stage
            self._judge.start_stage(
                stage.index,
                at=self._world.clock.now(),
                share=weights[Role.CANARY],
                compared=any(share > 0 for role, share in weights.items() if role is not Role.CANARY),
                hold_seconds=stage.hold_seconds,
                min_requests=stage.min_requests,
                samples=before,
                label=str(stage),
                allowance=stage.allowance,
                young_seconds=self._plan.young_seconds if self._plan.control else 0.0,
            )
            self._world.router.set_weights(weights)
            self._book.event("weights", stage=str(stage), canary=weights[Role.CANARY])
        clock, pace, tick = self._world.clock, pace_of(self._plan), self._book.listener.tick
        try:
            return verify(self._poll, before, weights[Role.CANARY], clock, pace, tick)
        except SplitNotSeen as error:
            waiting = self._in_flight()
            if waiting:
                raise SplitNotSeen(f"{waiting} requests wait for the canary, which answers none of them") from error
            raise

    def _wait_for_the_source(self, weights: Weights) -> None:
        """Give a source that does not answer a while, rather than end a good rollout; the shares stay as they are."""
        clock, tick = self._world.clock, self._book.listener.tick
        until = clock.now() + PATIENCE_SECONDS
        while self.cut_made is None:
            try:
                with self._lock:
                    self._world.source.poll(list(weights))
                return
            except NoData as error:
                if clock.now() >= until:
                    raise
                tick(f"the source to answer: {error}")
                clock.sleep(self._plan.poll_seconds)

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
            return self._world.source.poll(roles)

    def _hold(self, stage: Stage) -> Decision:
        clock, start = self._world.clock, self._world.clock.now()
        with self._lock:
            self._judge.split_seen()
        while True:
            if clock.virtual:
                self.look()
            elapsed = clock.now() - start
            decision = self._decide(stage, elapsed)
            if decision.step is not Step.WAIT:
                return decision
            self._book.listener.tick(self.line(stage, decision.why))
            clock.sleep(self._plan.poll_seconds if clock.virtual else min(TICK_SECONDS, self._plan.poll_seconds))

    def _decide(self, stage: Stage, elapsed: float) -> Decision:
        with self._lock:
            if self.cut_made is not None:
                return Decision(Step.STOP, self.cut_made.why)
            decision = self.decide_on(self._judge.verdicts(), stage, elapsed)
        if decision.step is Step.STOP and self._blind:
            return replace(decision, why=f"{decision.why}; {self._blind}")
        return decision

    def decide_on(self, verdicts: Sequence[Verdict], stage: Stage, elapsed: float) -> Decision:
        """What ``verdicts`` say about ``stage``, ``elapsed`` seconds after its split was verified."""
        return decide(
            verdicts,
            elapsed=elapsed,
            requests=self._judge.requests,
            hold=stage.hold_seconds,
            min_requests=stage.min_requests,
            deadline=stage.deadline_seconds,
            pace=self._plan.pace,
            when_undecided=self._plan.when_undecided,
        )

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
            self._last.update(samples)
            self._judge.observe(samples, now)
            self._remember_bad(samples)
            with suppress(OSError):
                self._book.recording.write_sample(now, self.stage.index if self.stage else -1, samples)
            failed = [v.sentence for v in self._judge.verdicts() if v.status == "fail" and not v.alert]
            wrong = self._judge.wrong()
            if failed or wrong:
                self.cut("; ".join(failed) or wrong)

    def _remember_bad(self, samples: Mapping[Role, Sample]) -> None:
        sample = samples.get(Role.CANARY)
        since = sample.since(self._first.get(Role.CANARY)) if sample else None
        if self._first_bad is None and since is not None and since.counters.get("errors", 0) > 0:
            self._first_bad = self._world.clock.wall()

    def counted(self, role: Role) -> Sample | None:
        """What ``role`` has counted since the present stage began; None when nobody knows."""
        with self._lock, suppress(NoData, KeyError):
            return self._world.source.poll([role])[role].since(self._stage_began.get(role))
        return None

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
        sides = " | ".join(f"{role} {side}" for role, side in sorted(counts.items(), reverse=True))
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
                cut(self._world.router, self._world.clock)
            except NotRestored as error:
                self._book.in_trouble(str(error), not_restored=True)
            self.flowing = False
            at, seconds = self._world.clock.wall(), self._world.clock.now() - began
            self.cut_made = Cut(why, str(self.stage), at, seconds, self._first_bad)
            self._book.event("cut", stage=str(self.stage), why=why)

    def handed_over(self) -> None:
        """The canary is stable now: nobody may take its traffic any more."""
        with self._lock:
            self.flowing = False

    def exposed(self) -> int:
        """Requests of users that the canary has answered since its first share."""
        with self._lock, suppress(CanaryError, KeyError):
            self._last.update(self._world.source.poll([Role.CANARY]))
        first, last = self._first.get(Role.CANARY), self._last.get(Role.CANARY)
        since = last.since(first) if first and last else None
        return int(since.counters.get("requests", 0)) if since else 0

    def cut_as_seen(self, seen: Seen | None, pin: str) -> Cut | None:
        """The cut, with the users' own clock for the first bad answer: it is more exact than a poll."""
        made = self.cut_made
        if made is None or seen is None:
            return made
        return Cut(made.why, made.stage, made.at, made.seconds, seen.first_bad.get(pin, made.first_bad_at))
