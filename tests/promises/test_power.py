"""`pytest-canary power`: the very rules, many rollouts at once; each is the one that pytest would simulate."""

import json
from contextlib import suppress

import pytest

import pytest_canary.session.conductor  # noqa: F401 - runs in this process must not meet a second copy of it
from pytest_canary.command import main
from pytest_canary.plan import make_plan
from pytest_canary.power.batch import play
from pytest_canary.power.cells import Cell, Setting
from pytest_canary.power.ended import How
from pytest_canary.power.prelude import prelude_of, shared_of
from pytest_canary.scenario import scenario_of
from pytest_canary.spec import load

GATEWAY = """
service: gateway
stages: [5, 25, 100]
hold: 30s
min_requests: 50
deadline: 5m
poll: 2s
warmup: 0s
baseline: {revision: stable, window: 1m, min_requests: 50}
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
  output_tokens: {ratio: 1.3}
targets:
  made-up: {platform: {memory: {}}, router: {memory: {}}, metrics: {simulated: {}}}
simulate: {rate: 60}
"""
SEEDS = (3, 4, 5)


@pytest.fixture
def gateway(project):
    """Write a rollout.yaml (changed by ``replace``) and return its folder."""

    def write(replace=None):
        home = project.pytester.path / "rollouts/gateway"
        home.mkdir(parents=True, exist_ok=True)
        text = GATEWAY
        for old, new in (replace or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        (home / "rollout.yaml").write_text(text)
        return home

    return write


def _setting(home, *inject, rollouts=3):
    spec = load(home / "rollout.yaml", simulated=True)
    plan = make_plan(spec, rollout="rollout.yaml", image="gateway:simulated")
    scenario = scenario_of(spec, plan, inject)
    prelude = prelude_of(spec, plan, scenario, shared_of(spec, home / "state"))
    return Setting(plan, scenario.scene, prelude, SEEDS[0], rollouts, rollouts)


@pytest.mark.parametrize(
    ("inject", "replace"),
    [
        ((), {}),
        (("error_rate x4",), {}),
        (("latency_p99 x1.4", "output_tokens x1.4"), {"min_requests: 50\n": "min_requests: 150\n"}),
        (("error_rate x2",), {"hold: 30s": "pace: proof\nhold: 30s"}),
        (("error_rate x5",), {"rate: 60": "rate: 60, pods: 12", "stages: [5, 25, 100]": "stages: [25, 50, 100]"}),
        ((), {"rate: 60": "rate: 12, rates: {errors: 0.12}"}),
    ],
    ids=["good", "errors", "slow and talkative", "by proof", "replicas", "thin and frequent"],
)
def test_a_rollout_of_a_batch_is_the_one_that_pytest_simulates_with_its_seed(gateway, project, inject, replace):
    """Same seed, same end: gate, stage, and the users exposed until the very poll."""
    setting = _setting(gateway(replace), *inject)
    ended = play(setting.plan, setting.scene, SEEDS, setting.prelude)
    for row, seed in enumerate(SEEDS):
        report = project.pytester.path / f"report-{seed}.json"
        with suppress(FileNotFoundError):
            report.unlink()
        ran = project.run(
            f"--canary-simulate={seed}", *(f"--canary-inject={one}" for one in inject), f"--canary-report={report}",
            image=None,
        )  # fmt: skip
        told = json.loads(report.read_text())
        assert (told["end"] == "promoted") == (ended.how[row] == How.PROMOTED), ran.out
        if ended.how[row] == How.NOT_STARTED:
            continue
        assert told["exposed"] == ended.exposed[row], ran.out
        if ended.how[row] == How.GATE:
            stage, gate = setting.plan.stages[ended.stage[row]], setting.plan.gates[ended.gate[row]]
            assert f"{gate.name}[{stage}]" in told["why"]


def test_it_says_how_often_a_good_build_is_stopped_and_what_is_caught(gateway, capsys, tmp_path):
    """One command, a table, a picture and JSON; the exit status is that of what was required."""
    home = gateway()
    data, drawn = tmp_path / "power.json", tmp_path / "power.svg"
    given = ["power", str(home), "--rollouts", "20", "--each", "10", "--sizes", "2,20", "--workers", "1"]
    exit_code = main([*given, "--gate", "error_rate", "--json", str(data), "--picture", str(drawn),
                      "--require", "false_rollback<=20%", "--require", "caught(error_rate x20)>=90%"])  # fmt: skip
    out = capsys.readouterr().out
    assert exit_code == 0, out
    assert "a good build is rolled back in" in out
    assert "error_rate: x" in out
    lines = {(line["gate"], line["size"]): line for line in json.loads(data.read_text())["lines"]}
    assert lines["error_rate", 20.0]["stopped"] == 1.0
    assert lines["error_rate", 20.0]["exposed_median"] < lines["", 1.0]["exposed_median"]
    assert drawn.read_text().startswith("<svg")


def test_what_is_required_and_does_not_hold_is_the_exit_status(gateway, capsys):
    """So that CI guards the gates themselves."""
    home = gateway()
    given = ["power", str(home), "--rollouts", "10", "--each", "10", "--sizes", "20", "--workers", "1"]
    assert main([*given, "--gate", "error_rate", "--require", "exposed(error_rate x20)<=1"]) == 1
    assert "FAILED  exposed(error_rate x20)<=1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--require", "false_rolback<=1%"], "did you mean false_rollback?"),
        (["--require", "caught(error_rat x2)>=90%"], "did you mean error_rate?"),
        (["--require", "good enough"], "expected 'false_rollback<=1%'"),
        (["--gate", "ttft_p99"], "expected one of error_rate"),
        (["--catch", "error_rate", "--rollouts", "2"], "such as 'error_rate x2'"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(gateway, capsys, words, says):
    """What was found, and what to type."""
    assert main(["power", str(gateway()), *words]) == 4
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


def test_a_plan_that_can_never_pass_says_what_it_needs(gateway, capsys):
    """At this traffic no stage has its requests before the deadline."""
    home = gateway({"rate: 60": "rate: 2", "deadline: 5m": "deadline: 1m"})
    assert main(["power", str(home), "--rollouts", "3", "--sizes", "20", "--gate", "error_rate", "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert "this plan can never pass at this traffic" in out
    assert "write `deadline:" in out


def test_advice_names_a_first_stage_or_the_traffic_that_it_would_need(gateway, capsys):
    """Closed form first, then checked by simulation."""
    home = gateway()
    given = ["power", str(home), "--rollouts", "20", "--each", "20", "--workers", "1"]
    assert main([*given, "--catch", "error_rate x5", "--within", "30m"]) == 0
    assert "write: stages: [{weight:" in capsys.readouterr().out
    assert main([*given, "--catch", "error_rate x2", "--within", "1m"]) == 1
    assert "it would take about" in capsys.readouterr().out


def test_the_same_cell_is_the_same_by_one_process_and_by_two(gateway):
    """What is shared between workers is time, not chance."""
    from pytest_canary.power.cells import played

    setting = _setting(gateway(), rollouts=8)
    cells = [Cell(), Cell("error_rate", 5.0)]
    alone, together = (played(setting, cells, lambda *_: None, workers) for workers in (1, 2))
    assert sorted(alone[cells[1]].exposed.tolist()) == sorted(together[cells[1]].exposed.tolist())
