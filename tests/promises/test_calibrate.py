"""What was measured on a service's own history: runs use it, show it, and let it go stale."""

import json
import time

import pytest

from pytest_canary import calibrated
from pytest_canary.calibrated import Calibrated, Calibration, Share, digest_of
from pytest_canary.plan import make_plan, stages_digest, stages_of
from pytest_canary.spec import load

DAY = 86400.0
RARE, OFTEN = Share(2, 400, 0.0006, 0.018), Share(180, 400, 0.4, 0.5)


@pytest.fixture
def measured(project):
    """A project whose errors were measured so many days ago, and must be divided by 40."""

    def measured(days=2.0, phi=40.0, **more):
        project.write(metrics="replicas: {v1: 4, v2-bad: 4}", **more)
        folder = project.pytester.path / "rollouts/gateway"
        spec = load(folder / "rollout.yaml")
        gates = make_plan(spec, rollout="r", image=None).gates
        found = tuple(Calibrated(gate.name, digest_of(gate), phi, 15.0, OFTEN, RARE) for gate in gates)
        stages = stages_digest(spec, stages_of(spec, "r"))
        told = Calibration(time.time() - days * DAY, "4.0 h of 20 replicas", stages, OFTEN, RARE, found)
        calibrated.write(folder / "calibration.json", "memory", told)
        return project

    return measured


def test_a_run_shows_what_was_measured_on_the_console_and_in_the_report(measured):
    """Whoever wonders why a gate was slow finds it there."""
    project = measured()
    run = project.run("--canary-report=out.json")

    assert run.exit == 0, run.out
    line = (
        "measured 2 days ago on 4.0 h of 20 replicas; error_rate: evidence is divided by 40 (up to 40 times the "
        "requests); latency_p99: evidence is"
    )
    assert f"canary calibration: {line}" in run.out
    assert "a good build is rolled back 0.5 % (0.1-1.8), a bad one later than without" in run.out
    assert json.loads((project.pytester.path / "out.json").read_text())["calibration"].startswith(line)


def test_a_stale_file_is_said_and_not_used(measured):
    """With the command that makes a new one."""
    run = measured(days=40).run()

    assert run.exit == 0, run.out
    assert (
        "canary calibration: not used: measured 40 days ago, older than max_age of 30 days; type `pytest-can" in run.out
    )


WORSE = "error_rate: {v1: 0.02, v2: 0.06}"


def test_what_was_raised_is_what_judges(measured, project):
    """The same build, the same counts: with evidence divided by 40 it takes longer to convict."""
    rates = {"error_rate: {v1: 0.01, v2: 0.01, v2-errors: 0.3}": WORSE}
    cut = {}
    for days in (2, 40):  # used, and stale
        run = measured(days=days, replace=rates).run()
        cut[days] = len(run.shifts)
        assert (run.exit == 1) is (days == 40), run.out
    del project

    assert cut[2] > cut[40]


def test_a_broken_file_deploys_nothing(measured):
    """One line, with the way out."""
    project = measured()
    (project.pytester.path / "rollouts/gateway/calibration.json").write_text("{")
    run = project.run()

    assert run.exit == 4
    assert run.acts == []
    assert "found no JSON; delete the file and calibrate again; or write `calibration: off`" in run.out
