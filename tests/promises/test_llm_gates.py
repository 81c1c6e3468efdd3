"""What an LLM service is judged by: each gate finds its own defect, and lets a build that is the same pass."""

import json

import pytest

BOTH = "error_rate: {ratio: 1.5}\n  latency_p99: {ratio: 1.2}"

BAD = (
    *("refuses", "errors", "disliked", "invents", "forgets", "rambles", "stutters", "queues", "dull", "hot", "leaks"),
    *("tools", "slow-tools", "bad-answers", "dear", "slow"),
)
TAGS = ("v1", "v2", *(f"v2-{bad}" for bad in BAD))


def by_tag(good, **bad):
    """``{v1: good, ..., v2-dull: bad}``, as YAML."""
    return {tag: bad.get(tag.removeprefix("v2-").replace("-", "_"), good) for tag in TAGS}


COUNTS = {
    "refusals": by_tag(0.01, refuses=0.2),
    "feedback": 0.5,
    "feedback_negative": by_tag(0.05, disliked=0.25),
    "hallucinations": by_tag(0.02, invents=0.3),
    "cache_queries": 400,
    "cache_hits": by_tag(240, forgets=80),
    "input_tokens": 500,
    "cached_input_tokens": 100,
    "output_tokens": by_tag(200, rambles=900, dear=300),
    "tool_calls": 2,
    "tool_errors": by_tag(0.02, tools=0.6),
    "answers_good": by_tag(0.9, bad_answers=0.5),
}
VALUES = {
    "itl": by_tag(0.02, stutters=0.06),
    "queue_time": by_tag(0.1, queues=0.5),
    "quality": by_tag(0.9, dull=0.6),
    "tool_seconds": by_tag(1, slow_tools=4),
}
GAUGES = {
    "gpu_utilisation": by_tag(0.5, hot=0.95),
    "gpu_memory": by_tag(0.75, leaks=0.99),
    "gpu_bytes": by_tag(6e10, leaks=7.9e10),
}


def source(counts=COUNTS, values=VALUES, **more):
    """Options of the memory source that counts all of it."""
    told = {"counts": counts, "values": values, "gauges": GAUGES, **more}
    return ", ".join(f"{name}: {json.dumps(value)}" for name, value in told.items())


SOURCE = source()
LLM = source(
    {**COUNTS, "cost": by_tag(10, dear=20)}, {**VALUES, "output_tokens": by_tag(200, rambles=900)},
    latency=by_tag(0.05, slow=0.2),
)  # fmt: skip
RARE = source({**COUNTS, "feedback": 0.01, "feedback_negative": 0.001})
"""One request in a hundred is judged by its user."""


def gated(project, gates, metrics=SOURCE, **replace):
    """The memory world with all an LLM service counts, and these gates."""
    return project.write(metrics=metrics, replace={BOTH: gates, **replace})


GATES = [
    ("refusal_rate", "{ratio: 2}", "v2-refuses"),
    ("error_or_refusal_rate", "{ratio: 2}", "v2-refuses"),
    ("error_or_refusal_rate", "{ratio: 2}", "v2-errors"),
    ("feedback_negative_rate", "{ratio: 1.5}", "v2-disliked"),
    ("feedback_negative_rate", "{max: 20%}", "v2-disliked"),
    ("hallucination_rate", "{max: 5%}", "v2-invents"),
    ("cache_hit_rate", "{ratio: 1.2}", "v2-forgets"),
    ("cache_hit_rate", "{min: 50%}", "v2-forgets"),
    ("output_tokens", "{ratio: 1.2}", "v2-rambles"),
    ("output_tokens", "{max: 400}", "v2-rambles"),
    ("output_tokens", "{delta: 100}", "v2-rambles"),
    ("inter_token_latency_p95", "{ratio: 1.5}", "v2-stutters"),
    ("inter_token_latency_p99", "{max: 50ms}", "v2-stutters"),
    ("queue_time", "{ratio: 1.5}", "v2-queues"),
    ("queue_time", "{max: 300ms}", "v2-queues"),
    ("queue_time_p95", "{ratio: 1.5}", "v2-queues"),
    ("quality", "{min: 0.8}", "v2-dull"),
    ("quality", "{delta: 0.05}", "v2-dull"),
    ("gpu_utilisation", "{max: 80%}", "v2-hot"),
    ("gpu_memory", "{ratio: 1.2}", "v2-leaks"),
    ("gpu_memory", "{max: 90%}", "v2-leaks"),
    # a user's own, of each form
    ("tool_error_rate", "{metric: {counter: tool_errors, total: tool_calls}, better: lower, ratio: 2}", "v2-tools"),
    ("tool_errors_each", "{metric: {mean: [tool_errors, tool_calls]}, better: lower, ratio: 2}", "v2-tools"),
    ("slow_tools", "{metric: {histogram: tool_seconds, quantile: 0.95}, better: lower, ratio: 2}", "v2-slow-tools"),
    ("tool_time", "{metric: {histogram: tool_seconds, unit: seconds}, better: lower, max: 2s}", "v2-slow-tools"),
    ("memory", "{metric: {gauge: gpu_bytes, unit: bytes}, better: lower, max: 7e10}", "v2-leaks"),
    ("good_answers", "{metric: {counter: answers_good}, better: higher, min: 80%}", "v2-bad-answers"),
]


@pytest.mark.parametrize(("gate", "limits", "bad"), GATES)
def test_the_gate_finds_its_defect_and_no_other(project, gate, limits, bad):
    """The failing row names it, and users have their old build back."""
    run = gated(project, f"{gate}: {limits}").run(image=f"gateway:{bad}")

    assert run.exit == 1, run.out
    assert {row.partition("[")[0] for row, end in run.rows.items() if end == "failed"} >= {gate}
    assert not run.did("promote")
    assert run.shifts[-1] == 0.0


def test_a_build_that_is_the_same_passes_all_of_them(project):
    """Every gate at once, and none is a false alarm."""
    gates = {name: limits for name, limits, _ in GATES}
    run = gated(project, "\n  ".join(f"{name}: {limits}" for name, limits in gates.items())).run()

    assert run.exit == 0, run.out
    assert run.did("promote")


def test_a_metric_of_ones_own_is_known_to_marks_and_checks(project):
    """Declared in Python, and asked again from inside a body with another limit."""
    source = """
        import pytest

        TOOLS = {"counter": "tool_errors", "total": "tool_calls"}

        @pytest.mark.gate("tool_error_rate", metric=TOOLS, better="lower", ratio=2)
        def test_tools_work(stage):
            stage.check("tool_error_rate", max=0.5)
    """
    good = project.write(metrics=SOURCE, test_tools=source).run()
    bad = project.run("--canary-state=elsewhere", image="gateway:v2-tools")

    assert good.exit == 0, good.out
    assert bad.exit == 1
    assert "tool_error_rate[5%]: canary " in bad.out


def test_the_sum_of_errors_and_refusals_shows_both_parts(project):
    """A number that is a sum hides what to look for."""
    run = gated(project, "error_or_refusal_rate: {ratio: 2}").run(image="gateway:v2-refuses")
    said = next(run.messages[row] for row, end in run.rows.items() if end == "failed" and "refusal" in row)

    assert "; of these canary " in said
    assert " errors and " in said
    assert " refusals, baseline " in said


def test_where_more_is_better_misses_are_judged_and_said(project):
    """A hit rate of 60 % that falls to 20 % is a miss rate of 40 % that doubles."""
    run = gated(project, "cache_hit_rate: {ratio: 1.2}").run(image="gateway:v2-forgets")

    assert "misses: canary 0.8 (mean of " in run.out
    assert "against baseline 0.4 (mean of " in run.out


def test_what_the_source_does_not_count_is_refused_before_anything_is_deployed(project):
    """With the name of the counter, in one line."""
    run = gated(project, "refusal_rate: {ratio: 2}", metrics="before: 1000").run()

    assert run.exit == 1
    assert not run.did("deploy")
    assert "refusal_rate cannot be judged: the source does not count `refusals`; drop the gate, or mend" in run.out


# presets


@pytest.mark.parametrize(
    ("bad", "gate"),
    [
        ("v2-dear", "cost_per_request"),
        ("v2-refuses", "error_or_refusal_rate"),
        ("v2-rambles", "output_tokens"),
        ("v2-disliked", "feedback_negative_rate"),
    ],
)
def test_one_line_declares_five_gates_for_an_llm(project, bad, gate):
    """Each of them finds its defect."""
    run = gated(project, BOTH, LLM, **{f"gates:\n  {BOTH}": "gates: llm"}).run(image=f"gateway:{bad}")

    assert run.exit == 1, run.out
    assert {row.partition("[")[0] for row, end in run.rows.items() if end == "failed"} == {gate}


def test_a_good_build_passes_the_llm_preset(project):
    """Five gates at four stages."""
    run = gated(project, BOTH, LLM, **{f"gates:\n  {BOTH}": "gates: llm"}).run()
    asked = {row.partition("[")[0] for row in run.rows if row.endswith("[100%]")}

    assert run.exit == 0, run.out
    assert asked >= {
        "latency_p99", "cost_per_request", "error_or_refusal_rate", "output_tokens", "feedback_negative_rate",
    }  # fmt: skip


def test_a_slow_build_fails_the_llm_preset_at_its_percentiles(project):
    """Median, p95 and p99, in one gate."""
    run = gated(project, BOTH, LLM, **{f"gates:\n  {BOTH}": "gates: llm"}).run(image="gateway:v2-slow")

    assert run.exit == 1
    assert any(run.rows.get(f"latency_p99[{stage}%]") == "failed" for stage in (5, 25, 50))


@pytest.mark.parametrize(
    ("bad", "failed", "alerts"),
    [
        ("v2-dull", {"quality"}, set()),
        ("v2-invents", {"hallucination_rate"}, set()),
        ("v2-errors", {"error_rate"}, set()),
        ("v2-dear", set(), {"cost_per_request"}),
    ],
)
def test_the_model_quality_preset_rolls_back_for_quality_and_only_warns_of_cost(project, bad, failed, alerts):
    """A dearer model may be wanted; a worse one is not."""
    few_errors = {"v1: 0.01, v2: 0.01, v2-errors: 0.3}": "v2-errors: 0.3}"}
    project.write(metrics=LLM, replace={f"gates:\n  {BOTH}": "gates: model-quality", **few_errors})
    run = project.run(image=f"gateway:{bad}")

    assert {row.partition("[")[0] for row, end in run.rows.items() if end == "failed"} == failed
    assert run.exit == bool(failed), run.out
    assert {row.partition("[")[0] for row, text in run.messages.items() if "alert: " in text} >= alerts


def test_a_gate_of_a_preset_that_nobody_counts_is_refused_with_what_to_write(project):
    """A gate that is silently left out would be believed to have passed."""
    run = gated(project, BOTH, "before: 1000", **{f"gates:\n  {BOTH}": "gates: llm"}).run()

    assert run.exit == 1
    assert not run.did("deploy")
    assert "`feedback_negative_rate: off` under `gates` leaves it out of `llm`" in run.out


def test_entries_of_a_preset_are_changed_and_switched_off(project):
    """What is written beside it wins."""
    gates = "gates: {preset: llm, cost_per_request: {ratio: 3}, feedback_negative_rate: off}"
    run = gated(project, BOTH, LLM, **{f"gates:\n  {BOTH}": gates}).run(image="gateway:v2-dear")

    assert run.exit == 0, run.out
    assert not any("feedback" in row for row in run.rows)


# cost


@pytest.mark.parametrize(("bad", "exit_code"), [("v2", 0), ("v2-dear", 1)])
def test_tokens_are_priced_where_the_source_counts_no_cost(project, bad, exit_code):
    """Output is dearer than input: half as many tokens again are more than 20 % of the bill."""
    gates = "cost_per_request: {ratio: 1.2}\ncost: {prices: {m: {input: 1, cached_input: 0.1, output: 4}}}"
    run = gated(project, gates).run(image=f"gateway:{bad}")

    assert run.exit == exit_code, run.out
    failed = {row.partition("[")[0] for row, end in run.rows.items() if end == "failed"}
    assert failed == ({"cost_per_request"} if exit_code else set())


def test_without_prices_cost_is_refused_with_the_line_to_write(project):
    """No price is made up: between models, relative prices differ by ten times and more."""
    run = gated(project, "cost_per_request: {ratio: 1.2}", f"before: 1000, {SOURCE}").run()

    assert run.exit == 1
    assert not run.did("deploy")
    assert "write `cost: {prices: prices.yaml}` to have its tokens priced" in run.out


# late


def test_a_stage_waits_for_feedback_that_comes_late(project):
    """Hold and lag; and what came in the lag is no feedback on this stage."""
    gates = "feedback_negative_rate: {ratio: 1.5, lag: 30s}"
    run = gated(project, gates).run("--canary-set", "stages=25,100")

    assert run.exit == 0, run.out
    assert 40 <= seconds_of(project, "hold[25%]") < 60


def test_without_a_lag_the_stage_ends_with_its_hold(project):
    """Ten seconds, and what it takes to see the split."""
    run = gated(project, "feedback_negative_rate: {ratio: 1.5}").run("--canary-set", "stages=25,100")

    assert run.exit == 0, run.out
    assert seconds_of(project, "hold[25%]") < 20


def test_bad_feedback_that_comes_late_still_rolls_back(project):
    """It is looked at from the lag on, at every poll."""
    run = gated(project, "feedback_negative_rate: {ratio: 1.5, lag: 30s}").run(image="gateway:v2-disliked")

    assert run.exit == 1
    assert any(run.rows.get(f"feedback_negative_rate[{stage}%]") == "failed" for stage in (5, 25))


def test_too_little_feedback_is_never_a_pass(project):
    """The deadline ends it, and the sentence says how much was missing."""
    run = gated(project, "feedback_negative_rate: {ratio: 1.5}", RARE).run()

    assert run.exit == 1
    assert "needs 20 feedback, has " in run.out


def test_too_little_feedback_of_a_gate_that_only_alerts_holds_nobody_up(project):
    """It says so, and the rollout goes on."""
    gates = "error_rate: {ratio: 1.5}\n  feedback_negative_rate: {ratio: 1.5, lag: 60s, action: alert}"
    run = gated(project, gates, RARE).run()

    assert run.exit == 0, run.out
    assert seconds_of(project, "hold[5%]") < 20


def test_the_deadline_must_leave_time_for_what_comes_late(project):
    """Said before anything is deployed, with the line."""
    run = gated(project, "feedback_negative_rate: {ratio: 1.5, lag: 10m}").run()

    assert run.exit == 4
    assert "feedback_negative_rate.lag: stage 5% takes 610 s, hold and lag; its deadline is 120 s" in run.out


def seconds_of(project, row):
    """How long a step of the last run took."""
    found = sorted((project.pytester.path / ".pytest_canary").rglob("reports/*.json"), key=lambda p: p.stat().st_mtime)
    return {step["name"]: step["seconds"] for step in json.loads(found[-1].read_text())["steps"]}[row]
