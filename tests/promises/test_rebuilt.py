"""Promotion where the stable build is started anew, as a cluster does: a shift of its own, under the same gates."""

import time

import pytest

ANEW = "rebuilds: true"
DYING = """
import os, signal, threading

def pytest_canary_row(row):
    if row.name == "ramp[stable 5%]":
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.NAME)).start()
"""
LADDER = [0.05, 0.25, 0.5, 1.0]


def _anew(project, platform="", metrics="", clock="virtual", **replace):
    return project.write(platform=ANEW + platform, metrics=metrics, clock=clock, replace=replace)


def _canary_shares(run):
    """The canary's share, from weight to weight, as the world saw it."""
    return [round(share, 3) for share in run.shifts]


def test_the_traffic_returns_in_the_stages_of_the_plan(project):
    """First to the canary, then, step by step, to the stable build with new processes."""
    run = _anew(project).run()

    assert run.exit == 0, run.out
    assert _canary_shares(run) == [0.0, *LADDER, *(1 - share for share in LADDER)]
    assert run.acts.index("promote v2") > run.acts.index("weights baseline=0 canary=1")
    assert [name for name in run.rows if name.startswith(("ramp[stable", "hold[stable"))] == [
        f"{step}[stable {share * 100:g}%]" for share in LADDER for step in ("ramp", "hold")
    ]
    assert run.acts[-1] == "stop"
    assert "remove v2" in run.acts
    assert run.acts.index("remove v2") > max(n for n, act in enumerate(run.acts) if act.startswith("weights"))


def test_the_canary_grows_before_it_gets_weight(project):
    """Never weight before the copies that it takes."""
    acts = _anew(project).run().acts

    for share, copies in ((0.5, 2), (1.0, 4)):
        weight = next(n for n, act in enumerate(acts) if act.endswith(f"canary={share:g}"))
        assert acts.index(f"grow v2 {copies}") < weight


def test_new_processes_that_are_worse_give_the_traffic_back_to_the_proven_canary(project):
    """Then the old build is put back in their place, and only then users return to it."""
    run = _anew(project, metrics="latency: {v2@stable: 0.2}", **{"hold: 10s": "hold: 60s"}).run()

    assert run.exit == 1, run.out
    assert "promotion: " in run.out
    promoted, put_back = run.acts.index("promote v2"), run.acts.index("promote v1")
    between = [act for act in run.acts[promoted:put_back] if act.startswith("weights")]
    assert between[-1] == "weights baseline=0 canary=1"
    after = [act for act in run.acts[put_back:] if act.startswith("weights")]
    assert after[0] == "weights baseline=1 canary=0"
    assert "stable 4/10 (40.00%), canary 1/190" in run.messages["hold[stable 5%]"]
    assert "the canary p99" in run.messages["hold[stable 5%]"]
    assert run.rows["restore stable"] == "passed"
    assert run.acts.index("remove v2") > put_back


def test_a_stable_place_that_cannot_be_changed_stays_what_it_was(project):
    """Neither on nor back: what it still runs is seen to serve before users return to it."""
    run = _anew(project, platform=", fail: {promote: no room}").run()

    assert run.exit == 1, run.out
    assert "no room" in run.out
    assert "put right at the second attempt: 100 % on gateway:v1" in run.out
    assert [act for act in run.acts if act.startswith("weights")][-2:] == [
        "weights baseline=0 canary=1",
        "weights baseline=1 canary=0",
    ]
    assert run.did("remove v2")


def test_the_bake_is_as_long_as_the_last_stage_unless_it_is_said(project):
    """New processes have been seen by nobody: they are watched with the way back still open."""
    usual = _anew(project).run()
    said = usual.messages["bake::error_rate"]
    short = _anew(project, **{"hold: 10s": "hold: 10s\nbake: 0s"}).run()

    assert usual.rows["bake::error_rate"] == "passed"
    assert "requests seen on the stable build after" in usual.messages["ramp[stable 5%]"]
    assert "error_rate[stable 100%]: stable " in said
    assert "on the canary's last window" in said
    assert "52 stable requests" in usual.out
    assert "bake::error_rate" not in short.rows


def test_a_build_that_turns_bad_while_it_bakes_goes_back(project):
    """Its watch is not over with the last weight."""
    late = "turns_bad: {v2@stable: {after: 170, error_rate: 0.5}}"
    run = _anew(project, metrics=late, **{"hold: 10s": "hold: 10s\nbake: 200s"}).run()

    assert run.exit == 1, run.out
    assert run.acts.index("promote v1") > run.acts.index("promote v2")
    assert run.rows["ramp[stable 100%]"] == "passed"
    assert run.rows["bake::error_rate"] == "failed"


def test_copies_of_the_canary_that_die_end_the_stage_at_once(project):
    """A platform that knows needs no statistics."""
    run = _anew(project, platform=", dies: {v2: 20}").run()

    assert run.exit == 1, run.out
    assert "a copy of v2 has died" in run.out
    assert run.shifts[-1] == 0.0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_traffic_returns_goes_back_to_the_old_build(project, name):
    """Whatever ends the session: the service ends in a known good state."""
    quick = {"hold: 10s": "hold: 1s\nbake: 30s", "poll: 1s": "poll: 200ms", "window: 5s": "window: 1s"}
    _anew(project, clock="system", **quick)
    (project.pytester.path / "conftest.py").write_text(DYING.replace("NAME", name))
    run = project.run(process=True)

    assert run.exit == 2, run.out
    assert run.acts.index("promote v1") > run.acts.index("promote v2")
    assert [act for act in run.acts if act.startswith("weights")][-1].startswith("weights baseline=1")
    assert name in run.out


SLOW = """
import os, signal, threading
from pytest_canary import MemoryPlatform, Readiness

class Slow(MemoryPlatform):
    def ready(self, revision):
        if revision.place and revision.tag == "v2":
            return Readiness(False, "starting")
        return super().ready(revision)

def pytest_canary_platform(name, options, shared):
    given = MemoryPlatform.Options(store="world.json", log="world.log", rebuilds=True)
    return Slow(given, shared) if name == "slow" else None

def pytest_canary_row(row):
    if row.name == "hold[100%]":
        threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.NAME)).start()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_who_ends_the_wait_for_the_new_processes_does_not_wait_for_their_time_out(project, name):
    """And is not told to mend a build that every gate has passed."""
    quick = {"hold: 10s": "hold: 1s\nready_timeout: 50s", "poll: 1s": "poll: 200ms", "window: 5s": "window: 1s"}
    slow = {"platform: {memory: {store: world.json, log: world.log }}": "platform: {slow: {}}"}
    project.write(clock="system", replace={**quick, **slow})
    (project.pytester.path / "conftest.py").write_text(SLOW.replace("NAME", name))
    began = time.monotonic()
    run = project.run(process=True)

    assert time.monotonic() - began < 40, run.out
    assert name in run.messages["rebuild stable"]
    assert "mend the build" not in run.out
    assert "ready_timeout" not in run.out
    assert [act for act in run.acts if act.startswith("weights")][-1].startswith("weights baseline=1")


BAKING = DYING.replace('"ramp[stable 5%]"', '"hold[stable 100%]"')


def test_a_bake_that_is_cut_short_has_a_row_that_failed(project):
    """Else every row would be green, and the build gone."""
    quick = {"hold: 10s": "hold: 1s\nbake: 30s", "poll: 1s": "poll: 200ms", "window: 5s": "window: 1s"}
    _anew(project, clock="system", **quick)
    (project.pytester.path / "conftest.py").write_text(BAKING.replace("NAME", "SIGINT"))
    run = project.run(process=True)

    assert run.exit == 2, run.out
    assert run.rows["bake"] == "failed"
    assert "SIGINT" in run.messages["bake"]
    assert run.acts.index("promote v1") > run.acts.index("promote v2")
