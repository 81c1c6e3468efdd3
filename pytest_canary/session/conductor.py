"""The hooks of a session with rollouts: order, run once, skip, cut, settle.  It decides nothing."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_canary import report
from pytest_canary.errors import Exit, PlanError, SpecError
from pytest_canary.outcome import End
from pytest_canary.plan import Plan, belongs, make_plan
from pytest_canary.plugin import folder_of
from pytest_canary.ports import Role
from pytest_canary.rollout import Rollout, State
from pytest_canary.session import fixtures
from pytest_canary.session.collection import (
    Home,
    Phase,
    RolloutFile,
    declared_name,
    is_our_fixture,
    narrowed_by,
    phase_of,
    stage_of,
)
from pytest_canary.session.console import Console
from pytest_canary.session.junit import OWN
from pytest_canary.session.live import Live
from pytest_canary.session.views import BaselineView, CanaryView, Side, StageView
from pytest_canary.steps.warm import Warmed
from pytest_canary.verdict import Step, Verdict


class Conductor:
    """Registered when the first rollout.yaml is met, and so outermost of all plugins."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.console = Console(config)
        self.homes: dict[Path, Home] = {}
        self.run: Live | None = None
        self.plans: dict[Path, Plan] = {}
        self._session: pytest.Session | None = None
        self._ours: dict[str, Home] = {}
        self._done: set[str] = set()
        self._current: pytest.Item | None = None
        config.add_cleanup(self._last_resort)

    @property
    def live(self) -> Rollout:
        """The state machine of the rollout that runs."""
        return self._run().rollout

    def _run(self) -> Live:
        if self.run is None:
            pytest.skip("no --image: nothing is deployed")
        return self.run

    # -- collection --------------------------------------------------------------------------------------------

    def met(self, folder: Path, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Read the rollout of ``folder`` once, lend its folder our fixtures, and collect the file itself."""
        home = self.homes.get(folder)
        if home is None:
            home = self.homes[folder] = Home.read(folder, self.config)
        if not home.fixtures:
            node: Any = parent
            while node.parent is not None and node.path != folder:
                node = node.parent
            fixtures.register(node)
            home.fixtures = True
        if file_path != folder / "rollout.yaml":
            return None
        collector: RolloutFile = RolloutFile.from_parent(parent, path=file_path)
        collector.home = home
        return collector

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """One item per stage for a test that asks for our ``stage``."""
        folder = folder_of(self.config, metafunc.definition.path.parent)
        if folder is not None and is_our_fixture(metafunc.definition, "stage"):
            metafunc.parametrize("stage", self.homes[folder].stages, indirect=True, scope="session", ids=str)

    def _rank(self, item: pytest.Item) -> tuple[int, int, int]:
        home = self._ours.get(item.nodeid)
        if home is None:
            return (Phase.ELSEWHERE, 0, 0)
        stage = stage_of(item)
        return (phase_of(item), stage.index if stage else 0, 0 if declared_name(item) else 1)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> Generator[None]:
        """Sort by phase and stage, from the order before anybody shuffled."""
        self._session = session
        collected = list(items)
        for item in collected:
            folder = folder_of(self.config, item.path.parent)
            if folder is not None and folder in self.homes:
                self._ours[item.nodeid] = self.homes[folder]
        result = yield
        home = {item: n for n, item in enumerate(collected)}
        items.sort(key=lambda item: (*self._rank(item), home.get(item, 0)))
        self._plan(collected)
        return result

    def _plan(self, collected: list[pytest.Item]) -> None:
        if any(home.error for home in self.homes.values()):
            return
        image = self.config.getoption("canary_image")
        active = self._active(image)
        for folder, home in self.homes.items():
            assert home.spec is not None
            mine = [item for item in collected if self._ours.get(item.nodeid) is home and stage_of(item)]
            tests = [item for item in mine if not declared_name(item)]
            try:
                self.plans[folder] = plan = make_plan(
                    home.spec,
                    rollout=home.node,
                    image=image if home is active else None,
                    marked=[
                        (mark.args, mark.kwargs, item.nodeid) for item in tests for mark in item.iter_markers("gate")
                    ],
                    required_tests=[item.nodeid for item in tests if item.get_closest_marker("advisory") is None],
                )
            except (PlanError, SpecError) as error:
                raise pytest.UsageError(str(error)) from error
            if home is active and image and not self._only_looking():
                self.run = Live(self.config, home, plan, self.console, self._should_stop)
                self.run.narrowed = narrowed_by(self.config, folder)

    def _only_looking(self) -> bool:
        return bool(self.config.option.collectonly or getattr(self.config.option, "setupplan", False))

    def _active(self, image: str | None) -> Home | None:
        if image is None:
            return None
        homes = list(self.homes.values())
        if len(homes) == 1:
            return homes[0]
        fitting = [home for home in homes if home.spec and belongs(image, home.spec.service)]
        if len(fitting) == 1:
            return fitting[0]
        found = "no collected rollout" if not fitting else f"{len(fitting)} collected rollouts"
        commands = "; ".join(f"pytest {home.folder.name}/ --image={image}" for home in (fitting or homes))
        raise pytest.UsageError(f"--image={image} fits {found}; name the folder of the one you mean: {commands}")

    def _should_stop(self, why: str) -> None:
        if self._session is not None:
            self._session.shouldstop = why

    def pytest_report_collectionfinish(self) -> list[str]:
        """Print the plan."""
        lines = []
        for folder, plan in self.plans.items():
            lines += plan.lines() if plan.image or not self.config.getoption("canary_image") else []
            narrowed = narrowed_by(self.config, folder)
            if plan.image and narrowed:
                lines.append(f"canary narrowed by {narrowed}: gates may be missing, so this run rolls back at the end")
        return lines

    # -- running -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Refuse to start when the order was changed after us; then connect the target."""
        ranks = [self._rank(item) for item in session.items]
        if ranks != sorted(ranks):
            raise pytest.UsageError("another plugin reordered the stages after collection; refusing to start")
        if self.run is not None and not session.testsfailed:
            self.run.prepare()
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """A test of a rollout runs once: a rerun would hide a failing canary.  Then rolls back if it has to."""
        if item.nodeid not in self._ours:
            return None
        self._current = item
        runner: Any = self.config.pluginmanager.get_plugin("runner")
        runner.pytest_runtest_protocol(item=item, nextitem=nextitem)
        self._current = None
        self._done.add(item.nodeid)
        if self.run is not None and self.run.stopped:
            self.run.settle(may_promote=False)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip what cannot be reached any more, before any of its fixtures is set up."""
        home = self._ours.get(item.nodeid)
        if home is None or phase_of(item) is Phase.PREFLIGHT:
            return
        if self.config.getoption("canary_image") is None:
            pytest.skip("no --image: nothing is deployed")
        if self.run is None or self.run.home is not home:
            pytest.skip("another service: --image belongs to a different rollout")
        stage = stage_of(item)
        held = self.run.decision(stage) if stage else None
        if held is not None and held.step is Step.STOP and declared_name(item):
            return
        if self.run.stopped:
            pytest.skip(f"not reached: {self.run.stopped}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the book of passes; a failure cuts traffic now, before a debugger opens."""
        result = yield
        if self.run is None:
            return result
        if item.get_closest_marker("advisory") is not None and item.nodeid in self._ours:
            self._advise(item, result)
        if result.failed:
            self.run.stop(f"{item.nodeid} failed")
        elif result.when == "call" and result.passed and not hasattr(result, "wasxfail"):
            self.run.passed.add(item.nodeid)
        if call.excinfo is not None and isinstance(call.excinfo.value, KeyboardInterrupt | SystemExit):
            self.run.stop(f"{item.nodeid} was interrupted")
        return result

    def _advise(self, item: pytest.Item, result: pytest.TestReport) -> None:
        if result.failed:
            text = str(result.longrepr).strip().splitlines()
            result.outcome = "skipped"
            result.wasxfail = f"advisory: {text[-1] if text else item.name}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Our steps are counted and stand in JUnit; the console has shown them already."""
        return (report.outcome, "", "") if OWN in getattr(report, "keywords", ()) else None

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """Holds have deadlines of their own; another plugin's would end the process without a rollback."""
        return True if item.nodeid in self._ours else None

    # -- the end -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None]:
        """Promote or roll back, before anybody writes a report; never raises."""
        run = self.run
        if run is not None:
            good = exitstatus == pytest.ExitCode.OK and not session.testsfailed
            if not good:
                run.stop(self._why(session, exitstatus))
            self._name_the_interrupted(run)
            outcome = run.settle(may_promote=good)
            end = outcome.end if outcome else None
            if end is End.NOT_RESTORED:
                session.exitstatus = Exit.NOT_RESTORED
            elif end not in (End.PROMOTED, End.UNCHANGED) and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = Exit.ROLLED_BACK
        elif any(home.error for home in self.homes.values()) and exitstatus == pytest.ExitCode.INTERRUPTED:
            session.exitstatus = Exit.USAGE
        return (yield)

    def _why(self, session: pytest.Session, exitstatus: int) -> str:
        if session.testsfailed:
            return "the session has failures"
        names = {2: "the session was interrupted", 3: "internal error in pytest or a plugin"}
        return names.get(int(exitstatus), f"the session ended with exit status {int(exitstatus)}")

    def _name_the_interrupted(self, run: Live) -> None:
        """An interrupted test has no report of its own; without one CI sees a row with no name."""
        items = self._session.items if self._session else []
        if self._current is not None and run.stopped:
            self._report(self._current, "failed", f"interrupted: {run.stopped}")
            self._done.add(self._current.nodeid)
        if run.outcome is None and run.stopped and self._done:
            for item in items:
                if item.nodeid in self._ours and item.nodeid not in self._done:
                    self._report(item, "skipped", f"Skipped: not reached: {run.stopped}")

    def _report(self, item: pytest.Item, outcome: Any, text: str) -> None:
        longrepr: Any = (str(item.path), 0, text) if outcome == "skipped" else text
        path, line, name = item.location
        phases = ("call",) if self._current is item else ("setup", "teardown")
        for when in phases:
            shown = when != "teardown"
            self.config.hook.pytest_runtest_logreport(
                report=pytest.TestReport(
                    nodeid=item.nodeid,
                    location=(path, line, name),
                    keywords={OWN: 1},
                    outcome=outcome if shown else "passed",
                    longrepr=longrepr if shown else None,
                    when=when,  # type: ignore[arg-type]
                    duration=0,
                )
            )

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show the report, and where its files are."""
        del terminalreporter
        run = self.run
        if run is None:
            if self.plans and not self._only_looking():
                self.console.line("canary nothing was deployed: add --image=... to ship a build")
            return
        if run.outcome is None:
            self.console.line(f"canary nothing was deployed: {run.stopped or 'no test asked for the canary'}")
            return
        good = run.outcome.end in (End.PROMOTED, End.UNCHANGED)
        text = report.text(run.outcome, run.files)
        self.console.section(f"rollout {run.outcome.service}", text, green=good, red=not good)

    def _last_resort(self) -> None:
        if self.run is not None and self.run.outcome is None:
            self.run.stop("another plugin broke the end of the session")
            self.run.settle(may_promote=False)

    # -- what the fixtures hand out ----------------------------------------------------------------------------

    def plan_of(self, node: Any) -> Plan:
        """The plan of the rollout in this session; with several, of the one that is shipped."""
        del node
        return self.run.plan if self.run else next(iter(self.plans.values()))

    def canary(self) -> CanaryView:
        """Bring up the canary at zero traffic."""
        rollout = self._run().reach(State.SMOKED)
        return CanaryView(self, rollout.canary)

    def warmup(self) -> Warmed:
        """Bring up the canary and warm it."""
        warmed = self._run().reach(State.WARM).warmed
        assert warmed is not None
        return warmed

    def baseline(self) -> BaselineView:
        """Bring up the canary, warm it, and know what is normal."""
        captured = self._run().reach(State.BASELINED).captured
        assert captured is not None
        return BaselineView(captured)

    def enter(self, stage: Any) -> StageView:
        """Give the canary the share of ``stage`` and hold."""
        self._run().enter(stage)
        return StageView(self, stage)

    def report(self, stage: Any, gate: str) -> None:
        """Pass, fail or skip a declared gate with what the hold found."""
        run = self._run()
        verdict, held = run.verdict(stage, gate), run.decision(stage)
        if verdict is None or held is None:
            pytest.skip(f"{gate} is not asked at stage {stage}")
        if verdict.alert and verdict.status != "pass":
            pytest.xfail(f"alert: {verdict.sentence}")
        if verdict.status == "fail" or (
            held.step is Step.STOP and not self._convicted(stage) and verdict.status != "pass"
        ):
            pytest.fail(verdict.sentence, pytrace=False)
        if held.step is Step.STOP:
            pytest.skip(f"the hold of {stage} ended early: {held.why}")
        print(verdict.sentence)  # noqa: T201 - captured: stands in the JUnit's system-out

    def _convicted(self, stage: Any) -> list[Verdict]:
        return [v for v in self._run().rollout.traffic.verdicts if v.stage == stage.index and v.status == "fail"]

    def side(self, role: Role) -> Side:
        """What ``role`` has counted at this stage."""
        return Side(role, self._run().counted(role))

    def check(self, stage: Any, metric: str, limits: Any) -> Verdict:
        """Apply the statistics from inside a test."""
        return self._run().check(stage, metric, limits)

    def wait(self, seconds: float) -> None:
        """Let time pass under watch."""
        self._run().wait(seconds)
