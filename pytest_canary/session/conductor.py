"""The hooks of a session with rollouts: order, run once, skip, cut, settle.  It decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_canary import report
from pytest_canary.errors import Exit
from pytest_canary.outcome import End
from pytest_canary.plan import Plan
from pytest_canary.session import simulated
from pytest_canary.session.collection import (
    Phase,
    declared_name,
    is_our_fixture,
    marked_names,
    narrowed_by,
    phase_of,
    stage_of,
)
from pytest_canary.session.console import Console
from pytest_canary.session.junit import OWN, report_item
from pytest_canary.session.live import GOOD, Live
from pytest_canary.session.roster import Roster
from pytest_canary.verdict import Step

ENDED = {2: "the session was interrupted", 3: "internal error in pytest or a plugin"}


class Conductor:
    """Registered when the first rollout.yaml is met, and so outermost of all plugins."""

    def __init__(self, config: pytest.Config, folder_of: Callable[[Path], Path | None]) -> None:
        self.config, self._folder_of = config, folder_of
        self.console = Console(config)
        self.roster = Roster(config)
        self.live: Live | None = None
        self._session: pytest.Session | None = None
        self._done: set[str] = set()
        self._current: pytest.Item | None = None
        self._summing_up = False
        config.add_cleanup(self._last_resort)

    def shipping(self) -> Live:
        """The rollout of this session; skips the test that asks when none is shipped."""
        if self.live is None:
            pytest.skip("no --image: nothing is deployed")
        return self.live

    def plan(self) -> Plan:
        """The plan of the rollout in this session; with several, of the one that is shipped."""
        return self.live.plan if self.live else next(iter(self.roster.plans.values()))

    # -- collection --------------------------------------------------------------------------------------------

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """One item per stage for a test that asks for our ``stage``."""
        folder = self._folder_of(metafunc.definition.path.parent)
        if folder is not None and is_our_fixture(metafunc.definition, "stage"):
            home, gate = self.roster.homes[folder], getattr(metafunc.function, "canary_gate", "")
            asked = next((one.gates for one in home.gates if one.name == gate), lambda _: True)
            stages = [stage for stage in home.stages if asked(stage.index)]
            metafunc.parametrize("stage", stages, indirect=True, scope="session", ids=str)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> Generator[None]:
        """Sort by phase and stage, from the order before anybody shuffled."""
        self._session = session
        collected = list(items)
        for item in collected:
            self.roster.take(item, self._folder_of(item.path.parent))
        result = yield
        place = {item: n for n, item in enumerate(collected)}
        items.sort(key=lambda item: (*self.roster.rank(item), place.get(item, 0)))
        if not self.roster.unreadable:
            self._plan(collected)
        return result

    def _plan(self, collected: list[pytest.Item]) -> None:
        home = self.roster.make_plans(collected)
        if home is not None and not self._only_looking():
            plan, scenario = self.roster.plans[home.folder], None
            if self.roster.simulating:
                looking = any(stage_of(item) and not declared_name(item) for item in collected)
                plan, scenario = simulated.scenario_for(self.config, home, plan, everything=looking)
                self.roster.plans[home.folder] = plan
            self.live = Live(self.config, home, plan, self.console, self._should_stop, scenario)
            self.live.narrowed = narrowed_by(self.config, home.folder)

    def _only_looking(self) -> bool:
        return bool(self.config.option.collectonly or getattr(self.config.option, "setupplan", False))

    def _should_stop(self, why: str) -> None:
        if self._session is not None:
            self._session.shouldstop = why

    def pytest_report_collectionfinish(self) -> list[str]:
        """Print the plan."""
        lines = list[str]()
        if self.config.getoption("canary_replay"):
            return lines
        for folder, plan in self.roster.plans.items():
            lines += plan.lines() if plan.image or not self.config.getoption("canary_image") else []
            narrowed = narrowed_by(self.config, folder)
            if plan.image and narrowed:
                lines.append(f"canary narrowed by {narrowed}: gates may be missing, so this run rolls back at the end")
        return lines

    # -- running -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Refuse to start when the order was changed after us; then connect the target."""
        ranks = [self.roster.rank(item) for item in session.items]
        if ranks != sorted(ranks):
            raise pytest.UsageError("another plugin reordered the stages after collection; refusing to start")
        if self.live is not None and not session.testsfailed:
            self.live.prepare()
        try:
            return (yield)
        except KeyboardInterrupt:
            if self.live is not None:
                self.live.on_the_way_out()
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """A test of a rollout runs once: a rerun would hide a failing canary.  Then rolls back if it has to."""
        if self.roster.home_of(item) is None:
            return None
        self._current = item
        runner: Any = self.config.pluginmanager.get_plugin("runner")
        with self.console.ours(self.live is not None):
            runner.pytest_runtest_protocol(item=item, nextitem=nextitem)
        self._current = None
        self._done.add(item.nodeid)
        if nextitem is None or _group(nextitem) != _group(item):
            self.console.tests(f"tests[{_group(item)}]")
        if self.live is not None and self.live.stopped:
            self.live.settle(may_promote=False)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip what cannot be reached any more, before any of its fixtures is set up."""
        home, stage = self.roster.home_of(item), stage_of(item)
        if home is None or phase_of(item) is Phase.PREFLIGHT:
            return
        live = self.shipping()
        if live.home is not home:
            pytest.skip("another service: --image belongs to a different rollout")
        held = live.holds.ended(stage) if stage else None
        if held is not None and held.step is Step.STOP and (declared_name(item) or self._convicted(item)):
            return
        if live.stopped:
            pytest.skip(f"not reached: {live.stopped_short}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Item) -> None:
        """A test that declares a gate fails by what the gate has found, before its body is asked anything."""
        stage = stage_of(pyfuncitem)
        if stage is not None:
            for gate in self._convicted(pyfuncitem):
                self.shipping().holds.report(stage, gate)

    def _convicted(self, item: pytest.Item) -> list[str]:
        """Gates that ``item`` declares, and that have stopped its stage."""
        stage, names = stage_of(item), marked_names(item)
        if not names or stage is None or self.live is None or self.roster.home_of(item) is not self.live.home:
            return []
        return [name for name in names if name in self.live.holds.convicted(stage)]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the book of passes; a failure cuts traffic now, before a debugger opens."""
        result = yield
        live = self.live
        if live is None:
            return result
        ours = self.roster.home_of(item) is not None
        if ours and item.get_closest_marker("advisory") is not None:
            _advise(item, result)
        if result.failed:
            live.failed_tests += ours and phase_of(item) > Phase.PREFLIGHT
            live.stop(f"{item.nodeid} failed{_reason(result)}", f"{item.name} failed")
        elif result.when == "call" and result.passed and not hasattr(result, "wasxfail"):
            live.passed.add(self.roster.key(item))
        if call.excinfo is not None and isinstance(call.excinfo.value, KeyboardInterrupt | SystemExit):
            live.stop(f"{item.nodeid} was interrupted", interrupted=True)
        if ours:
            self.console.ran(item.name, result)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> Generator[None, Any, Any]:
        """Our steps are counted and stand in JUnit; the console has shown them already, and short results too."""
        status = yield
        if OWN in getattr(report, "keywords", ()):
            if report.when != "call" and self.config.getoption("canary_replay"):
                return "", "", ""  # one row for each recording, however many phases tell of it
            return report.outcome, "", report.outcome.upper() if self._summing_up else ""
        if self.console.owns_line and status:
            return status[0], "", *status[2:]
        return status

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """Holds have deadlines of their own; another plugin's would end the process without a rollback."""
        return True if self.roster.home_of(item) is not None else None

    # -- the end -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None]:
        """Promote or roll back, before anybody writes a report; never raises."""
        if self.live is not None:
            good = exitstatus == pytest.ExitCode.OK and not session.testsfailed
            if not good:
                ended = ENDED.get(int(exitstatus), f"the session ended with exit status {int(exitstatus)}")
                if session.testsfailed:
                    self.live.stop("the session has failures")
                else:
                    self.live.stop(ended, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
            self._name_the_interrupted(self.live)
            outcome = self.live.settle(may_promote=good)
            end = outcome.end if outcome else None
            if end is End.NOT_RESTORED:
                session.exitstatus = Exit.NOT_RESTORED
            elif end not in GOOD and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = Exit.INTERRUPTED if self.live.signalled else Exit.ROLLED_BACK
        elif self.roster.unreadable and exitstatus == pytest.ExitCode.INTERRUPTED:
            session.exitstatus = Exit.USAGE
        return (yield)

    def _name_the_interrupted(self, live: Live) -> None:
        """An interrupted test has no report of its own; without one CI sees a row with no name."""
        if self._current is not None and live.stopped:
            report_item(self.config, self._current, "failed", f"interrupted: {live.stopped}")
            self._done.add(self._current.nodeid)
        if live.outcome is None and live.stopped and self._done and self._session:
            for item in self._session.items:
                if self.roster.home_of(item) and item.nodeid not in self._done:
                    report_item(self.config, item, "skipped", f"Skipped: not reached: {live.stopped_short}")

    def pytest_terminal_summary(self) -> None:
        """Show the report, and where its files are."""
        self._summing_up = True  # pytest's list of what failed comes after this, and asks once more
        live = self.live
        if live is None:
            shipless = self.roster.simulating or self.config.getoption("canary_replay")
            if self.roster.plans and not self._only_looking() and not shipless:
                self.console.said("nothing was deployed: add --image=... to ship a build")
        elif live.outcome is None:
            self.console.said(f"nothing was deployed: {live.stopped or 'no test asked for the canary'}")
        else:
            good = live.outcome.end in GOOD
            text = report.text(live.outcome, live.files)
            self.console.section(f"rollout {live.outcome.service}", text, green=good, red=not good)

    def _last_resort(self) -> None:
        if self.live is not None and self.live.outcome is None:
            self.live.stop("another plugin broke the end of the session")
            self.live.settle(may_promote=False)

    def met(self, folder: Path, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """A file below a rollout's folder is collected."""
        return self.roster.met(folder, file_path, parent)


def _advise(item: pytest.Item, result: pytest.TestReport) -> None:
    if result.failed:
        text = str(result.longrepr).strip().splitlines()
        result.outcome = "skipped"
        result.wasxfail = f"advisory: {text[-1] if text else item.name}"


def _group(item: pytest.Item) -> str:
    return str(stage_of(item) or phase_of(item).name.lower())


def _reason(result: pytest.TestReport) -> str:
    """The first line of the error, as pytest's own summary shows it."""
    crash = getattr(result.longrepr, "reprcrash", None)
    first = str(crash.message if crash else result.longrepr or "").strip().partition("\n")[0]
    return f": {first}" if first else ""
