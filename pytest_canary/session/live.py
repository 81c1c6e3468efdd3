"""The one rollout of a session: brings it to the phase a test asks for, and settles it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_canary import report, world
from pytest_canary.errors import Busy, CanaryError, LedgerError, NotStarted, UsageError
from pytest_canary.gates import Action
from pytest_canary.outcome import End, Outcome, Row
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Fact, Role, Sample, Shared
from pytest_canary.recording import Recording
from pytest_canary.report import history
from pytest_canary.rollout import Rollout, State
from pytest_canary.session.collection import Home
from pytest_canary.session.console import Console
from pytest_canary.session.junit import report_row
from pytest_canary.session.signals import Signals
from pytest_canary.session.watcher import Watcher
from pytest_canary.spec import gate_from
from pytest_canary.verdict import Decision, Judge, Step, Verdict, check_alpha, settled, share_alpha, withheld


class Live:
    """A rollout that may start, is running, or is over.  Listens to it, too."""

    def __init__(self, config: pytest.Config, home: Home, plan: Plan, console: Console, shouldstop: Any) -> None:
        self.config, self.home, self.plan, self.console = config, home, plan, console
        self.stopped = ""
        self.narrowed = ""
        self.passed: set[str] = set()
        self.outcome: Outcome | None = None
        self.files: dict[str, str] = {}
        self._tell_session = shouldstop
        self._decisions: dict[int, Decision] = {}
        self._checks: dict[str, str] = {}
        self._hold_began = 0.0
        self._signals = Signals(self._on_signal)
        self._rollout: Rollout | None = None
        self._watcher: Watcher | None = None
        self._ledger: Any = None
        spec = home.spec
        assert spec is not None
        self._spec = spec
        self.state = world.state_folder(config.rootpath, config.getoption("canary_state"), spec)

    # -- before the first test ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Connect the target and take the lock; nothing is started.

        Raises:
            pytest.UsageError: something is missing, another run holds this rollout, or a file cannot be written.

        """
        try:
            self._check_outputs()
            clock = world.clock_of(self._spec)
            self._ledger = world.ledger_of(self.state)
            run = f"{int(clock.wall())}-{os.getpid()}" if clock.virtual else _run_name(clock.wall())
            shared = Shared(self._spec.service, clock, self.state, self.home.folder, run, note=self._note)
            connected = world.connect(self._spec, shared, self._ask_conftest)
            self._ledger.acquire(run)
            with suppress(FileNotFoundError):
                self._abort_file.unlink()
            recording = Recording(self.state / "recordings" / f"{run}.jsonl")
            recording.begin(self.plan)
        except (UsageError, CanaryError, Busy, LedgerError) as error:
            self._let_go()
            raise pytest.UsageError(str(error)) from error
        except OSError as error:
            self._let_go()
            raise pytest.UsageError(
                f"{error.filename}: {error.strerror}; choose another folder with --canary-state"
            ) from error
        judge = Judge(share_alpha(self.plan.gates), len(self.plan.stages))
        self._rollout = Rollout(self.plan, connected, self._ledger, recording, judge, self, run)
        self._watcher = Watcher(self._rollout, lambda: self.stopped, self._abort_file)
        self._signals.install()

    @property
    def _abort_file(self) -> Path:
        return self.state / "abort"

    def _check_outputs(self) -> None:
        for option in ("xmlpath", "canary_report"):
            name = getattr(self.config.option, option, None)
            if not name:
                continue
            if option == "canary_report":
                report.check_suffix(Path(name))
            folder = Path(name).absolute().parent
            existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
            if not existing.is_dir() or not os.access(existing, os.W_OK):
                raise UsageError(f"{name} cannot be written: {existing} is not a folder we may write to")

    def _note(self, kind: str, **data: Any) -> None:
        clock = self._rollout.world.clock if self._rollout else None
        self._ledger.append(Fact(kind, clock.wall() if clock else 0.0, data))

    def _ask_conftest(self, kind: str, name: str, options: Mapping[str, Any], shared: Shared) -> Any:
        hook = getattr(self.config.hook, f"pytest_canary_{kind}", None)
        return hook(name=name, options=options, shared=shared) if hook else None

    def _on_signal(self, name: str) -> None:
        self.stopped = self.stopped or name
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
        self.rollout.open(again=self.config.getoption("canary_again"))
        canary = self.rollout.canary
        earlier = history.rejected(self.state, canary.pin)
        if earlier is None:
            return
        line = f"{canary} was rolled back before, on {earlier.when}: {earlier.why} (report: {earlier.report})"
        if self.plan.refuse_rejected:
            raise NotStarted(f"{line}; build another image, or write `refuse_rejected: false`")
        self.said(line)

    def enter(self, stage: Stage) -> None:
        """Give the canary the share of ``stage`` and hold, unless an earlier test has already done so."""
        if stage.index in self._decisions:
            return
        rollout = self.reach(State.BASELINED)
        if self._watcher and stage.index == 0 and not rollout.world.clock.virtual:
            self._watcher.start()
        began = rollout.world.clock.now()
        try:
            decision = rollout.ramp(stage)
        except CanaryError as error:
            self.stop(str(error))
            pytest.skip(f"not reached: {error}")
        self._hold_began = began
        self._decisions[stage.index] = decision
        convicted = any(v.status == "fail" and v.stage == stage.index for v in rollout.traffic.verdicts)
        good = decision.step is Step.ADVANCE
        if good or not convicted:
            rollout.book.row(Row(f"hold[{stage}]", good, decision.why, rollout.world.clock.now() - began))
        if not good:
            self.stop(decision.why)

    def verdict(self, stage: Stage, gate: str) -> Verdict | None:
        """What the hold of ``stage`` found for ``gate``."""
        found = [v for v in self.rollout.traffic.verdicts if v.stage == stage.index and v.gate == gate]
        return found[-1] if found else None

    def decision(self, stage: Stage) -> Decision | None:
        """How the hold of ``stage`` ended; None when it has not been held."""
        return self._decisions.get(stage.index)

    def counted(self, role: Role) -> Sample | None:
        """What ``role`` has counted since this stage began."""
        return self.rollout.traffic.counted(role)

    def check(self, stage: Stage, metric: str, limits: Mapping[str, Any]) -> Verdict:
        """Declare a gate from inside a test and wait for its verdict, at most until the stage's deadline."""
        rollout = self.rollout
        key = f"{metric} {sorted(limits.items())}"
        if key not in self._checks:
            gate = gate_from(metric, limits, "stage.check")
            name, alpha = f"{metric} (check {len(self._checks) + 1})", check_alpha(len(self._checks) + 1)
            rollout.judge.add(replace(gate, name=name, alpha=alpha))
            self._checks[key] = name
        while True:
            verdict = rollout.traffic.verdict_of(self._checks[key])
            elapsed = rollout.world.clock.now() - self._hold_began
            decision = rollout.traffic.decide_on([verdict], stage, elapsed)
            if decision.step is not Step.WAIT or rollout.traffic.cut_made:
                return settled([verdict], decision)[0]
            self.tick(f"{stage} | stage.check({metric!r}) | {decision.why}")
            self._pause()

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass under watch."""
        clock = self.rollout.world.clock
        end = clock.now() + seconds
        while (left := end - clock.now()) > 0:
            if self.rollout.traffic.cut_made:
                pytest.fail(f"cut while waiting: {self.rollout.traffic.cut_made.why}", pytrace=False)
            self.tick(f"{self.rollout.traffic.stage} | waiting, {left:.0f} s left")
            self._pause(left)

    def _pause(self, most: float = float("inf")) -> None:
        clock = self.rollout.world.clock
        clock.sleep(min(self.plan.poll_seconds if clock.virtual else 0.2, most))
        if clock.virtual:
            self.rollout.traffic.look()

    # -- the end -----------------------------------------------------------------------------------------------

    def stop(self, why: str) -> None:
        """Go no further; the canary loses its traffic now."""
        self.stopped = self.stopped or why
        if self._rollout is not None:
            self._rollout.traffic.cut(why)

    def required(self) -> list[str]:
        """Everything that must have passed before the canary may be promoted."""
        gates = [
            f"{self.home.node}::{gate.name}[{stage}]"
            for stage in self.plan.stages
            for gate in self.home.gates
            if gate.action is Action.ROLLBACK
        ]
        return [*gates, *self.plan.required_tests]

    def settle(self, *, may_promote: bool) -> Outcome | None:
        """End the rollout: promote when everything has passed and ``may_promote``, else roll back.  Never raises."""
        if self._rollout is None or self.outcome is not None:
            return self.outcome
        rollout = self._rollout
        with self._signals.held():
            reason = withheld(self.required(), self.passed, stopped=self.stopped, narrowed=self.narrowed)
            if self.unchanged:
                outcome = rollout.unchanged()
            elif may_promote and not reason and self._bake(rollout):
                self._stop_watching()
                outcome = rollout.promote("every required gate passed at every stage")
            elif rollout.state is State.IDLE:
                self._finish()
                return None
            else:
                rollout.traffic.cut(self.stopped or reason or "the session had failures")
                self._stop_watching()
                outcome = rollout.roll_back(self.stopped or reason or "the session had failures")
            self.outcome = outcome
            self._leave(outcome)
            self._finish()
        return outcome

    def _bake(self, rollout: Rollout) -> bool:
        """Watch for a while before the old build goes; whatever fails then rolls back."""
        clock, seconds = rollout.world.clock, self.plan.bake_seconds
        end = clock.now() + seconds
        while (left := end - clock.now()) > 0 and not rollout.traffic.cut_made and not self._signals.received:
            self.tick(f"bake: {left:.0f} s left")
            self._pause(left)
        self.stopped = self.stopped or (self._signals.received or [""])[0]
        good = rollout.traffic.cut_made is None and not self.stopped
        if seconds > 0:
            text = (
                f"{seconds:g} s watched"
                if good
                else rollout.traffic.cut_made.why
                if rollout.traffic.cut_made
                else self.stopped
            )
            rollout.book.row(Row("bake", good, text, seconds))
        return good

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()

    def _leave(self, outcome: Outcome) -> None:
        """Write what a finished rollout leaves; a full disk costs the files, not the outcome."""
        with suppress(Exception):
            reports = self.state / "reports"
            reports.mkdir(parents=True, exist_ok=True)
            for suffix in (".md", ".json"):
                report.write(outcome, reports / f"{outcome.run}{suffix}")
            self.files["report"] = str(reports / f"{outcome.run}.md")
            history.remember(self.state, outcome, self.files["report"])
        if wanted := self.config.getoption("canary_report"):
            try:
                report.write(outcome, Path(wanted))
                self.files["report"] = wanted
            except OSError as error:
                self.said(f"the report cannot be written to {wanted}: {error.strerror}")
        self.files["metrics"] = outcome.recording
        if junit := getattr(self.config.option, "xmlpath", None):
            with suppress(OSError):
                beside = Path(junit).with_suffix(".metrics.jsonl")
                beside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(outcome.recording, beside)
                self.files["metrics"] = str(beside)
        kind = outcome.end in (End.PROMOTED, End.UNCHANGED)
        if not kind:
            self._report(Row("promote", False, f"not promoted: {outcome.why}", 0.0), skipped=True)
        with suppress(Exception):
            self.config.hook.pytest_canary_outcome(outcome=outcome)

    def _finish(self) -> None:
        self._signals.restore()
        self._let_go()

    def _let_go(self) -> None:
        with suppress(Exception):
            self._abort_file.unlink()
        if self._ledger is not None:
            with suppress(Exception):
                self._ledger.release()

    # -- Listener ----------------------------------------------------------------------------------------------

    def tick(self, text: str) -> None:
        self.console.tick(f"canary {text}")

    def said(self, text: str) -> None:
        self.console.line(f"canary {text}")

    def row(self, row: Row) -> None:
        mark = "ok" if row.passed else "FAILED"
        self.console.line(f"canary {row.name}: {mark}, {row.text} ({row.seconds:.1f} s)", red=not row.passed)
        self._report(row)
        with suppress(Exception):
            self.config.hook.pytest_canary_row(row=row)

    def _report(self, row: Row, *, skipped: bool = False) -> None:
        report_row(self.config, self.home.node, row, skipped=skipped)


def _run_name(wall: float) -> str:
    import time

    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(wall))}-{os.getpid()}"
