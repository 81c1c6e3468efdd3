"""`probe: {rate: 2}`: what no metric tells, the builds are asked; under names of its own, never instead of users."""

import json
import re

import pytest

from pytest_canary.ports import Role
from pytest_canary.recording import Event, Recorded, read

GATES = "gates:\n  error_rate: {ratio: 1.5}\n  latency_p99: {ratio: 1.2}"
ASKED = "prompts.jsonl"
PROMPTS = '{"prompt": "The capital of France?", "stream": true}\n{"prompt": "Two and two?"}\n'
PROBED = "probe_error_rate: {ratio: 1.5}\n  probe_ttft_p99: {ratio: 1.3}\n  probe_refusal_rate: {ratio: 2}"


@pytest.fixture
def probed(project):
    """The memory world, whose own metrics say nothing of what is wrong with a build, and probes."""

    def write(gates=PROBED, probe="rate: 10", builds="", metrics="", **replace):
        more = {GATES: f"gates:\n  error_rate: {{ratio: 1.5}}\n  {gates}", **replace}
        told = f"probe: {{memory: {{{builds}}}, {probe}, prompts: {ASKED}}}" if probe else "probe: {memory: {}}"
        project.write(metrics=metrics, replace={"probe: {memory: {}}": told, **more})
        (project.pytester.path / "rollouts/gateway" / ASKED).write_text(PROMPTS)
        return project

    return write


def failed(run):
    """The gates that failed."""
    return {row.partition("[")[0] for row, end in run.rows.items() if end == "failed" and "[" in row} - {"hold"}


def report(project):
    """The last run's report for programs."""
    found = sorted((project.pytester.path / ".pytest_canary").rglob("reports/*.json"), key=lambda p: p.stat().st_mtime)
    return json.loads(found[-1].read_text())


@pytest.mark.parametrize(
    ("gate", "builds"),
    [
        ("probe_ttft_p99: {ratio: 1.3}", "slow: {v2: 3}"),
        ("probe_latency_p95: {max: 50ms}", "slow: {v2: 3}"),
        ("probe_inter_token_latency: {ratio: 1.5}", "slow: {v2: 3}"),
        ("probe_error_rate: {ratio: 1.5}", "truncates: {v2: 3}"),
        ("probe_refusal_rate: {ratio: 2}", "refuses: {v2: I cannot help with that.}"),
        ("probe_output_tokens: {ratio: 1.2}", "wordy: {v2: 2}"),
        (
            "cut_answers: {metric: {counter: probe.truncated, total: probe.requests}, better: lower, max: 5%}",
            "truncates: {v2: 3}",
        ),
    ],
)
def test_what_no_metric_tells_is_caught_by_asking(probed, gate, builds):
    """A build that answers users' metrics well and its askers badly goes back, by the gate that names the harm."""
    run = probed(gate, builds=builds).run()

    assert run.exit == 1, run.out
    assert failed(run) == {gate.partition(":")[0]}
    assert run.shifts[-1] == 0.0
    assert not run.did("promote")


def test_without_probes_the_same_build_is_promoted(probed):
    """The other half of the promise: the metrics alone see nothing."""
    run = probed("latency_p99: {ratio: 1.2}", builds="slow: {v2: 3}, truncates: {v2: 3}").run()

    assert run.exit == 0, run.out
    assert "warning: probes are sent and no gate is about them; add probe_error_rate" in run.out


def test_a_build_that_is_the_same_passes_every_gate_of_the_probes(probed):
    """Also where both builds are as bad as each other."""
    run = probed(builds="truncates: {v1: 20, v2: 20}").run()

    assert run.exit == 0, run.out
    assert run.rows["probe_ttft_p99[5%]"] == "passed"


def test_both_builds_are_compared_at_a_hundred_per_cent_too(probed):
    """Users are all on the canary then; the old build still answers whoever asks it."""
    run = probed("probe_error_rate: {ratio: 1.5}").run()

    assert "not compared" not in run.messages["probe_error_rate[100%]"]
    assert " against baseline 0/" in run.messages["probe_error_rate[100%]"]
    assert re.search(r"stage 5% +5\d canary requests; ", run.out), "users, and not a hundred probes"


def test_the_sentence_says_who_counted_and_which_faults(probed):
    """Nobody shall look for these in the dashboards of users."""
    run = probed("probe_error_rate: {ratio: 1.5}", builds="truncates: {v1: 50, v2: 3}").run()
    said = run.messages["probe_error_rate[5%]"]

    assert "; of these canary " in said
    assert " truncated, baseline " in said
    assert "counted by probes" in said
    assert "stream error" not in said


def test_the_report_tells_what_the_probes_of_each_build_saw(probed):
    """For people and for programs."""
    project = probed("probe_error_rate: {ratio: 1.5}", builds="truncates: {v2: 3}")
    run = project.run()
    told = report(project)["probes"]

    assert told["canary"]["faults"] == {"truncated": told["canary"]["answered"] // 3}
    assert told["canary"]["first_fault"].startswith("truncated: the answer was cut short")
    assert told["baseline"]["faults"] == {}
    assert told["baseline"]["answered"] == told["canary"]["answered"] > 20
    assert {verdict["gate"]: verdict["of"] for verdict in report(project)["verdicts"]} == {
        "error_rate": "requests", "probe_error_rate": "probes",
    }  # fmt: skip
    assert "probes ended" in run.out


def test_users_and_probes_never_share_a_number(probed):
    """In the recording each has its own names."""
    project = probed("probe_error_rate: {ratio: 1.5}", builds="truncates: {v2: 3}")
    project.run()
    last = _looks(project)[-1].samples[Role.CANARY].counters

    assert last["probe.truncated"] > 0
    assert last["probe.requests"] > last["requests"] > 0
    assert last["errors"] == 0


def _recorded(project):
    found = next((project.pytester.path / ".pytest_canary").rglob("recordings/*.jsonl"))
    return list(read(found)[1])


def _looks(project):
    return [line for line in _recorded(project) if isinstance(line, Recorded) and line.poll == "look"]


def test_a_copy_of_the_stable_build_is_asked_as_well(probed):
    """Where a control takes part, gates compare with it."""
    project = probed("probe_error_rate: {ratio: 1.5}", **{"warmup: 0s": "warmup: 0s\ncontrol: true"})
    run = project.run()
    told = report(project)["probes"]

    assert run.exit == 0, run.out
    assert told["control"]["answered"] == told["canary"]["answered"]


def test_where_pods_start_anew_these_are_asked_too(probed):
    """On the way back the promoted build is compared with the canary that was proven, by fresh probes of both."""
    project = probed("probe_error_rate: {ratio: 1.5}", **{"memory: {store": "memory: {rebuilds: true, store"})
    run = project.run("--canary-set", "stages=50,100")
    sides = [verdict["side"] for verdict in report(project)["verdicts"] if verdict["gate"] == "probe_error_rate"]
    looks = [look.samples[Role.CANARY] for look in _looks(project)]
    asked = [sample.counters["probe.requests"] for sample in (looks[0], looks[-1])]

    assert run.exit == 0, run.out
    assert sides == ["canary", "canary", "stable", "stable"]
    assert asked[1] - asked[0] > 400


@pytest.mark.parametrize(("builds", "gate"), [("", ""), ("wordy: {v2: 2}", "probe_output_tokens")])
def test_one_line_declares_five_gates_of_probes(probed, builds, gate):
    """Beside what users have."""
    both = "gates: {preset: probes, error_rate: {ratio: 1.5}}"
    project = probed("latency_p99: {ratio: 1.2}", builds=builds)
    file = project.pytester.path / "rollouts/gateway/rollout.yaml"
    file.write_text(re.sub(r"gates:\n(  .*\n)+", f"{both}\n", file.read_text(), count=1))
    run = project.run()

    assert failed(run) == ({gate} if gate else set()), run.out
    assert run.exit == bool(gate)


def test_prices_make_a_cost_of_the_probes_tokens(probed):
    """No metric counts them, and still a build that talks twice as long is dearer."""
    prices = "probe_cost_per_request: {ratio: 1.2}\ncost: {prices: {m: {input: 1, output: 4}}}"
    bad = probed(prices, builds="wordy: {v2: 2}").run()

    assert failed(bad) == {"probe_cost_per_request"}
    assert probed(prices).run("--canary-state=elsewhere").exit == 0


def test_gates_about_probes_alone_draw_a_warning(probed):
    """A build may fail every user, and answer whoever asks it."""
    gates = {"error_rate: {ratio: 1.5}": "probe_error_rate: {ratio: 1.5}"}
    run = probed("probe_latency_p95: {ratio: 1.3}", **gates).run()

    assert "warning: all gates are about probes: a build that fails users alone would pass; add error" in run.out


# what cannot be


@pytest.mark.parametrize("gate", ["probe_error_rate: {ratio: 1.5}", "probe_ttft_p99: {ratio: 1.3}"])
def test_probes_that_nobody_can_answer_are_refused(probed, gate):
    """A key that is missing fails all probes of both builds, and no canary could be worse than that."""
    run = probed(gate, builds="truncates: {v1: 1, v2: 1}").run()

    assert run.exit == 1
    assert run.shifts[-1:] in ([], [0.0])
    assert "50 of 50 probes of the baseline had a fault (first: truncated: the answer was cut short" in run.out


def test_a_gate_without_probes_is_refused_with_its_line(probed):
    """Before anything is deployed."""
    run = probed("probe_ttft_p99: {ratio: 1.3}", probe="").run()

    assert run.exit == 4
    assert "rollout.yaml:12: probe_ttft_p99 is counted by probes, and none are sent; write `probe: {rate: 2" in run.out


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        ("rate: 2", "probe.rate: 2 per second are 10 probes in a `baseline.window` of 5 s, and a gate needs 20; write"),
        ("rate: 0", "probe.rate: found '0', expected"),
        ("rate: 10, concurrency: 0", "probe.concurrency: found '0', expected"),
        ("rat: 10", "probe: found key 'rat', did you mean rate?"),
        ("concurrency: 2", "probe.concurrency is for probes, and none are sent"),
    ],
)
def test_what_probes_cannot_be_is_said_in_one_line(probed, probe, says):
    """With what to write."""
    run = probed("probe_error_rate: {ratio: 1.5}", probe=probe).run()

    assert run.exit == 4, run.out
    assert says in run.out
    assert not run.acts


def test_probes_need_prompts(probed):
    """Nothing is asked in their name."""
    project = probed("probe_error_rate: {ratio: 1.5}")
    file = project.pytester.path / "rollouts/gateway/rollout.yaml"
    file.write_text(file.read_text().replace(f", prompts: {ASKED}", ""))
    run = project.run()

    assert run.exit == 4
    assert "probes have nothing to ask" in run.out


def test_probes_alone_are_no_metrics(probed):
    """Whether users reach the canary at all, nobody would know."""
    project = probed()
    file = project.pytester.path / "rollouts/gateway/rollout.yaml"
    file.write_text(re.sub("metrics: .*", "metrics: {probe: {}}", file.read_text()))
    run = project.run()

    assert run.exit == 4
    assert "probes cannot be the only metrics: nobody would count users" in run.out


def test_what_answers_do_not_say_is_never_a_pass(probed):
    """Without a stream there is no first token, and the line says what to ask."""
    project = probed("probe_ttft_p99: {ratio: 1.3}")
    (project.pytester.path / "rollouts/gateway" / ASKED).write_text('{"prompt": "Two and two?"}\n')
    run = project.run()

    assert run.exit == 1
    assert "`probe.ttft` is empty; ask for streams, which have a first token" in run.out
    assert max(run.shifts, default=0.0) == 0.0


def test_a_check_in_a_test_may_be_about_probes(probed):
    """With its own limit, from the middle of a stage."""
    project = probed("probe_latency_p99: {ratio: 3}", builds="truncates: {v2: 3}")
    source = 'def test_whole_answers(stage):\n    stage.check("probe_error_rate", max=0.05)\n'
    (project.pytester.path / "rollouts/gateway/test_own.py").write_text(source)
    run = project.run()

    assert run.exit == 1
    assert "probe_error_rate" in run.messages["test_whole_answers[5%]"]


# sources that count probes as users

TOO = "counts_probes: true"


def test_probes_that_the_source_takes_for_users_do_not_disturb_the_split(probed):
    """Two a second to each build are a third of what a canary of 5 % seems to have; the split is still the one set."""
    run = probed("probe_error_rate: {ratio: 1.5}", probe="rate: 4", metrics=TOO).run()

    assert run.exit == 0, run.out
    assert "the metrics count probes as requests of users" in run.messages["baseline"]
    assert "at 5% they are about 44% of what is counted at the canary" in run.messages["baseline"]


def test_probes_are_no_users_for_min_requests(probed):
    """A stage that wants 100 users gets them."""
    project = probed("probe_error_rate: {ratio: 1.5}", probe="rate: 4", metrics=TOO)
    run = project.run("--canary-set", "min_requests=100", "--canary-set", "stages=5,100")
    events = [line for line in _recorded(project) if isinstance(line, Event)]
    began, held = ([event.at for event in events if event.kind == kind] for kind in ("weights", "held"))

    assert run.exit == 0, run.out
    assert held[0] - began[0] >= 100 / 5


def test_more_probes_than_users_are_refused(probed):
    """Every other gate would be about probes."""
    run = probed("probe_error_rate: {ratio: 1.5}", probe="rate: 10", metrics=TOO).run()

    assert run.exit == 1
    assert "leave out requests with the header x-canary-probe there, or lower `probe.rate` to 1.2" in run.out
    assert max(run.shifts, default=0.0) == 0.0
