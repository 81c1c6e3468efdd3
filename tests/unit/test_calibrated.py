"""The file of what was measured: what a plan uses of it, and when it does not."""

import json
from dataclasses import replace

import pytest

from pytest_canary import calibrated
from pytest_canary.calibrated import Calibrated, Calibration, Share, digest_of
from pytest_canary.errors import SpecError, UsageError
from pytest_canary.plan import make_plan, stages_digest, stages_of
from pytest_canary.spec import load

TEXT = """\
service: gateway
stages: [5, 100]
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
MORE
targets:
  here:
    platform: {memory: {}}
    router: {memory: {}}
    metrics: {memory: {}}
"""
NOW, DAY = 2_000_000_000.0, 86400.0
RARE, OFTEN = Share(2, 400, 0.0006, 0.018), Share(180, 400, 0.4, 0.5)


@pytest.fixture
def folder(tmp_path):
    """A rollout.yaml, and what was measured of it two days ago: errors in bursts."""
    write(tmp_path)
    spec = load(tmp_path / "rollout.yaml", environ={})
    gates = make_plan(spec, rollout="r", image=None).gates
    of_gates = tuple(
        Calibrated(gate.name, digest_of(gate), phi, replicas, OFTEN, RARE)
        for gate, phi, replicas in zip(gates, (1.0, 2.0), (300.0, 15.0), strict=True)
    )
    measured = Calibration(
        NOW - 2 * DAY, "4.0 h of 20 replicas", stages_digest(spec, stages_of(spec, "r")), OFTEN, RARE, of_gates
    )
    calibrated.write(tmp_path / "calibration.json", "here", measured)
    return tmp_path


def write(folder, more="", text=TEXT):
    """The rollout.yaml."""
    (folder / "rollout.yaml").write_text(text.replace("MORE", more))


def plan(folder, now=NOW):
    """What a run would plan."""
    return make_plan(load(folder / "rollout.yaml", environ={}), rollout="r", image="gateway:v2", now=now)


def levels(made):
    """Gate -> design effect and evidence that is asked of replicas."""
    return {gate.name: (gate.design_effect, gate.levels.replicas) for gate in made.gates}


def test_a_run_uses_what_was_measured_and_says_so_in_one_line(folder):
    """Nobody has to remember that there is such a file."""
    made = plan(folder)

    assert levels(made) == {"error_rate": (1, 300), "latency_p99": (2, 15)}
    assert made.lines()[-1] == (
        "canary calibration: measured 2 days ago on 4.0 h of 20 replicas; error_rate: replicas must show 300, not 15; "
        "latency_p99: evidence is divided by 2 (up to 2 times the requests); a good build is rolled back 0.5 % "
        "(0.1-1.8), a bad one later than without"
    )
    assert all(gate.calibrated for gate in made.gates)


def test_what_is_too_old_is_said_and_not_used(folder):
    """What it raised makes a bad build's way longer, for a reason that may be gone; the default floor holds without."""
    made = plan(folder, NOW + 40 * DAY)

    assert levels(made) == {"error_rate": (1, 15), "latency_p99": (1, 15)}
    assert made.calibration.startswith(
        "not used: measured 42 days ago, older than max_age of 30 days; type `pytest-can"
    )
    assert not any(gate.calibrated for gate in made.gates)


def test_the_command_that_measures_anew_can_be_typed_where_one_stands(folder, monkeypatch):
    """The folder as it is reached from here, and the target that was measured."""
    (folder / "calibration.json").unlink()
    (folder / "rollout.yaml").write_text((folder / "rollout.yaml").read_text() + "calibration: gone.json\n")
    monkeypatch.chdir(folder.parent.parent)

    with pytest.raises(SpecError) as told:
        plan(folder)
    named = folder.relative_to(folder.parent.parent)
    assert f"type `pytest-canary calibrate {named} --target here`" in str(told.value)


def test_how_old_it_may_be_is_said_in_the_file(folder):
    """A service whose traffic changes every week measures every week."""
    write(folder, "calibration: {max_age: 36h}")
    assert "older than max_age of 36 h" in plan(folder).calibration

    write(folder, "calibration: {max_age: 90d}")
    assert levels(plan(folder, NOW + 40 * DAY))["error_rate"] == (1, 300)


@pytest.mark.parametrize("more", ["hold: 10m", "poll: 1s", "holdback: 5"])
def test_what_was_measured_of_other_stages_is_not_used(folder, more):
    """Other stages are other rollouts."""
    write(folder, more)

    assert plan(folder).calibration.startswith(
        "not used: stages, holds or poll have changed since; type `pytest-canary"
    )


def test_a_gate_that_has_changed_is_named_and_the_others_are_used(folder):
    """A rate that was measured of another gate says nothing about this one."""
    write(folder, text=TEXT.replace("latency_p99: {ratio: 1.2}", "latency_p99: {ratio: 1.3}"))
    made = plan(folder)

    assert levels(made) == {"error_rate": (1, 300), "latency_p99": (1, 15)}
    assert "not measured as it stands: latency_p99; type `pytest-canary calibrate" in made.calibration


def laid_over(folder, asked, **measured):
    """The calibration of the folder with what was ``measured``, over a gate whose file asks for that design effect."""
    found = calibrated.read(folder / "calibration.json", "here")
    (gate, _) = plan(folder, NOW + 99 * DAY).gates
    own = replace(gate, design_effect=asked)
    told = replace(found, gates=(replace(found.gates[0], plan=digest_of(own), **measured),))
    return calibrated.laid_over([own], told, stages=found.stages, now=NOW, max_age=99 * DAY, again="")


def test_it_never_lowers_what_the_file_asks_for(folder):
    """A history may lack the trouble that a rollout meets."""
    used = laid_over(folder, 4.0, replicas=2.0)

    assert used.gates[0].design_effect == 4.0
    assert used.gates[0].levels.replicas == 15.0
    assert "the levels of the file are enough" in used.says
    assert "later" not in used.says, "what raises nothing costs nothing"


def test_what_it_costs_is_told_against_what_the_file_asks_for(folder):
    """A design effect of 2 that becomes 4 takes twice the requests, not four times."""
    used = laid_over(folder, 2.0, phi=4.0)

    assert "evidence is divided by 4 (up to 2 times the requests)" in used.says


def test_levels_that_are_not_enough_leave_the_check_of_replicas_on(folder):
    """Where nothing makes false rollbacks rare, replicas that differ too much still end a rollout before users."""
    found = calibrated.read(folder / "calibration.json", "here")
    calibrated.write(
        folder / "calibration.json", "here", replace(found, gates=tuple(replace(g, enough=False) for g in found.gates))
    )

    assert not any(gate.calibrated for gate in plan(folder).gates)


@pytest.mark.parametrize("off", ["off", "false", "no"])
def test_it_can_be_turned_off(folder, off):
    """And then nothing is said of it."""
    write(folder, f"calibration: {off}")

    assert plan(folder).calibration == ""
    assert levels(plan(folder))["error_rate"] == (1, 15)


def test_another_file_can_be_named(folder):
    """Such as one that several services share a folder for."""
    (folder / "calibration.json").rename(folder / "measured.json")
    write(folder, "calibration: measured.json")

    assert levels(plan(folder))["error_rate"] == (1, 300)


def test_a_file_that_is_named_and_not_there_is_a_mistake(folder):
    """With the line, and what to type."""
    write(folder, "calibration: {file: gone.json}")

    with pytest.raises(SpecError, match=r"rollout.yaml:6: found no gone.json beside the rollout.yaml; type"):
        plan(folder)


def test_a_target_that_was_not_measured_has_nothing(folder):
    """One file for all targets; each has its own traffic."""
    whole = json.loads((folder / "calibration.json").read_text())
    whole["targets"]["production"] = whole["targets"].pop("here")
    (folder / "calibration.json").write_text(json.dumps(whole))

    assert plan(folder).calibration == ""


def test_a_target_is_written_beside_the_others(folder):
    """Calibrating production must not throw away what was measured in staging."""
    path = folder / "calibration.json"
    found = calibrated.read(path, "here")
    calibrated.write(path, "there", replace(found, of="1.0 h"))

    assert calibrated.read(path, "here") == found
    assert calibrated.read(path, "there").of == "1.0 h"
    assert calibrated.read(path, "nowhere") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"calibration.json:1: found no JSON; delete the file and calibrate again"),
        ("[" * 100_000, r"calibration.json:1: found no JSON"),
        ('{"version": 1}', "found no targets, expected a calibration of version 1"),
        ('{"version": "new", "targets": {}}', "found version 'new'"),
        ("[]", "found no version, expected a calibration of version 1; delete the file and calibrate again"),
        ('{"version": 7, "targets": {}}', "found version 7, expected a calibration of version 1"),
        ('{"version": 1, "targets": {"here": {"at": 1}}}', "here is not whole"),
        ('{"version": 1, "targets": {"here": []}}', "here is not whole"),
    ],
)
def test_a_broken_file_is_one_line_that_says_what_to_do(folder, text, said):
    """Before anything is deployed."""
    (folder / "calibration.json").write_text(text)

    with pytest.raises(SpecError, match=said) as told:
        plan(folder)
    assert "\n" not in str(told.value)
    assert "calibration: off" in str(told.value)


def test_a_level_below_one_is_refused(folder):
    """Somebody has written it by hand to have fewer rollbacks of bad builds."""
    path = folder / "calibration.json"
    path.write_text(path.read_text().replace('"phi": 2.0', '"phi": 0.1'))

    with pytest.raises(UsageError, match=r"0\.1 where 1 or more is expected"):
        calibrated.read(path, "here")
