"""The one rollout of a session: prepared before the first test, brought as far as a test asks for, and settled."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest

from pytest_canary import world
from pytest_canary.errors import CanaryError, LedgerError, NotStarted, UsageError
from pytest_canary.gates import Action
from pytest_canary.guard import RESTORE_SECONDS, Guard, acquire
from pytest_canary.outcome import End, Outcome, Row
from pytest_canary.plan import Plan
from pytest_canary.ports import Clock, Fact, Ledger, Shared
from pytest_canary.recording import Recording
from pytest_canary.report import history
from pytest_canary.rollout import Rollout, State
from pytest_canary.session import files
from pytest_canary.session.collection import Home
from pytest_canary.session.console import Console
from pytest_canary.session.holds import Holds
from pytest_canary.session.junit import report_row
from pytest_canary.session.signals import Signals
from pytest_canary.session.watcher import Watcher
from pytest_canary.steps.restore import kept
from pytest_canary.verdict import Judge, share_alpha, withheld

GOOD = (End.PROMOTED, End.UNCHANGED)


class Live:
    """A rollout that may start, is running, or is over.  Listens to it, too."""

    def __init__(
        self, config: pytest.Config, home: Home, plan: Plan, console: Console, tell_session: Callable[[str], None]
    ) -> None:
        assert home.spec is not None
        self.config, self.home, self.plan, self.console, self._spec = config, home, plan, console, home.spec
        self.stopped = ""
        """Why the rollout goes no further; empty while it may."""
        self.stopped_short = ""
        """The same in a few words, for the many rows that are skipped because of it."""
        self.interrupted = False
        """Whether that is because somebody wanted it."""
        self.narrowed = ""
        self.passed: set[str] = set()
        self.failed_tests = 0
        """Tests of the rollout that failed once the canary ran."""
        self.outcome: Outcome | None = None
        self.files: dict[str, str] = {}
        self.holds = Holds(self)
        self.state = world.state_folder(config.rootpath, config.getoption("canary_state"), self._spec)
        self._tell_session = tell_session
        self._signals = Signals(self._on_signal)
        self._rollout: Rollout | None = None
        self._watcher: Watcher | None = None
        self._ledger: Ledger | None = None
        self._guard: Guard | None = None

    # -- before the first test ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Connect the target and take the lock; nothing is started.

        Raises:
            pytest.UsageError: something is missing, another run holds this rollout, or a file cannot be written.

        """
        try:
            self._rollout = self._prepared()
        except (UsageError, CanaryError) as error:
            self._let_go()
            raise pytest.UsageError(str(error)) from error
        except OSError as error:
            self._let_go()
            said = f"{error.filename or self.state}: {error.strerror}"
            raise pytest.UsageError(
                f"{said}; free space there, or choose another folder with --canary-state"
            ) from error
        self._watcher = Watcher(self._rollout, self._told_to_stop, self._abort_file)
        self._signals.install()

    def _prepared(self) -> Rollout:
        files.check(self.config.option)
        clock = world.clock_of(self._spec)
        ledger = self._ledger = world.ledger_of(self._spec, self.state)
        run = self._run_name(clock)

        def note(kind: str, **data: Any) -> None:
            ledger.append(Fact(kind, clock.wall(), data))
            if say := data.get("say"):
                self.said(str(say))

        shared = Shared(self._spec.service, clock, self.state, self.home.folder, run, note=note)
        connected = world.connect(self._spec, shared, self._ask_conftest)
        acquire(ledger, run, clock, self.plan.drain_seconds + RESTORE_SECONDS, self.tick)
        with suppress(FileNotFoundError):
            self._abort_file.unlink()
        if not self.plan.keep and kept(ledger.read()):
            self.plan = replace(self.plan, keep=True)
            self.said("an earlier run left its world serving (keep), so it goes on serving after this one too")
        recording = Recording(self.state / "recordings" / f"{run}.jsonl")
        recording.begin(self.plan, run, clock.now(), clock.wall())
        judge = Judge(share_alpha(self.plan.gates), len(self.plan.stages))
        if not clock.virtual:
            self._guard = Guard(self._guard_command(run), self.state / "guard.log", ledger)
        return Rollout(self.plan, connected, ledger, recording, judge, self, run)

    def _run_name(self, clock: Clock) -> str:
        """A name that no other run of this rollout has had: two of one second in one process are told apart too."""
        wall = clock.wall()
        when = str(int(wall)) if clock.virtual else time.strftime("%Y%m%d-%H%M%S", time.gmtime(wall))
        names = (f"{when}-{os.getpid()}{again}" for again in chain([""], (f"-{number}" for number in count(2))))
        return next(name for name in names if not (self.state / "recordings" / f"{name}.jsonl").exists())

    def _guard_command(self, run: str) -> list[str]:
        words = [sys.executable, "-m", "pytest_canary.command", "guard", str(self.home.folder / "rollout.yaml")]
        words += ["--target", self._spec.target, "--state", str(self.state.parents[1].absolute()), "--run", run]
        words += ["--pid", str(os.getpid())]
        words += [word for override in self.config.getoption("canary_set") for word in ("--set", override)]
        return words + [word for plugin in self.config.option.plugins for word in ("-p", plugin)]

    @property
    def _abort_file(self) -> Path:
        return self.state / "abort"

    def _ask_conftest(self, kind: str, name: str, options: Mapping[str, Any], shared: Shared) -> Any:
        hook = getattr(self.config.hook, f"pytest_canary_{kind}", None)
        return hook(name=name, options=options, shared=shared) if hook else None

    def _told_to_stop(self) -> str:
        return self.stopped or (self._guard.lost if self._guard is not None else "")

    def _on_signal(self, name: str) -> None:
        # No cut from here: the signal may have interrupted a cut, or the very call that gives weight.
        self.interrupted = self.interrupted or not self.stopped
        self.stopped, self.stopped_short = self.stopped or name, self.stopped_short or name
        self._tell_session(name)

    # -- what a test asks for ----------------------------------------------------------------------------------

    @property
    def rollout(self) -> Rollout:
        """The state machine; there is one only when an image was given."""
        if self._rollout is None:
            raise NotStarted("no --image: nothing is deployed")
        return self._rollout

    @property
    def unchanged(self) -> bool:
        """Whether there is nothing to ship."""
        return self._rollout is not None and self._rollout.state is State.UNCHANGED

    def reach(self, state: State) -> Rollout:
        """Bring the rollout to ``state`` on its way up; skips the test that asked when that does not succeed."""
        rollout = self.rollout
        ways: tuple[tuple[State, State, Callable[[], object]], ...] = (
            (State.IDLE, State.OPEN, self._open),
            (State.OPEN, State.DEPLOYED, rollout.deploy),
            (State.DEPLOYED, State.SMOKED, rollout.smoke),
            (State.SMOKED, State.WARM, rollout.warm),
            (State.WARM, State.BASELINED, rollout.baseline),
        )
        try:
            for before, after, act in ways:
                if self.unchanged:
                    pytest.skip(f"{rollout.canary} is already stable; --canary-again runs it as an A/A test")
                if rollout.state is before:
                    act()
                if after is state:
                    break
        except CanaryError as error:
            self.stop(str(error))
            pytest.skip(f"not reached: {error}")
        return rollout

    def _open(self) -> None:
        if self._guard is not None:
            self._guard.start()
        try:
            self.rollout.open(again=self.config.getoption("canary_again"))
        finally:
            if self.rollout.healed is not None:
                with suppress(OSError):
                    history.put_right(self.state, self.rollout.healed, "the next run", self.rollout.world.clock.wall())
        canary = self.rollout.canary
        last = history.read(self.state)[-1:]
        if last and last[0].by_guard:
            self.said(f"last time: {last[0].image} {last[0].end} on {last[0].when}: {last[0].why}")
        earlier = history.rejected(self.state, canary.pin)
        if earlier is None:
            return
        line = f"{canary} was rolled back before, on {earlier.when}: {earlier.why} (report: {earlier.report})"
        if self.plan.refuse_rejected:
            raise NotStarted(f"{line}; build another image, or write `refuse_rejected: false`")
        self.said(line)

    def watch(self) -> None:
        """See that somebody looks from the first weight on, and that somebody notices should this process die.

        Where time is virtual, whoever waits looks.  Raises NotStarted when the guard does not watch.
        """
        if self._guard is not None:
            self._guard.must_watch(self.rollout.world.clock)
        if self._watcher and not self._watcher.started and not self.rollout.world.clock.virtual:
            self._watcher.start()

    def on_the_way_out(self) -> None:
        """The session was interrupted; a signal that comes now changes nothing any more."""
        self._signals.hold()

    # -- the end -----------------------------------------------------------------------------------------------

    def stop(self, why: str, short: str = "", *, interrupted: bool = False) -> None:
        """Go no further; the canary loses its traffic now."""
        if not self.stopped:
            self.stopped, self.stopped_short = why, short or why
            self.interrupted = interrupted or self._abort_file.exists()
        if self._rollout is not None:
            self._rollout.traffic.cut(why)

    def _required(self) -> list[str]:
        gates = [
            f"{self.home.node}::{gate.name}[{stage}]"
            for stage in self.plan.stages
            for gate in self.home.gates
            if gate.action is Action.ROLLBACK and gate.gates(stage.index)
        ]
        return [*gates, *self.plan.required_tests]

    def settle(self, *, may_promote: bool) -> Outcome | None:
        """End the rollout: promote when everything has passed and ``may_promote``, else roll back.  Never raises."""
        if self._rollout is None or self.outcome is not None:
            return self.outcome
        with self._signals.held():
            ended = self._end(self._rollout, may_promote)
            if ended is not None:
                self.outcome = self._as_seen_here(ended)
                self._leave(self.outcome)
            self._signals.restore()
            self._let_go()
        return self.outcome

    def _end(self, rollout: Rollout, may_promote: bool) -> Outcome | None:
        if self.unchanged:
            return rollout.unchanged()
        if self._abort_file.exists():  # a run that was stopped may wake up here, after everybody has looked
            self.stop(self._abort_file.read_text().strip() or "aborted by hand")
        reason = withheld(self._required(), self.passed, stopped=self.stopped, narrowed=self.narrowed)
        passed = "every required gate passed at every stage"
        if may_promote and not reason and rollout.rebuilds:
            outcome = rollout.promote(passed, self._interrupted)  # watched: it is a shift of its own
            self._stop_watching()
            return outcome
        if may_promote and not reason and self._bake(rollout):
            self._stop_watching()
            return rollout.promote(passed)
        if rollout.state is State.IDLE:
            return None
        why = self.stopped or reason or "the session had failures"
        rollout.traffic.cut(why)
        self._stop_watching()
        return rollout.roll_back(why)

    def _bake(self, rollout: Rollout) -> bool:
        """Watch for a while before the old build goes; whatever fails then rolls back."""
        clock, seconds, traffic = rollout.world.clock, self.plan.bake_seconds or 0.0, rollout.traffic
        began = clock.now()
        end = began + seconds
        while (left := end - clock.now()) > 0 and not traffic.cut_made and not self._signals.received:
            self.tick(f"bake: {left:.0f} s left")
            self.holds.pause(left)
        if self._signals.received:
            self.stop(self._signals.received[0])
        took = clock.now() - began
        for verdict in traffic.findings() if seconds > 0 else ():
            good = verdict.alert or verdict.status != "fail"
            rollout.book.row(Row(f"bake::{verdict.gate}", good, verdict.sentence or "nothing against it", took))
        return not (traffic.cut_made or self.stopped)

    def _interrupted(self) -> str:
        """Why a promotion that is under way should not go on; empty when it should."""
        if self._abort_file.exists():
            self.interrupted = True
            return self._abort_file.read_text().strip() or "aborted by hand (no reason given)"
        return self._told_to_stop()

    @property
    def signalled(self) -> bool:
        """Whether a signal has asked the session to end."""
        return bool(self._signals.received)

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()

    def _as_seen_here(self, outcome: Outcome) -> Outcome:
        """With what only the session knows."""
        folder = os.path.relpath(self.home.folder, self.config.invocation_params.dir)
        return replace(outcome, interrupted=self.interrupted and not outcome.failed, folder=folder)

    def _leave(self, outcome: Outcome) -> None:
        blamed = bool(outcome.failed or self.failed_tests)
        self.files, trouble = files.leave(outcome, self.state, self.config.option, blamed)
        for text in trouble:
            self.said(text)
        if outcome.end not in GOOD:
            row = Row("promote", False, f"not promoted: {self.stopped_short or outcome.why}", 0.0)
            report_row(self.config, self.home.node, row, skipped=True)
        self._tell_listeners("pytest_canary_outcome", outcome=outcome)

    def _let_go(self) -> None:
        with suppress(OSError):
            self._abort_file.unlink()
        if self._guard is not None:
            self._guard.end(settled=self.outcome is None or self.outcome.end is not End.NOT_RESTORED)
        if self._ledger is not None:
            with suppress(LedgerError, OSError):
                self._ledger.release()

    # -- Listener ----------------------------------------------------------------------------------------------

    def tick(self, text: str) -> None:
        self.console.tick(text)

    def said(self, text: str) -> None:
        self.console.said(text)

    def row(self, row: Row) -> None:
        self.console.row(row.name, row.text, passed=row.passed, seconds=row.seconds)
        report_row(self.config, self.home.node, row)
        self._tell_listeners("pytest_canary_row", row=row)

    def _tell_listeners(self, hook: str, **what: object) -> None:
        """Whatever a listener raises changes nothing, not even SystemExit(0); Ctrl-C is no error of a listener."""
        try:
            getattr(self.config.hook, hook)(**what)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.said(f"{hook} of a conftest.py or a plugin raised {type(error).__name__}: {error}")
