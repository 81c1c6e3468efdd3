"""What is done by hand: status, recover, down, abort, revert."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_canary import world as worlds
from pytest_canary.adapters.ledger import FileLedger
from pytest_canary.adapters.memory import MemoryPlatform
from pytest_canary.command import main
from pytest_canary.command.root import root_of
from pytest_canary.outcome import End, Outcome
from pytest_canary.ports import Change, Fact, Readiness, Revision, Role, Shared
from pytest_canary.report import history
from pytest_canary.spec import load
from pytest_canary.steps.deploy import deploy, open_world
from pytest_canary.steps.promote import hand_over, retire
from tests.promises.test_5_whatever_ends_the_session import GATE, QUICK, finish, start

ROLLOUT = """
service: SERVICE
stages: [25, 100]
runbook: docs/runbook.md
drain_timeout: 5s
ready_timeout: 5s
gates: {error_rate: {ratio: 1.5}}
targets:
  memory:
    clock: {virtual: {}}
    platform: {PLATFORM}
    router: {ROUTER}
    metrics: {memory: {}}
    probe: {memory: {}}
"""


def ignored(text: str) -> None:
    """Nobody listens."""


@dataclass
class Site:
    """A rollout in the memory world, and runs that left it in some state."""

    root: Path
    service: str = "gateway"

    @property
    def folder(self) -> Path:
        """The folder of the rollout.yaml."""
        return self.root / "rollouts" / self.service

    @property
    def state(self) -> Path:
        """Where its ledger is."""
        return self.root / ".pytest_canary" / self.service / "memory"

    def write(self, platform: str = "", router: str = "") -> Site:
        """Write the rollout.yaml with further options of the memory adapters."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = f"memory: {{store: world.json, log: world.log{platform and ', ' + platform}}}"
        text = ROLLOUT.replace("SERVICE", self.service).replace("{PLATFORM}", f"{{{options}}}")
        (self.folder / "rollout.yaml").write_text(text.replace("{ROUTER}", f"{{memory: {{{router}}}}}"))
        return self

    def begun(self, image: str = "gateway:v2", *, keep: bool = False, run: str = "run-1") -> Run:
        """A run that has given its canary a quarter of the traffic."""
        spec = load(self.folder / "rollout.yaml")
        clock, ledger = worlds.clock_of(spec), FileLedger(self.state)
        ledger.acquire(run)

        def note(kind: str, **data: object) -> None:
            ledger.append(Fact(kind, clock.wall(), data))

        shared = Shared(self.service, clock, self.state, self.folder, run, note)
        world = worlds.connect(spec, shared)
        for adapter in world.adapters:
            adapter.recover(ledger.read())
        note("run", run=run, image=image, target="memory", keep=keep)
        stable = open_world(world)
        canary = world.platform.resolve(image, Change())
        note("deploy", canary=canary.to_data(), stable=stable.to_data())
        deploy(world, Role.CANARY, canary, 5, ignored)
        note("weights", baseline=0.75, canary=0.25)
        world.router.set_weights({Role.BASELINE: 0.75, Role.CANARY: 0.25})
        return Run(self, run, world, ledger, note, stable, canary)

    def kept(self, *images: str) -> Site:
        """A world that serves the last of ``images``, each promoted in turn."""
        for number, image in enumerate(images):
            self.begun(image, keep=True, run=f"run-{number}").promote()
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Shares that a newly connected router reports."""
        return {str(role): share for role, share in self._connected().router.weights().items() if share}

    @property
    def stable(self) -> Revision:
        """The build that a newly connected platform calls stable."""
        return self._connected().platform.stable()

    def runs(self, image: str) -> bool:
        """Whether the world runs a build of ``image``."""
        store = self.folder / "world.json"
        return store.exists() and image in store.read_text()

    def _connected(self) -> object:
        spec = load(self.folder / "rollout.yaml")
        shared = Shared(self.service, worlds.clock_of(spec), self.state, self.folder)
        world = worlds.connect(spec, shared)
        for adapter in world.adapters:
            adapter.recover(FileLedger(self.state).read())
        return world

    @property
    def acts(self) -> list[str]:
        """What the world was asked to do."""
        log = self.folder / "world.log"
        return log.read_text().splitlines() if log.exists() else []


@dataclass
class Run:
    """A run in the middle."""

    site: Site
    run: str
    world: object
    ledger: object
    note: object
    stable: Revision
    canary: Revision

    def kill(self) -> None:
        """Like ``kill -9``: the kernel lets go of the lock, nothing else happens."""
        self.ledger.release()

    def promote(self) -> None:
        """End well, in a world that goes on serving."""
        self.note("weights", canary=1.0)
        stable = hand_over(self.world, self.canary)
        self.note("stable", **stable.to_data())
        retire(self.world, self.stable, stable, 5, ignored)
        self.end(End.PROMOTED, "every required gate passed")

    def end(self, end: End, why: str) -> None:
        """Settle, remember, let go."""
        self.note("settled", run=self.run, end=end, why=why)
        promoted = end is End.PROMOTED
        outcome = Outcome(
            run=self.run, service=self.site.service, target="memory", image=self.canary.image, end=end, why=why,
            began_at=0.0, ended_at=1.0, stable=self.canary if promoted else self.stable, canary=self.canary,
            previous=self.stable if promoted else None,
        )  # fmt: skip
        history.remember(self.site.state, outcome, "reports/r.md")
        self.ledger.release()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A project with one rollout; the commands are typed in its root."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    return Site(tmp_path).write()


@pytest.fixture
def typed(capsys):
    """Type a command: its exit code, and everything it said."""

    def run(*words: str) -> tuple[int, str]:
        code = main(list(words))
        out = capsys.readouterr()
        return code, out.out + out.err

    return run


# -- recover ---------------------------------------------------------------------------------------------------------


def test_recover_gives_the_stable_build_all_traffic_and_removes_the_canary(site, typed):
    """Nothing runs after kill -9; the ledger knows what was going on."""
    site.begun(keep=True).kill()
    assert site.weights == {"baseline": 0.75, "canary": 0.25}
    code, said = typed("recover")

    assert code == 0
    assert "run run-1 had not ended: 100 % on gateway:v1" in said
    assert site.weights == {"baseline": 1.0}
    assert not site.runs("gateway:v2")


def test_recover_moves_the_weight_before_it_removes_anything(site, typed):
    """Whoever removes first drops every request in flight."""
    site.begun().kill()
    before = len(site.acts)
    typed("recover")
    acts = [act.split()[0] for act in site.acts[before:]]

    assert acts.index("weights") < acts.index("remove")


def test_recover_may_be_repeated(site, typed):
    """A job in CI always ends with it."""
    site.begun(keep=True).kill()
    typed("recover")
    acts = site.acts
    code, said = typed("recover")

    assert code == 0
    assert "nothing to recover" in said
    assert [act for act in site.acts[len(acts) :] if act.startswith(("weights", "remove"))] == []


def test_recover_stops_a_world_that_nobody_keeps(site, typed):
    """A rehearsal leaves nothing running."""
    site.begun(keep=False).kill()
    code, _ = typed("recover")

    assert code == 0
    assert not site.runs("gateway:v2")
    assert list(FileLedger(site.state).read()) == []


@pytest.mark.usefixtures("site")
def test_recover_says_so_when_there_was_never_a_run(typed):
    """Nothing to do is no failure."""
    assert typed("recover") == (0, "gateway on memory: nothing to recover\n")


def test_recover_keeps_a_promotion_that_had_passed_the_point_of_no_return(site, typed):
    """After the fact `stable` the new build stays, and the history knows the promotion."""
    run = site.begun(keep=True)
    run.note("weights", canary=1.0)
    run.note("stable", **hand_over(run.world, run.canary).to_data())
    run.kill()
    code, _ = typed("recover")

    assert code == 0
    assert site.stable.pin == run.canary.pin
    assert history.before(site.state, run.canary.pin) == run.stable
    assert site.weights == {"baseline": 1.0}


def test_a_run_that_was_killed_says_nothing_against_its_build(site, typed):
    """It is not refused the next time."""
    run = site.begun(keep=True)
    run.kill()
    typed("recover")

    assert history.rejected(site.state, run.canary.pin) is None
    assert "not promoted" in typed("status")[1]


def test_recover_refuses_while_a_run_is_alive_and_names_it(site, typed):
    """It may be about to put things right itself."""
    run = site.begun()
    code, said = typed("recover")
    run.kill()

    assert code == 4
    assert "run-1" in said
    assert str(os.getpid()) in said
    assert "pytest-canary abort" in said
    assert len(said.splitlines()) == 1


def test_a_recovery_that_fails_says_what_a_human_must_look_at(site, typed):
    """Exit 70, one line: what did not answer, the runbook, and both ways on."""
    site.begun().kill()
    site.write(router="fail: [set_weights]")
    code, said = typed("recover")

    assert code == 70
    assert len(said.splitlines()) == 1
    for part in ("run-1", "weight", "docs/runbook.md", "pytest-canary recover", "pytest-canary down"):
        assert part in said
    site.write()
    assert typed("recover")[0] == 0


@pytest.mark.parametrize("verb", ["recover", "down"])
def test_what_a_dead_run_left_is_put_right_while_nobody_counts(site, typed, verb):
    """Monitoring and the machine of the run may have died of the same thing; users must not stay on the canary."""
    site.begun(keep=True).kill()
    file = site.folder / "rollout.yaml"
    counted = file.read_text()
    file.write_text(counted.replace("metrics: {memory: {}}", "metrics: {prometheus: {url: 'http://127.0.0.1:9'}}"))
    code, said = typed(verb)
    file.write_text(counted)

    assert code == 0, said
    assert "run run-1 had not ended" in said
    assert verb == "down" or site.weights == {"baseline": 1.0}


# -- down ------------------------------------------------------------------------------------------------------------


def test_down_stops_a_kept_world_and_the_next_one_begins_anew(site, typed):
    """What was promoted there is forgotten."""
    site.kept("gateway:v2")
    code, said = typed("down")

    assert code == 0
    assert "stopped gateway:v2" in said
    assert list(FileLedger(site.state).read()) == []
    assert not site.runs("gateway:v2")
    assert typed("down") == (0, "gateway on memory: nothing is serving, there is nothing to stop\n")


def test_down_takes_away_what_cannot_be_recovered(site, typed):
    """It is the last way out when the stable build does not start any more."""
    site.begun(keep=True).kill()
    code, said = typed("down")

    assert code == 0
    assert "run run-1 had not ended" in said
    assert typed("recover") == (0, "gateway on memory: nothing to recover\n")


# -- status ----------------------------------------------------------------------------------------------------------


def test_status_of_a_new_rollout_says_that_nothing_happened_yet(site, typed):
    """It makes nothing either."""
    code, said = typed("status")

    assert code == 0
    assert "nobody holds it" in said
    assert "nothing was rolled out here yet" in said
    assert not site.state.exists()


def test_status_tells_who_runs_and_how_the_traffic_is_shared(site, typed):
    """Without taking the lock: the run goes on."""
    run = site.begun()
    code, said = typed("status")
    run.note("settled", run="run-1", end="rolled back")
    run.kill()

    assert code == 0
    assert re.search(rf"held by .*run-1.*{os.getpid()}", said)
    assert "gateway:v2; baseline 75 %, canary 25 %" in said
    assert "pytest-canary abort rollouts/gateway/rollout.yaml --target memory" in said


def test_status_tells_of_a_run_that_has_not_ended(site, typed):
    """With the command that puts it right."""
    site.begun().kill()
    said = typed("status")[1]

    assert "unfinished: run-1 shipped gateway:v2" in said
    assert "pytest-canary recover rollouts/gateway/rollout.yaml --target memory" in said


def test_status_names_the_guard_in_the_cluster_until_the_run_has_settled(site, typed):
    """Who finds a lost run wants to know whether anybody has moved its traffic."""
    run = site.begun()
    run.note("guard", job="pytest-canary-gateway-guard", namespace="shop")
    alive = typed("status")[1]
    run.kill()
    dead = typed("status")[1]
    typed("recover")

    line = "guard: Job pytest-canary-gateway-guard in the cluster; "
    line += "what it has seen: kubectl -n shop logs job/pytest-canary-gateway-guard"
    assert "running: run-1" in alive
    assert "unfinished: run-1" in dead
    assert line in alive
    assert line in dead
    assert "guard" not in typed("status")[1]


def test_status_tells_what_serves_and_how_the_last_one_ended(site, typed):
    """A world that is kept is easily forgotten."""
    site.kept("gateway:v2")
    said = typed("status")[1]

    assert "serving with gateway:v2" in said
    assert "pytest-canary down" in said
    assert (
        "last: gateway:v2 promoted on 1970-01-01 00:00:01 UTC: every required gate passed (report: reports/r.md)"
        in said
    )


# -- abort -----------------------------------------------------------------------------------------------------------


def test_abort_asks_the_run_and_prints_how_it_ended(site, typed):
    """The reason is there, whole, as soon as the file is."""
    run, found = site.begun(), []

    def live() -> None:
        file = site.state / "abort"
        while not file.exists():
            time.sleep(0.01)
        found.append(file.read_text())
        run.end(End.ROLLED_BACK, "aborted by hand")

    thread = threading.Thread(target=live)
    thread.start()
    code, said = typed("abort", "--reason", "wrong\nbuild")
    thread.join()

    assert code == 0
    assert found == ["aborted by hand (wrong build)\n"]
    assert "gateway:v2 rolled back: aborted by hand (report: reports/r.md)" in said
    assert not (site.state / "abort").exists()


def test_abort_that_comes_too_late_says_how_to_go_back(site, typed):
    """The run was promoted between the wish and the look."""
    run = site.begun(keep=True)
    timer = threading.Timer(0.3, run.promote)
    timer.start()
    code, said = typed("abort")
    timer.join()

    assert code == 1
    assert "too late" in said
    assert "pytest-canary revert gateway rollouts/gateway/rollout.yaml --target memory" in said


def test_abort_does_not_wait_for_ever(site, typed):
    """A run that is stuck is named; the wish stays."""
    run = site.begun()
    code, said = typed("abort", "--wait", "0.3")
    run.kill()

    assert code == 1
    assert "has not ended after 0.3 s" in said
    assert (site.state / "abort").exists()


def test_abort_with_nobody_running_leaves_nothing_for_the_next_run(site, typed):
    """A wish that is forgotten would cut an innocent build."""
    assert typed("abort") == (0, "gateway on memory: nobody runs, there is nothing to abort\n")
    assert not (site.state / "abort").exists()


def test_abort_names_recover_when_the_run_is_dead(site, typed):
    """Its canary may still have traffic, so this is no success."""
    site.begun().kill()
    code, said = typed("abort")

    assert code == 70
    assert "pytest-canary recover rollouts/gateway/rollout.yaml --target memory" in said


def test_abort_cuts_a_live_run_from_another_terminal(project):
    """Real pytest, real watcher: traffic goes at once, the run rolls back and says why."""
    project.write(clock="system", replace=QUICK, test_own=GATE.format(body="stage.wait(60)"))
    process = start(project)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest_canary.command", "abort", "rollouts/gateway", "--reason", "users complain"],
        cwd=project.pytester.path,
        env=dict(os.environ, PYTHONPATH=os.getcwd()),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    run = finish(project, process)

    assert ended.returncode == 0, ended.stderr
    assert "users complain" in ended.stdout
    assert run.exit == 1
    assert run.shifts[-1] == 0.0
    assert run.did("remove v2")
    assert "users complain" in run.messages["rollback"]


# -- revert ----------------------------------------------------------------------------------------------------------


def test_revert_goes_straight_to_the_last_good_build(site, typed):
    """It is started first, since it does not run any more; then weight, then the present one goes."""
    site.kept("gateway:v2", "gateway:v3")
    before = len(site.acts)
    code, said = typed("revert", "gateway", "--reason", "users complain")
    acts = " ".join(site.acts[before:])

    assert code == 0
    assert re.search(r"gateway:v2 \(\w+\) has all the traffic", said)
    assert re.search(r"gateway:v3 \(\w+\) removed", said)
    assert site.stable.image == "gateway:v2"
    assert site.weights == {"baseline": 1.0}
    assert acts.index("deploy") < acts.index("weights") < acts.index("remove")


def test_revert_goes_back_to_the_build_before_the_first_promotion(site, typed):
    """It was never promoted by anybody we know, but it served."""
    site.kept("gateway:v2")
    typed("revert", "gateway")

    assert site.stable.image == "gateway:v1"


def test_a_second_revert_goes_further_back_and_a_third_says_so(site, typed):
    """It never brings back what was taken away."""
    site.kept("gateway:v2", "gateway:v3")
    assert typed("revert", "gateway")[0] == 0
    assert typed("revert", "gateway")[0] == 0
    assert site.stable.image == "gateway:v1"
    code, said = typed("revert", "gateway")

    assert code == 4
    assert "no good build before it" in said
    assert "`pytest rollouts/gateway --image=gateway:GOOD --canary-target=memory`" in said
    assert site.weights == {"baseline": 1.0}


def test_a_reverted_build_is_remembered_with_the_reason(site, typed):
    """Rolling it out again names it."""
    site.kept("gateway:v2")
    bad = site.stable
    typed("revert", "gateway", "--reason", "users complain")

    assert history.rejected(site.state, bad.pin).why == "users complain"
    assert "reverted" in typed("status")[1]


@pytest.mark.usefixtures("site")
def test_revert_needs_a_world_that_serves(typed):
    """A rehearsal that has ended has nothing to take back."""
    code, said = typed("revert", "gateway")

    assert code == 4
    assert "keep: true" in said
    assert len(said.splitlines()) == 1


def test_revert_heals_a_dead_run_first(site, typed):
    """Somebody killed a rollout, and the build under it is bad as well."""
    site.kept("gateway:v2")
    site.begun("gateway:v3", keep=True, run="run-9").kill()
    code, said = typed("revert", "gateway")

    assert code == 0
    assert "run run-9 had not ended" in said
    assert site.stable.image == "gateway:v1"
    assert not site.runs("gateway:v3")


def test_a_revert_that_cannot_start_the_good_build_leaves_the_present_one_serving(site, typed):
    """Bad answers are better than none; a human must look."""
    site.kept("gateway:v2")
    site.write(router="fail: [attach]")
    code, said = typed("revert", "gateway")
    site.write()

    assert code == 70
    assert "still serves" in said
    assert site.stable.image == "gateway:v2"
    assert site.weights == {"baseline": 1.0}
    assert typed("revert", "gateway")[0] == 0


def test_a_revert_that_fails_leaves_users_with_the_good_build_where_the_present_one_is_gone(site, typed, monkeypatch):
    """It could not become stable, and nobody answers where users would be sent back to."""
    site.kept("gateway:v2")
    site.write(platform="fail: [promote]")
    ready = MemoryPlatform.ready

    def gone(self, revision):
        return Readiness(False, "no copy is left", hopeless=True) if revision.tag == "v2" else ready(self, revision)

    monkeypatch.setattr(MemoryPlatform, "ready", gone)
    code, said = typed("revert", "gateway")
    site.write()

    assert code == 70
    assert "nobody answers at gateway:v2" in said
    assert site.weights == {"canary": 1.0}
    assert site.runs("gateway:v1")


def test_a_revert_that_waits_says_for_what_and_who_serves_meanwhile(site, typed, monkeypatch):
    """`293 s left` alone leaves open what happens then."""
    monkeypatch.setattr("pytest_canary.command.place.SAY_SECONDS", 0.0)
    site.kept("gateway:v2").write(platform="not_ready: [v1]")
    said = typed("revert", "gateway")[1].splitlines()
    site.write()

    assert said[0] == (
        "  ... waiting for gateway:v1 to be ready: v1 never becomes ready, at most 5 s more; "
        "gateway:v2 serves meanwhile"
    )
    assert not [line for line in said if line.endswith(" left")]


# -- which rollout ---------------------------------------------------------------------------------------------------


def test_several_rollouts_are_listed_as_commands_to_type(site, typed):
    """Guessing would recover the wrong one."""
    Site(site.root, "other").write()
    code, said = typed("status")

    assert code == 4
    assert "pytest-canary status rollouts/gateway/rollout.yaml" in said
    assert "pytest-canary status rollouts/other/rollout.yaml" in said
    assert len(said.splitlines()) == 1
    assert typed("status", "rollouts/other")[0] == 0


def test_revert_finds_the_rollout_by_its_service(site, typed):
    """The service is named so that no other is ever taken back."""
    Site(site.root, "other").write()
    assert "gateway on memory" in typed("revert", "gateway")[1]
    code, said = typed("revert", "third")

    assert code == 4
    assert "'third'" in said


@pytest.mark.parametrize("path", ["rollouts", "rollouts/gateway", "rollouts/gateway/rollout.yaml"])
@pytest.mark.usefixtures("site")
def test_a_rollout_is_named_by_any_folder_above_it_or_by_its_file(typed, path):
    """People type what the shell completes."""
    assert typed("status", path)[0] == 0


def test_somebody_elses_manifest_is_not_ours(site, typed):
    """Argo's files are called rollout.yaml too."""
    (site.root / "rollouts/argo").mkdir()
    (site.root / "rollouts/argo/rollout.yaml").write_text(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nservice: x\n"
    )

    assert typed("status")[0] == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["status", "nowhere"], "nowhere: not found"),
        (["status", "--target", "moon"], "pytest-canary: --target: found target 'moon'"),
        (["recover", "--set", "stages=no"], "stages"),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_wrong_argument_is_one_line_and_exit_4(typed, words, part):
    """No stack trace at three in the morning."""
    code, said = typed(*words)

    assert code == 4
    assert part in said
    assert "Traceback" not in said


@pytest.mark.parametrize("words", [[], ["fly"], ["status", "--state"], ["abort", "--wait", "soon"], ["revert"]])
def test_a_command_that_is_mistyped_is_exit_4(words):
    """2 means interrupted, and argparse would say 2."""
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 4


def test_a_state_folder_of_ones_own_is_followed_and_named_again(site, typed):
    """Without it there would be nothing to recover."""
    said = typed("status", "--state", "elsewhere")[1]
    assert f"elsewhere{os.sep}gateway{os.sep}memory" in said
    site.begun().kill()
    moved = site.root / "my state"
    (site.root / ".pytest_canary").rename(moved)

    assert "--state 'my state'" in typed("status", "--state", "my state")[1]
    assert typed("recover", "--state", "my state")[0] == 0


def test_a_ledger_that_cannot_be_read_is_one_line(site, typed):
    """A wrong owner is found by name."""
    site.state.mkdir(parents=True)
    for name in ("ledger.jsonl", "outcomes.jsonl"):
        (site.state / name).mkdir()
    code, said = typed("status")

    assert code == 1
    assert "Traceback" not in said
    assert str(site.state) in said


@pytest.mark.parametrize(
    "files",
    [
        {"pytest.ini": ""},
        {"pyproject.toml": "[tool.pytest]\n"},
        {"pyproject.toml": "[tool.pytest.ini_options]\n"},
        {"pyproject.toml": "[project]\nname = 'x'\n"},
        {"setup.cfg": "[tool:pytest]\n"},
        {"setup.cfg": "[metadata]\n", "setup.py": ""},
        {"tox.ini": "[pytest]\n"},
        {"rollouts/pytest.ini": "", "pyproject.toml": "[tool.pytest.ini_options]\n"},
        {"rollouts/pyproject.toml": "[project]\n", "setup.cfg": "[tool:pytest]\n"},
        {},
    ],
    ids=lambda files: " ".join(files) or "nothing",
)
def test_the_root_is_the_one_that_pytest_finds(pytester, files):
    """The ledger lies below it: another root would be another ledger."""
    folder = pytester.mkdir("rollouts")
    for name, text in files.items():
        (pytester.path / name).write_text(text)

    assert root_of(folder) == pytester.parseconfig(str(folder)).rootpath


def test_adapters_of_a_conftest_are_asked_for(site, typed):
    """A platform of one's own must be recovered as well."""
    (site.root / "conftest.py").write_text(
        "def pytest_canary_router(name, options, shared):\n"
        "    if name == 'ours':\n"
        "        from pytest_canary.adapters import memory\n"
        "        router = memory.OFFERS['router']\n"
        "        return router.connect(router.Options() if getattr(router, 'Options', None) else {}, shared)\n"
    )
    site.begun().kill()
    file = site.folder / "rollout.yaml"
    file.write_text(file.read_text().replace("router: {memory: {}}", "router: {ours: {}}"))
    code, said = typed("recover")

    assert (code, said.count("had not ended")) == (0, 1), said


def test_the_facts_of_the_ledger_are_plain_json(site):
    """Any other process must be able to carry on."""
    run = site.begun()
    run.kill()

    assert json.loads(json.dumps([fact.data for fact in run.ledger.read()], default=dict))
