"""`control: true`: a fresh copy of the stable build, compared with while pods are young, and gone at the end."""

import pytest

NEW_TO_USERS = "cold: {for: 60, error_rate: 0.1}"
"""Any build that users have just met fails one request in ten for a minute."""
LONG = {"hold: 10s": "hold: 90s", "deadline: 120s": "deadline: 400s"}


def _with_control(project, metrics="", **more):
    replace = {"warmup: 0s": "warmup: 0s\ncontrol: {young: 70s}", **more}
    return project.write(metrics=metrics, replace=replace)


def test_the_control_has_as_much_traffic_as_the_canary(project):
    """Same size, same age, same share; at 100 % there is nothing left to give it."""
    run = _with_control(project).run()

    weights = [act for act in run.acts if act.startswith("weights") and "control=" in act]
    assert run.exit == 0
    assert [act for act in weights if "canary=0 " not in f"{act} "][:4] == [
        "weights baseline=0.9 control=0.05 canary=0.05",
        "weights baseline=0.5 control=0.25 canary=0.25",
        "weights baseline=0 control=0.5 canary=0.5",
        "weights baseline=0 control=0 canary=1",
    ]


@pytest.mark.parametrize("image", ["gateway:v2", "gateway:v2-errors"])
def test_nothing_of_the_control_is_left_however_it_ends(project, image):
    """It is drained and removed like the canary."""
    run = _with_control(project).run(image=image)

    assert run.acts.count("deploy v1") == 1
    assert "detach control" in run.acts
    assert "remove v1" in run.acts
    last = [act for act in run.acts if act.startswith("weights")][-1]
    assert "control=0" in last or "control" not in last


def test_newness_that_both_share_convicts_nobody(project):
    """What users meet for the first time fails for a while; the copy of the stable build does so too."""
    run = _with_control(project, NEW_TO_USERS, **LONG).run()

    assert run.exit == 0


def test_without_a_control_newness_looks_like_harm(project):
    """The other half of the promise: it is the control that saves the build above."""
    run = project.write(metrics=NEW_TO_USERS, replace=LONG).run()

    assert run.exit == 1
    assert "error_rate" in run.messages["rollback"]


def test_a_bad_build_is_found_beside_a_control_too(project):
    """A fair comparison is no excuse."""
    run = _with_control(project).run(image="gateway:v2-errors")

    assert run.exit == 1
    assert max(run.shifts) == 0.05


def test_the_plan_says_what_is_compared_with(project):
    """Twice the traffic on fresh builds is something a person should know beforehand."""
    run = _with_control(project).run()

    assert "a fresh copy of the stable build takes as much traffic as the canary" in run.out
    assert "control" in run.messages["deploy"]


def test_a_dead_runs_control_is_removed_by_the_next(project):
    """The ledger names it before it is started."""
    _with_control(project)
    killed = """
    import os, signal
    def test_own(stage): os.kill(os.getpid(), signal.SIGKILL)
    """
    project.write(replace={"warmup: 0s": "warmup: 0s\ncontrol: {young: 70s}"}, test_own=killed)
    project.run(process=True)
    (project.log.parent / "test_own.py").unlink()

    run = project.run()

    assert run.exit == 0
    first = run.acts[: run.acts.index("deploy v2")]
    assert "detach control" in first
    assert "remove v1" in first


def test_where_a_holdback_is_left_and_no_control_gates_compare_with_the_holdback(project):
    """At 100 % a control counts only what it was still answering: that is nothing to be compared with."""
    run = _with_control(project, **{"hold: 10s": "hold: 10s\nholdback: 10"}).run()

    assert run.exit == 0, run.out
    assert run.rows["error_rate[100%]"] == "passed"
    assert "error_rate[100%]: not compared" not in run.out
