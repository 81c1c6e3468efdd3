"""A load tool's result file as the baseline: what it holds is a limit, what it does not hold is compared live."""

import json
from pathlib import Path

import pytest

BOTH = "error_rate: {ratio: 1.5}\n  latency_p99: {ratio: 1.2}"
BASELINE = "{revision: stable, window: 5s, min_requests: 50}"
SUMMARY = {
    "date": "20261002-141500",
    "backend": "openai-chat",
    "model_id": "llama",
    "num_prompts": 1000,
    "request_rate": 10.0,
    "max_concurrency": None,
    "duration": 101.3,
    "completed": 1000,
    "failed": 0,
    "total_input_tokens": 500_000,
    "total_output_tokens": 200_000,
    "mean_ttft_ms": 22.6,
    "median_ttft_ms": 20.0,
    "p99_ttft_ms": 64.0,
    "mean_tpot_ms": 20.0,
    "mean_itl_ms": 20.0,
    "median_itl_ms": 20.0,
    "p99_itl_ms": 24.0,
    "mean_e2el_ms": 57.0,
    "median_e2el_ms": 50.0,
    "p99_e2el_ms": 160.0,
}
"""What vLLM's client sees of the memory world: ttft and latency are lognormal around 20 and 50 ms."""
FACTS = "results/bench.json (vllm bench serve, 2026-10-02, 1,000 requests, 10/s, model llama)"
SOURCE = (
    "counts: {output_tokens: {v1: 200, v2: 200, v2-slow: 200, v2-errors: 200, v2-chatty: 400}}, "
    "latency: {v2-slow: 0.2, v1: 0.05, v2: 0.05, v2-errors: 0.05, v2-chatty: 0.05}, "
    "ttft: {v2-slow: 0.2, v1: 0.02, v2: 0.02, v2-errors: 0.02, v2-chatty: 0.02}"
)


@pytest.fixture
def measured(project):
    """The memory world with these gates, and a result file beside them."""

    def measured(gates, summary=SUMMARY, *, beside="", metrics=SOURCE, model="llama", tests=None, **replace):
        told = f"baseline: {{file: results/bench.json{beside}, window: 5s, min_requests: 200}}"
        changes = {f"baseline: {BASELINE}": told, BOTH: gates, **replace}
        project.write(metrics=metrics, platform=f"model: {model}", replace=changes, **(tests or {}))
        folder = project.log.parent / "results"
        folder.mkdir(exist_ok=True)
        (folder / "bench.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))
        return project

    return measured


GATES = [
    ("ttft_p99", "{ratio: 1.5}", "v2-slow", "the limit is 1.5x of 64 ms in"),
    ("latency_p99", "{ratio: 1.2}", "v2-slow", "the limit is 1.2x of 160 ms in"),
    ("latency", "{delta: 20ms}", "v2-slow", "the limit is 20 ms above 57 ms in"),
    ("output_tokens", "{ratio: 1.2}", "v2-chatty", "the limit is 1.2x of 200 tokens in"),
    ("ttft_p99", "{ratio: 1.5, decide: threshold}", "v2-slow", "the limit is 1.5x of 64 ms in"),
]


@pytest.mark.parametrize(("name", "limits", "defect", "says"), GATES)
def test_a_build_that_is_worse_than_the_file_is_rolled_back(measured, name, limits, defect, says):
    """And the sentence says where the limit comes from, how it was measured, and when."""
    run = measured(f"{name}: {limits}").run(image=f"gateway:{defect}")

    assert run.exit == 1
    assert max(run.shifts) == 0.05
    assert f"{says} {FACTS}" in run.messages[f"{name}[5%]"]


def test_a_build_that_is_as_good_as_the_file_is_promoted(measured):
    """Judged at every stage, the last one too, where nothing is left to compare with."""
    gates = "\n  ".join(f"{name}: {limits}" for name, limits, *_ in GATES[:-1])
    run = measured(gates).run()

    assert run.exit == 0
    assert [share for share in run.shifts if share] == [0.05, 0.25, 0.5, 1.0]
    assert f"1.5x of 64 ms in {FACTS}" in run.messages["ttft_p99[100%]"]


def test_a_file_does_not_move_with_the_stable_build(measured):
    """A relative gate at 100 % has nobody beside it; a file is there."""
    run = measured("output_tokens: {ratio: 1.2}", **{"stages: [5, 25, 50, 100]": "stages: [100]"}).run(
        image="gateway:v2-chatty"
    )

    assert run.exit == 1
    assert run.shifts[-2:] == [1.0, 0.0]


def test_the_plan_says_what_is_held_against_the_file_and_what_is_not(measured):
    """Before anything is deployed: which number, which gates stay live, why, and what to type."""
    run = measured("ttft_p99: {ratio: 1.5}\n  ttft_p95: {ratio: 1.5}\n  output_tokens: {shift: 0.1}").run(image=None)

    assert "ttft_p99 at most 0.096 (1.5x of 64 ms in results/bench.json)" in run.out
    assert f"canary baseline: ttft_p99 against {FACTS}; against the live stable build: ttft_p95 (the summary" in run.out
    assert "type `--metric-percentiles 50,90,95,99`, or `--save-detailed`" in run.out
    assert "output_tokens (a shift needs the counts of both sides)" in run.out
    assert run.acts == []


def test_what_the_file_lacks_is_compared_live(measured):
    """A gate is not lost because a file has no number for it."""
    run = measured("ttft_p99: {ratio: 1.5}\n  ttft_p90: {ratio: 1.5}").run()

    assert run.exit == 0
    assert "results/bench.json" not in run.messages["ttft_p90[5%]"]
    assert "baseline" in run.messages["ttft_p90[5%]"]


def test_a_run_without_failures_allows_the_floor(measured):
    """None of a thousand is no proof of none at all; the file's error rate is taken as the gate's floor."""
    fewer = {"error_rate: {v1: 0.01, v2: 0.01, ": "error_rate: {v1: 0.001, v2: 0.001, "}
    run = measured("error_rate: {ratio: 15}", **fewer).run(image="gateway:v2-errors")

    assert run.exit == 1
    said = f"the limit is 15x of 0.10% (`floor`; 0.00% of 1,000 failed) in {FACTS}"
    assert said in run.messages["error_rate[5%]"]


def test_a_stable_build_that_does_not_keep_the_limit_ends_the_rollout(measured):
    """Another machine or more traffic: the canary would be rolled back for what every build does there."""
    run = measured("latency_p99: {ratio: 1.2}", {**SUMMARY, "p99_e2el_ms": 80.0}).run()

    assert run.exit == 1
    assert not any(run.shifts)
    assert "the stable build itself is at 160 ms, which does not keep 1.2x of 80 ms in results/bench.json" in run.out


def test_a_file_that_is_much_worse_than_today_says_how_much_harm_would_pass(measured):
    """It was measured under load, or before an improvement."""
    run = measured("latency_p99: {ratio: 1.2}", {**SUMMARY, "p99_e2el_ms": 800.0}).run()

    assert run.exit == 0
    assert "the stable build is at 160 ms now, so 1.2x of 800 ms in results/bench.json lets a canary pass" in run.out


def test_a_file_with_many_more_failures_than_today_says_how_many_would_pass(measured):
    """Else a build at which a third of all requests fail would be promoted without a word."""
    run = measured("error_rate: {ratio: 1.5}", SUMMARY | {"completed": 800, "failed": 200}).run()

    assert "the stable build is at 1.00% now, so 1.5x of 20.00% in results/bench.json lets a canary pass at" in run.out
    assert "at which 30.00% fail; measure it again" in run.out


def test_buckets_that_cannot_tell_the_limit_are_said(measured):
    """Nobody should believe in 192 ms where 400 ms are judged."""
    wide = f"{SOURCE}, bounds: [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]"
    run = measured("latency_p99: {delta: 50ms}", metrics=wide).run()

    assert run.exit == 0
    assert "latency_p99 is judged at 400 ms, not 210 ms: the next bucket boundary lies there" in run.out


def test_a_file_in_another_unit_is_found_out_by_the_stable_build(measured):
    """Minutes in the file look like a slow server, until somebody looks at the real one."""
    run = measured("latency_p99: {ratio: 1.2}", {**SUMMARY, "p99_e2el_ms": 160000.0, "duration": 9000.0}).run()

    assert run.exit == 1
    assert not any(run.shifts)
    assert "far from 1.2x of 160 s in results/bench.json" in run.out
    assert "see the units in the file" in run.out


@pytest.mark.parametrize("served", ["llama", "llama@7", "prod@llama"])
def test_the_model_is_known_by_its_name_or_its_version(measured, served):
    """A tool was told the server's name of it or the folder of its weights; a build says both."""
    assert measured("ttft_p99: {ratio: 1.5}", model=served).run().exit == 0


def test_a_file_of_another_model_is_refused_before_anything_is_deployed(measured):
    """The numbers of another model are another baseline."""
    run = measured("ttft_p99: {ratio: 1.5}", model="qwen").run()

    assert run.exit == 1
    assert "results/bench.json was measured on model llama, and the stable build serves qwen" in run.out
    assert "write `baseline: {file: results/bench.json, model: qwen}`" in run.out
    assert not run.did("deploy")
    assert measured("ttft_p99: {ratio: 1.5}", model="qwen", beside=", model: qwen").run().exit == 0
    assert (
        measured("ttft_p99: {ratio: 1.5}", model="qwen", **{"service: gateway": "service: gateway\nsame_model: false"})
        .run()
        .exit
        == 0
    )


def test_a_file_that_does_not_say_its_model_is_asked_for_it(measured):
    """Unknown is not equal."""
    text = (Path(__file__).parents[1] / "resources/results/aiperf-0.13.jsonl").read_text()
    run = measured("ttft_p99: {ratio: 1.5}", text).run()

    assert run.exit == 1
    assert "results/bench.json does not say which model it was measured on, and unknown is not equal" in run.out
    assert not run.did("deploy")


BAD = [
    ("{", "rollout.yaml:9: results/bench.json: line 1, column 2: is not JSON"),
    ('{"a": 1}', "results/bench.json: is no result of a load tool that is known here (keys a)"),
    ({**SUMMARY, "p99_ttft_ms": float("nan")}, "results/bench.json: p99_ttft_ms: found nan, expected a number"),
    ({**SUMMARY, "completed": 0, "failed": 1000}, "results/bench.json: all 1,000 requests failed; measure again"),
]


@pytest.mark.parametrize(("summary", "said"), BAD, ids=range(len(BAD)))
def test_a_bad_file_is_a_usage_error(measured, summary, said):
    """Never a run without the limit that somebody wanted."""
    run = measured("ttft_p99: {ratio: 1.5}", summary).run()

    assert run.exit == 4
    assert said in run.out
    assert "Traceback" not in run.out
    assert run.acts == []


def test_a_file_that_no_gate_uses_is_a_usage_error(measured):
    """It was meant for something."""
    run = measured("ttft_p95: {ratio: 1.5}").run()

    assert run.exit == 4
    assert "no gate can be held against results/bench.json" in run.out
    assert "ttft_p95: the summary has other percentiles" in run.out


def test_few_requests_are_warned_about(measured):
    """A p99 of a hundred answers is the slowest one."""
    run = measured("ttft_p99: {ratio: 1.5}", {**SUMMARY, "completed": 100, "num_prompts": 100}).run(image=None)

    assert (
        "canary warning: ttft_p99 in results/bench.json: it rests on the slowest one of 100 answers; measure 1,000"
        in run.out
    )


def test_a_check_inside_a_test_is_held_against_the_file_too(measured):
    """One baseline for one number."""
    source = """
        def test_speed(stage):
            stage.check("ttft_p99", ratio=1.5)
    """
    run = measured("output_tokens: {ratio: 1.2}", tests={"test_speed": source}).run(image="gateway:v2-slow")

    assert run.exit == 1
    assert f"1.5x of 64 ms in {FACTS}" in run.messages["test_speed[5%]"]


def test_keys_beside_a_file_that_is_not_there_are_a_usage_error(project):
    """`format` without `file` is a file that was forgotten."""
    run = project.write(replace={BASELINE: "{format: vllm}"}).run()

    assert run.exit == 4
    assert "baseline.format tells of a `file`, and there is none" in run.out
