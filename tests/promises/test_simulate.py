"""`--canary-simulate`: the very plugin on a made-up build, without an image, a platform or a second of waiting."""

import json
import os
import time
from pathlib import Path

import pytest

import pytest_canary.session.conductor  # noqa: F401 - runs in this process must not meet a second copy of it
from pytest_canary.plan import make_plan
from pytest_canary.recording import Recording
from pytest_canary.scenario import scenario_of
from pytest_canary.simulation.draws import Draws, Part
from pytest_canary.spec import load

PRODUCTION = """
service: gateway
default_target: production
stages: [5, 25, 100]
hold: 1m
min_requests: 100
deadline: 30m
poll: 5s
warmup: 0s
bake: 15s
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
targets:
  production:
    platform: {kubernetes: {namespace: "${NAMESPACE_THAT_IS_NOT_SET}", deployment: gateway}}
    router: {gateway-api: {route: gateway}}
    metrics: {prometheus: {url: "${PROMETHEUS_THAT_IS_NOT_SET}"}}
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Nobody may let real time pass."""

    def refuse(seconds):
        raise AssertionError(f"somebody waits {seconds} s")

    monkeypatch.setattr(time, "sleep", refuse)


@pytest.fixture
def simulate(project):
    """Write a rollout.yaml (production by default, changed by ``replace``) and tests, and simulate it."""

    def run(*inject, replace=None, seed="", args=(), files=None, **tests):
        home = project.pytester.path / "rollouts/gateway"
        home.mkdir(parents=True, exist_ok=True)
        text = PRODUCTION
        for old, new in (replace or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        (home / "rollout.yaml").write_text(text)
        for name, text in (files or {}).items():
            (home / name).write_text(text)
        for name, source in tests.items():
            (home / f"{name}.py").write_text(source)
        given = [f"--canary-simulate={seed}" if seed else "--canary-simulate", *args]
        return project.run(*given, *(f"--canary-inject={one}" for one in inject), image=None)

    return run


@pytest.fixture
def report(project):
    """The newest report, as JSON."""

    def newest():
        found = (project.pytester.path / ".pytest_canary").rglob("reports/*.json")
        return json.loads(max(found, key=lambda path: path.stat().st_mtime).read_text())

    return newest


def test_a_good_build_is_promoted_in_simulation_and_never_on_the_target(simulate, report):
    """A target in a cluster, whose variables are not set, needs neither cluster nor variables nor an image."""
    run = simulate()

    assert run.exit == 0
    assert "promoted in simulation (production): gateway:simulated" in run.out
    assert "on production" not in run.out
    assert "nothing is deployed" in run.out
    assert run.rows["error_rate[5%]"] == "passed"
    assert report()["simulated"].startswith("seed 1, 100 requests/s")


def test_it_says_where_and_by_what_the_rollout_stopped_and_who_met_it(simulate, report):
    """Stage, gate, users exposed, virtual time; exit code and rows as in a real run."""
    run = simulate("error_rate x8")
    told = report()

    assert run.exit == 1
    assert "rolled back in simulation (production) at 5%: gateway:simulated" in run.out
    assert "failed error_rate" in run.out
    assert run.rows["error_rate[5%]"] == "failed"
    assert run.rows["latency_p99[5%]"] == "skipped"
    assert 0 < told["exposed"] < 500
    assert "of virtual time" in run.out
    assert f"{told['exposed']} requests of users" in run.out
    assert "such a build is stopped; see that a good one passes: pytest rollouts/gateway --canary-simulate" in run.out
    assert "ship a build" not in run.out


def test_it_names_all_that_the_traffic_is_like(simulate, report):
    """The daily curve too: the rate is that of the whole day, and another one when the rollout begins."""
    like = "simulate: {rate: 80, daily: {swing: 30%}, pods: 4, clumps: 2}\n"
    simulate(replace={"service: gateway\n": f"service: gateway\n{like}"})

    said = report()["simulated"]
    assert said.startswith("seed 1, 80 requests/s, daily curve of 30%, 4 pods, errors in clumps of 2, "), said


MARKED = """
import pytest

@pytest.mark.gate("client_error_rate", ratio=1.5)
def test_clients_are_not_refused(stage):
    raise AssertionError("nobody asks the body of a gate that has failed")

def test_another(stage):
    pass
"""


def test_a_gate_of_a_test_fails_that_test_where_it_fails(simulate):
    """A run that rolls back has a failure in its JUnit, wherever the gate was declared."""
    run = simulate("client_error_rate x20", test_gates=MARKED)

    assert run.exit == 1
    assert run.rows["test_clients_are_not_refused[5%]"] == "failed"
    assert run.rows["error_rate[5%]"] == run.rows["test_another[5%]"] == "skipped"
    assert "client_error_rate[5%]: canary" in run.messages["test_clients_are_not_refused[5%]"]


@pytest.mark.parametrize(
    ("inject", "gate"),
    [("latency_p99 x1.5", "latency_p99[5%]"), ("crash at 25%", "error_rate[25%]"), ("cold 20000", "latency_p99[5%]")],
)
def test_each_kind_of_injection_stops_at_the_gate_that_sees_it(simulate, inject, gate):
    """And at the stage from which it shows."""
    run = simulate(inject)

    assert run.exit == 1
    assert [row for row, how in run.rows.items() if how == "failed"] == [gate]


def test_an_injection_that_shows_late_is_met_late(simulate, report):
    """`from 25%` passes the first stage."""
    run = simulate("latency_p99 x2 from 25%")

    assert run.exit == 1
    assert run.rows["hold[5%]"] == "passed"
    assert report()["cut"]["stage"] == "25%"


def test_several_things_can_be_wrong_at_once(simulate, report):
    """Separated by commas, or the option repeated."""
    simulate("error_rate x1.1, latency_p99 x1.05", "cold 10")

    assert report()["simulated"].endswith("injected: error_rate x1.1, latency_p99 x1.05, cold 10")


@pytest.mark.parametrize(
    ("inject", "asked"),
    [
        ("error_rate x1.1", "--gate error_rate --sizes 1.1"),
        ("cold 10, latency_p99 +5%", "--gate latency_p99 --sizes 1.05"),
        ("cold 10", ""),
        ("error_rate x0.5", ""),
    ],
)
def test_one_that_passes_says_how_to_learn_how_often_it_is_caught(simulate, inject, asked):
    """One seed is one rollout: the line can be pasted, and asks for that very regression."""
    run = simulate(inject)

    assert run.exit == 0, run.out
    told = [line for line in run.out.splitlines() if "pytest-canary power" in line]
    assert len(told) == 1, run.out
    assert told[0].lstrip().startswith("next")
    words = f"--target production {asked}".strip()
    whole = " ".join(run.out.partition("learn how often it is caught:")[2].split())
    assert whole.startswith(f"pytest-canary power rollouts/gateway/rollout.yaml {words}"), whole


@pytest.mark.parametrize("inject", [(), ("error_rate x20",)])
def test_a_good_build_and_one_that_is_stopped_are_not_asked_about(simulate, inject):
    """There is nothing to learn of the first, and the second was caught."""
    assert "pytest-canary power" not in simulate(*inject).out


def test_a_build_that_is_bad_stays_bad_in_the_stable_place(simulate, report):
    """Promotion in a cluster starts new pods of the same build: what shows from 100 % on shows there too."""
    run = simulate("crash at 100%", replace={"stages: [5, 25, 100]": "stages: [5, 100]"})

    assert run.exit == 1
    assert "rolled back" in report()["says"]


def test_promotion_in_a_cluster_is_simulated_as_a_shift_of_its_own(simulate):
    """New processes in the stable place are judged against the proven canary, and baked."""
    run = simulate()

    assert run.rows["rebuild stable"] == "passed"
    assert run.rows["hold[stable 25%]"] == "passed"
    assert run.rows["bake::error_rate"] == "passed"


def test_the_same_seed_tells_the_same_and_another_seed_another_story(simulate, report):
    """What is seen once can be looked at again."""
    told = []
    for seed in ("7", "7", "8"):
        simulate("error_rate x2", seed=seed)
        told.append([verdict["canary"] for verdict in report()["verdicts"]])

    assert told[0] == told[1]
    assert told[0] != told[2]


def test_a_seed_is_a_number_and_a_folder_after_the_option_is_a_folder(project, simulate):
    """`pytest --canary-simulate rollouts/` must not read the folder as the seed."""
    wrong = simulate(seed="x")
    right = project.pytester.runpytest_inprocess("-p", "no:cacheprovider", "--canary-simulate", "rollouts")

    assert wrong.exit == 4
    assert "--canary-simulate: found 'x', expected a seed such as --canary-simulate=7" in wrong.out
    assert right.ret == 0
    assert "promoted in simulation" in right.stdout.str()


@pytest.mark.parametrize(
    ("inject", "said"),
    [
        ("eror_rate x3", "--canary-inject 'eror_rate x3': no metric is called 'eror_rate', did you mean error_rate?"),
        ("error_rate 3", "--canary-inject: found 'error_rate 3', expected 'error_rate x3'"),
        ("crsh at 50%", "did you mean crash?"),
        ("error_rate x3 from 500%", "found a share of 500%, expected 0 to 100"),
        ("probe_error_rate x3", "inject error_rate instead, which users meet"),
        (
            "quality -0.05",
            "no gate can see it (gates: error_rate, latency_p99); add `quality: {ratio: 1.2}` under `gates`",
        ),
        ("latency_p99 -5s", "leaves nothing, latency_p99 of the stable build is 0.8"),
    ],
)
def test_an_injection_that_is_wrong_is_one_line_before_anything_runs(simulate, inject, said):
    """With the nearest right name, or the gate to add; exit 4, as every usage error."""
    run = simulate(inject)

    assert run.exit == 4
    assert [line for line in run.out.splitlines() if "--canary-inject" in line and said in line]
    assert not run.rows


def test_an_injection_that_only_a_test_may_see_is_a_warning(simulate):
    """Tests look at whatever they like, and everything is counted for them."""
    looks = "def test_scores(stage):\n    assert stage.canary.sample.histograms['quality'].total > 0\n"
    run = simulate("quality -0.05", test_scores=looks)

    assert run.exit == 0
    assert "no gate can see it" in run.out
    assert run.rows["test_scores[5%]"] == "passed"


def test_an_injection_without_a_simulation_is_refused(project, simulate):
    """Nobody puts something wrong with a real build."""
    simulate()
    run = project.run("--canary-inject=error_rate x3", image="gateway:v2")

    assert run.exit == 4
    assert "--canary-inject is for simulated builds: add --canary-simulate" in run.out


def test_tests_and_gates_of_ones_own_run_unchanged(simulate):
    """Fixtures, marks, checks and metrics of a rollout.yaml's own, on made-up traffic."""
    tests = (
        "import pytest\n"
        "def test_answers(canary):\n    assert 'Paris' in canary.ask('What is the capital of France?').text\n"
        "@pytest.mark.gate('ttft_p99', ratio=1.5)\n"
        "def test_first_token(stage):\n    assert stage.canary.quantile(0.5, 'ttft') < 0.2\n"
        "def test_refusals(stage):\n    stage.check('refusal_rate', ratio=3)\n"
        "def test_waits(stage):\n    stage.wait(30)\n"
    )
    own = "gates:\n  tool_errors: {metric: {counter: tool_errors, total: tool_calls}, better: lower, ratio: 2}\n"
    good = simulate(replace={"gates:\n": own}, test_own=tests)
    bad = simulate("tool_errors x20", replace={"gates:\n": own}, test_own=tests)

    assert good.exit == 0
    assert good.rows["test_refusals[25%]"] == "passed"
    assert bad.exit == 1
    assert bad.rows["tool_errors[5%]"] == "failed"


def test_what_a_simulation_has_not_is_left_out_and_said(simulate):
    """Traffic that is made up has no labels to compare by; probes, a control and pods it has."""
    more = "simulate: {pods: 4}\ncontrol: true\nprobe: {rate: 2, prompts: p.jsonl}\nmodel: none"
    run = simulate(
        replace={
            "warmup: 0s": f"warmup: 0s\n{more}",
            "latency_p99: {ratio: 1.2}": "latency_p99: {ratio: 1.2, by: [model]}\n  probe_error_rate: {ratio: 2}",
            "stages: [5, 25, 100]": "stages: [25, 100]",
        },
        files={"p.jsonl": '{"messages": [{"role": "user", "content": "hi"}]}\n'},
    )

    assert run.exit == 0
    assert "latency_p99: `by` is left out, the traffic of a simulation has no labels" in run.out
    assert run.rows["probe_error_rate[25%]"] == "passed"


def test_the_history_of_the_target_and_its_listeners_hear_nothing(project, simulate):
    """A simulated rollback speaks against no build, and no chat is told of a promotion that never was."""
    (project.pytester.path / "conftest.py").write_text(
        "def pytest_canary_outcome(outcome):\n    open('told', 'w').write(outcome.end)\n"
    )
    simulate("error_rate x5", args=["--image=gateway:v2"])
    again = simulate(args=["--image=gateway:v2"], replace={"warmup: 0s": "warmup: 0s\nrefuse_rejected: true"})

    state = project.pytester.path / ".pytest_canary/gateway"
    assert again.exit == 0
    assert [path.name for path in state.iterdir()] == ["production.simulated"]
    assert not list(state.rglob("outcomes.jsonl"))
    assert not (project.pytester.path / "told").exists()


def test_nothing_is_built_and_nothing_goes_on_serving(project, simulate):
    """`build:` and `keep:` are about the real world."""
    run = simulate(replace={"warmup: 0s": "warmup: 0s\nkeep: true\nbuild: [touch, built]"})

    assert run.exit == 0
    assert "build" not in run.rows
    assert not list(project.pytester.path.rglob("built"))


def test_looking_at_the_plan_simulates_nothing(simulate):
    """`--collect-only` is for looking."""
    run = simulate(args=["--collect-only"])

    assert run.exit == 0
    assert not run.rows
    assert "promoted" not in run.out


def test_two_models_are_refused_as_they_would_be(simulate):
    """The identity of models is looked at as in a real run."""
    same = simulate(replace={"warmup: 0s": "warmup: 0s\nmodel: {baseline: v7, canary: v7}"})
    other = simulate(replace={"warmup: 0s": "warmup: 0s\nmodel: {baseline: v7, canary: v8}"})

    assert same.exit == 0
    assert other.exit == 1
    assert "the canary serves v8" in other.out


def test_a_gate_inside_the_noise_of_uneven_pods_is_refused_as_it_would_be(simulate):
    """Pods that differ by themselves more than the gate allows."""
    run = simulate(
        replace={"warmup: 0s": "warmup: 0s\nnoise: measure\nsimulate: {pods: 10, pod_effect: 1, rates: {errors: 5%}}"}
    )

    assert run.exit == 1
    assert "error_rate cannot be judged" in run.out


@pytest.mark.parametrize(
    ("says", "said"),
    [
        ("{rte: 5}", "rollout.yaml:10: simulate: found key 'rte', did you mean rate?"),
        ("{rate: fast}", "rollout.yaml:10: simulate.rate: found 'fast', expected a number"),
        ("{rates: {erors: 1%}}", "rollout.yaml:10: simulate.rates: nothing counts 'erors', did you mean errors?"),
        ("{values: {latncy: {median: 1s}}}", "rollout.yaml:10: simulate.values: nothing counts 'latncy', did you mean"),
        ("{values: {latency: {median: 1s, p99: 500ms}}}", "found p99 0.5, expected more than the median 1"),
        ("{values: {latency: {median: 1s, mean: 0.5}}}", "found median, mean, expected median with p99"),
        ("{rates: {errors: 60%, refusals: 60%}}", "rollout.yaml:10: simulate.rates: "),
        ("{bursts: {every: 20m}}", "rollout.yaml:10: missing key 'simulate.bursts.for'"),
        ("{from: nowhere.jsonl}", "rollout.yaml:10: simulate.from: "),
    ],
)
def test_a_mistake_in_simulate_is_one_line_with_its_place(simulate, says, said):
    """What was found, what was expected, the nearest right name."""
    run = simulate(replace={"warmup: 0s": f"warmup: 0s\nsimulate: {says}"})

    assert run.exit == 4
    assert said in run.out
    assert "Traceback" not in run.out


def test_the_traffic_is_the_one_that_simulate_describes(simulate, report):
    """Rate, base rates and values, as the report has counted them."""
    said = "{rate: 40, rates: {error_rate: 6%}, values: {latency: {median: 2s, p99: 8s}}}"
    simulate(replace={"warmup: 0s": f"warmup: 0s\nsimulate: {said}"})
    counted = {(v["gate"], v["share"]): v["baseline"] for v in report()["verdicts"]}
    errors, slow = counted["error_rate", "25%"], counted["latency_p99", "25%"]

    assert errors["requests"] == pytest.approx(0.75 * 40 * 66, rel=0.15)
    assert errors["value"] == pytest.approx(0.06, rel=0.25)
    assert slow["value"] == pytest.approx(8, rel=0.3)


def test_a_load_that_stands_in_for_users_says_the_rate(simulate, report):
    """A target without users has its rate in `load`, where nobody said another."""
    simulate(replace={"    router:": "    load: {rate: 30}\n    router:"})

    assert report()["simulated"].startswith("seed 1, 30 requests/s")


def test_traffic_is_fitted_from_a_recording(project, simulate, report):
    """`from:` has the rate, the rates of errors and the latencies of what was recorded."""
    home = project.pytester.path / "rollouts/gateway"
    home.mkdir(parents=True)
    (home / "rollout.yaml").write_text(PRODUCTION)
    record(home, home / "recording.jsonl", "{rate: 50, rates: {errors: 4%}, values: {latency: {median: 1s, p99: 6s}}}")
    simulate(replace={"warmup: 0s": "warmup: 0s\nsimulate: {from: recording.jsonl}"})
    told = report()
    errors = next(v["baseline"] for v in told["verdicts"] if v["gate"] == "error_rate" and v["share"] == "25%")
    slow = next(v["baseline"] for v in told["verdicts"] if v["gate"] == "latency_p99" and v["share"] == "25%")

    assert float(told["simulated"].split(", ")[1].split()[0]) == pytest.approx(50, rel=0.03)
    assert errors["value"] == pytest.approx(0.04, rel=0.25)
    assert slow["value"] == pytest.approx(6, rel=0.3)


def record(home, path, says):
    """Write a recording of ten minutes of the traffic that ``says`` describes."""
    from pytest_canary.adapters.simulated.played import told
    from pytest_canary.ports import Role

    (home / "other.yaml").write_text(PRODUCTION.replace("warmup: 0s", f"warmup: 0s\nsimulate: {says}"))
    spec = load(home / "other.yaml", simulated=True)
    plan = make_plan(spec, rollout="r", image="gateway:v2")
    draws = Draws(scenario_of(spec, plan).scene, [5])
    parts = {Role.BASELINE: Part(0.9), Role.CANARY: Part(0.1)}
    recording, counted = Recording(path), draws.nothing()
    recording.begin(plan)
    for poll in range(120):
        counted.add(draws.draw(5.0, parts))
        recording.write_sample(poll * 5.0, 0, {role: told(draws.layout, counted, role, poll * 5.0) for role in parts})


@pytest.mark.parametrize("inject", [(), ("error_rate x3",)])
def test_the_example_is_simulated_with_nothing_else(pytester, monkeypatch, inject):
    """`pytest rollouts/ --canary-simulate`, as the page says."""
    monkeypatch.chdir(ROOT)
    state = pytester.path / "state"
    result = pytester.runpytest_inprocess(
        *("-p", "no:cacheprovider", f"--rootdir={ROOT}", str(ROOT / "rollouts"), "--canary-simulate"),
        *(f"--canary-inject={one}" for one in inject),
        f"--canary-state={state}",
    )

    assert result.ret == (1 if inject else 0)
    assert ("rolled back" if inject else "promoted") + " in simulation (local)" in result.stdout.str()
    assert os.listdir(state / "inference-gateway") == ["local.simulated"]
