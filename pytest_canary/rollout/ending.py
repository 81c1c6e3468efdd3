"""How a rollout comes to its end: back to the old build or on to the new one, drained either way, and then told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from pytest_canary.errors import AdapterError, CanaryError, NotRestored
from pytest_canary.outcome import End, Outcome, Row
from pytest_canary.plan import Plan
from pytest_canary.ports import Revision, Role, Seen, World
from pytest_canary.rollout.book import Book
from pytest_canary.rollout.cast import Cast
from pytest_canary.rollout.rebuild import Failed, Rebuild
from pytest_canary.rollout.traffic import Traffic
from pytest_canary.steps.probing import end_probes
from pytest_canary.steps.promote import hand_over, retire
from pytest_canary.steps.restore import Unfinished, restore
from pytest_canary.steps.rollback import Drained, drain, serves, shelter, silent, unload


class Ending:
    """The ways out of one rollout, each taken at most once; none of them raises.

    What cannot be put right stands in the outcome.
    """

    def __init__(self, plan: Plan, world: World, book: Book, traffic: Traffic, cast: Cast, run: str) -> None:
        self._plan, self._world, self._book, self._traffic, self._cast = plan, world, book, traffic, cast
        self._run, self._began = run, world.clock.wall()
        self._drained: Drained | None = None
        self._unload_seconds: float | None = None
        self._rebuilt: Rebuild | None = None
        """A promotion that was a shift of its own."""

    # -- back, on, or nowhere ------------------------------------------------------------------------------------

    def roll_back(self, why: str, *, canary_runs: bool, users_came: bool) -> Outcome:
        """Cut, drain, remove."""
        began = self._world.clock.now()
        self._traffic.cut(why)
        end_probes(self._world)  # where no user was ever sent to the canary, there was nothing to cut
        met = self._traffic.cut_made
        if self._book.lost:
            return self._end(End.NOT_RESTORED, f"{self._book.lost}; what is left is theirs to put right", began)
        if self._traffic.sheltered:
            self._book.not_restored = True
        elif canary_runs:
            self._book.attempt("drain", self._drain)
            # Before the canary goes, which could serve instead.
            if met is None or self._stable_serves():
                self._remove_canary()
        elif met:
            self._stable_serves()
        end = End.ROLLED_BACK if met else End.NOT_STARTED
        return self._end(end, met.why if met else why, began, users_came=users_came)

    def _stable_serves(self) -> bool:
        stable = self._cast.stable
        if stable is not None:
            self._book.attempt("stable", lambda: serves(self._world, stable), vital=True)
        if self._book.not_restored:
            self._book.attempt("shelter", lambda: shelter(self._world, self._cast.canary))
        return not self._book.not_restored

    def _remove_canary(self) -> None:
        drained_at = self._world.clock.now()
        self._book.attempt("unload", self._unload, vital=True)
        self._unload_seconds = self._world.clock.now() - drained_at
        self._dismiss_control()

    def promote(
        self,
        canary: Revision,
        old: Revision,
        why: str,
        watched: Callable[[Traffic], None],
        interrupted: Callable[[], str],
    ) -> Outcome:
        """Make the canary the stable build and retire the old one; rolls back when the hand-over fails.

        ``watched`` is told which traffic is the one to watch from then on.
        """
        if old.place:
            return self._rebuild(Rebuild(self._plan, self._world, self._book, canary, old), why, watched, interrupted)
        began = self._world.clock.now()
        try:
            self._book.note("weights", canary=1.0)
            stable = hand_over(self._world, canary)
            self._book.note("stable", **stable.to_data())
        except (CanaryError, OSError) as error:
            return self.roll_back(f"promotion failed: {error}", canary_runs=True, users_came=True)
        self._traffic.handed_over()
        self._cast.stable, self._cast.previous = stable, old
        self._book.safely_note("retire", pin=old.pin)
        retired_at = self._world.clock.now()
        self._dismiss_control()
        self._book.attempt("retire", lambda: self._retire(old, stable), vital=True)
        if self._drained is not None:
            self._unload_seconds = self._world.clock.now() - retired_at - self._drained.seconds
        return self._end(End.PROMOTED, why, began)

    def _rebuild(
        self, rebuild: Rebuild, why: str, watched: Callable[[Traffic], None], interrupted: Callable[[], str]
    ) -> Outcome:
        """Promotion where the stable build is started anew; the canary serves until it is proven."""
        began, old = self._world.clock.now(), self._cast.stable
        self._rebuilt = rebuild
        canary = self._cast.canary
        assert old is not None
        assert canary is not None
        try:
            self._book.note("weights", canary=1.0)
            self._world.router.set_weights({Role.CANARY: 1.0})
            self._traffic.handed_over()
            watched(rebuild.traffic)
            self._dismiss_control()
            stable = rebuild.go(self._traffic, interrupted)
            self._book.note("stable", **stable.to_data())
        except (Failed, CanaryError, OSError) as error:
            watched(self._traffic)
            return self._back_from(rebuild, getattr(error, "why", str(error)))
        self._cast.stable, self._cast.previous = stable, old
        self._book.safely_note("retire", pin=canary.pin)
        self._book.attempt("drain", self._drain)
        drained_at = self._world.clock.now()
        self._book.attempt("unload", self._unload, vital=True)
        self._unload_seconds = self._world.clock.now() - drained_at
        return self._end(End.PROMOTED, why, began)

    def _back_from(self, rebuild: Rebuild, why: str) -> Outcome:
        """The canary is proven and has all traffic; the stable place is put back before users return there."""
        rebuild.traffic.cut(why)
        try:
            if not self._book.lost:
                rebuild.undo()
        except NotRestored as error:
            self._book.in_trouble(str(error), not_restored=True)
            return self._end(End.ROLLED_BACK, f"promotion: {why}", self._world.clock.now())
        self._traffic.taken_back()
        return self.roll_back(f"promotion: {why}", canary_runs=True, users_came=True)

    def unchanged(self) -> Outcome:
        """End a rollout that has nothing to ship."""
        return self._end(End.UNCHANGED, f"{self._cast.canary} is already stable", self._world.clock.now())

    # -- drained -------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        clock, limit = self._world.clock, self._plan.drain_seconds
        if self._cast.canary and silent(self._world.platform, self._cast.canary):
            self._drained = Drained(0, 0.0, 0)  # nobody is left who could answer, or say what it is answering
            return
        self._drained = drain(self._world.router, Role.CANARY, clock, limit, self._book.listener.tick)
        self._traffic.exposed()  # what was in flight has been answered; once the canary is detached nobody can count
        self._count_what_was_cut(self._drained)

    def _unload(self) -> None:
        if self._cast.canary is not None:
            unload(self._world, Role.CANARY, self._cast.canary)

    def _retire(self, old: Revision, stable: Revision) -> None:
        self._drained = retire(self._world, old, stable, self._plan.drain_seconds, self._book.listener.tick)
        self._count_what_was_cut(self._drained)

    def _dismiss_control(self) -> None:
        """The copy of the stable build has no traffic any more: let it finish, and stop it."""
        control, tick = self._cast.control, self._book.listener.tick
        if control is None:
            return

        def dismiss() -> None:
            drained = drain(self._world.router, Role.CONTROL, self._world.clock, self._plan.drain_seconds, tick)
            self._count_what_was_cut(drained)
            unload(self._world, Role.CONTROL, control)

        self._book.attempt("unload control", dismiss, vital=True)

    def _count_what_was_cut(self, drained: Drained) -> None:
        limit = f"`drain_timeout` ({self._plan.drain_seconds:g} s)"
        if drained.unknown:
            said = f"the router could not say what was in flight ({drained.unknown})"
            self._book.in_trouble(f"{said}; after {limit} whatever was has been cut")
        if drained.cut:
            self._book.in_trouble(f"{drained.cut} requests were still in flight after {limit} and were cut")

    # -- told ----------------------------------------------------------------------------------------------------

    def _end(self, end: End, why: str, began: float, *, users_came: bool = True) -> Outcome:
        seconds = self._world.clock.now() - began
        exposed, seen = self._traffic.exposed(), self._users_leave() if users_came else None
        if self._book.not_restored and not self._book.lost and not self._put_right():
            end = End.NOT_RESTORED
        # What is not restored is not settled either: `recover` and the next run find it and try again.
        settled = "unsettled" if end is End.NOT_RESTORED else "settled"
        pins = {name: pinned.to_data() for name, pinned in self._cast.pinned().items()}
        self._book.safely_note(settled, run=self._run, end=end, why=why, pins=pins)
        if end is not End.NOT_RESTORED and not self._plan.keep:
            for adapter in reversed(self._world.adapters):
                self._book.attempt("stop", adapter.stop)
        with suppress(Exception):
            self._world.probe.close()
        self._book.event("outcome", end=str(end), why=why, pins=pins)
        name = "promote" if end in (End.PROMOTED, End.UNCHANGED) else "rollback"
        text = "; ".join([f"{end} {self._plan.place}: {why}", *self._book.trouble])
        self._book.row(Row(name, end is not End.NOT_RESTORED, text, seconds, self._cast.properties()))
        return self._outcome(end, why, exposed, seen)

    def _put_right(self) -> bool:
        """Try what ``recover`` would do before a human has to; whether it helped."""
        cast, plan = self._cast, self._plan
        first = cast.previous or cast.stable
        left = Unfinished(self._run, plan.image or "", plan.keep, first, cast.canary, cast.control)
        try:
            for adapter in self._world.adapters if self._world.platform.lasting else ():
                adapter.recover(self._book.ledger.read())
            restored = restore(self._world, left, plan.drain_seconds, self._book.listener.tick)
            serves(self._world, restored.stable)
        except Exception as error:
            self._book.in_trouble(f"a second attempt failed too: {error}")
            return False
        cast.stable, self._book.not_restored = restored.stable, False
        self._book.in_trouble(f"put right at the second attempt: 100 % on {restored.stable}")
        return True

    def _users_leave(self) -> Seen | None:
        if self._world.users is None:
            return None
        try:
            return self._world.users.leave()
        except AdapterError as error:
            self._book.in_trouble(str(error))
            return None

    def _outcome(self, end: End, why: str, exposed: int, seen: Seen | None) -> Outcome:
        plan, cast = self._plan, self._cast
        return Outcome(
            run=self._run,
            service=plan.service,
            target=plan.target,
            simulated=plan.simulated,
            how_often=plan.how_often,
            image=plan.image or "",
            end=end,
            why=why,
            began_at=self._began,
            ended_at=self._world.clock.wall(),
            stable=cast.stable,
            canary=cast.canary,
            previous=cast.previous,
            rows=tuple(self._book.rows),
            verdicts=(*self._traffic.verdicts, *(self._rebuilt.verdicts if self._rebuilt else ())),
            return_seconds=self._rebuilt.return_seconds if self._rebuilt else None,
            cut=self._traffic.cut_as_seen(seen, cast.canary.pin if cast.canary else ""),
            drained=self._drained,
            exposed=exposed,
            seen=seen,
            overrides=plan.overrides,
            calibration=plan.calibration,
            warnings=plan.warnings,
            runbook=plan.runbook,
            trouble=tuple(self._book.trouble),
            recording=str(self._book.recording.path),
            rollout=plan.rollout,
            keep=plan.keep,
            unload_seconds=self._unload_seconds,
            probed=self._world.probes.seen() if self._world.probes else {},
            pins=cast.pinned(),
        )
