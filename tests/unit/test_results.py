"""Result files of load tools: what each holds, under our names and in our units; and what is wrong with a bad one.

The files of vLLM 0.11 and 0.32, guidellm 0.8 and aiperf 0.13 are from real runs of their clients against the demo
gateway, with what nobody reads here taken out; those of other versions have the same numbers in the shape that the
code of these versions gives them.
"""

import json
from pathlib import Path

import pytest

from pytest_canary.errors import SpecError
from pytest_canary.results import FORMATS, read_result

FILES = Path(__file__).parents[1] / "resources" / "results"


def result(name, **options):
    """Read one of the files."""
    return read_result(FILES / name, "rollout.yaml:2", name=name, **options)


@pytest.fixture
def wrong(tmp_path):
    """What is said of a file with this text, or of one of the real ones after ``change`` was done to it."""

    def wrong(text=None, *, change=None, of="vllm-0.32-summary.json", **options):
        if text is None:
            data = json.loads((FILES / of).read_text())
            change(data)
            text = json.dumps(data)
        (tmp_path / "bench.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(SpecError) as error:
            read_result(tmp_path / "bench.json", "rollout.yaml:2", name="bench.json", **options)
        said = str(error.value)
        assert said.startswith("rollout.yaml:2: bench.json: ")
        assert "\n" not in said
        return said

    return wrong


V, G, A, OURS = "vllm bench serve, 2026-11-21", "guidellm, 2026-11-21", "aiperf, 2026-11-21", "model demo-llm"
KNOWN = [
    # file, what it is, failed, ttft_p99, mean latency
    ("vllm-0.11-summary.json", f"{V}, 40 requests, 8 at once, {OURS}", 0, 0.0884191, None),
    ("vllm-0.11-detailed.json", f"{V}, 60 requests, 10/s, {OURS}", 0, 0.127034, 0.808073),
    ("vllm-0.32-summary.json", f"{V}, 53 requests, 8 at once, {OURS}", 7, 0.09695, 1.00027),
    ("vllm-0.32-detailed.json", f"{V}, 53 requests, 20/s, {OURS}", 7, 0.0896915, 0.90041),
    ("guidellm-0.3.json", f"{G}, 60 requests, 10/s, {OURS}", 0, 0.107297, 0.857077),
    ("guidellm-0.5.json", f"{G}, 60 requests, 10/s, {OURS}", 0, 0.107297, 0.857077),
    ("guidellm-0.8.json", f"{G}, 60 requests, 10/s, {OURS}", 0, 0.107297, 0.857077),
    ("aiperf-0.1.json", f"{A}, 60 requests, 10/s, {OURS}", 0, 0.126643, 0.903251),
    ("aiperf-0.4.json", f"{A}, 60 requests, 8 at once, {OURS}", 3, 0.126643, 0.903251),
    ("aiperf-0.13.json", f"{A}, 60 requests, 10/s, {OURS}", 0, 0.126643, 0.903251),
    ("aiperf-0.13.jsonl", f"{A}, 20 requests, model not said", 1, None, None),
    ("genai-perf-0.0.16.json", f"genai-perf, undated, 60 requests, 8 at once, {OURS}", None, 0.126643, 0.903251),
]


@pytest.mark.parametrize(("name", "facts", "failed", "ttft", "latency"), KNOWN, ids=[known[0] for known in KNOWN])
def test_every_tool_is_known_by_what_its_file_holds(name, facts, failed, ttft, latency):
    """Of every version whose shape differs: who measured, when, how much, on which model, in seconds."""
    found = result(name)

    assert (found.facts, found.failed) == (facts, failed)
    assert ttft is None or found.figures["ttft_p99"].value == pytest.approx(ttft, rel=1e-4)
    assert latency is None or found.figures["latency"].value == pytest.approx(latency, rel=1e-4)
    assert 11 < found.figures["output_tokens"].value < 13
    assert 7 < found.figures["input_tokens"].value < 9
    assert 0.06 < found.figures["inter_token_latency"].value < 0.1


def test_the_single_requests_of_a_detailed_file_give_every_quantile():
    """The summary has p99 alone unless more was typed; the failed ones in the lists are noughts, and no answers."""
    figures = result("vllm-0.32-detailed.json").figures

    for thing in ("ttft", "latency", "inter_token_latency", "output_tokens", "input_tokens"):
        quantiles = [figures[f"{thing}_p{q}"].value for q in (50, 90, 95, 99)]
        assert quantiles == sorted(quantiles)
        assert quantiles[0] > 0
    assert figures["error_rate"].value == pytest.approx(7 / 60)
    assert figures["output_tokens"].of == 53


def test_lists_and_summary_of_one_run_say_the_same(tmp_path):
    """The lists are in seconds and the summary in ms: the quantiles of the lists are those that vLLM itself wrote."""
    data = json.loads((FILES / "vllm-0.11-detailed.json").read_text())
    told = result("vllm-0.11-detailed.json").figures
    alone = {key: value for key, value in data.items() if not key.endswith("_ms")}
    (tmp_path / "bench.json").write_text(json.dumps(alone))
    figures = read_result(tmp_path / "bench.json", "r", name="bench.json").figures

    for name in ("ttft_p50", "ttft_p99", "latency_p95", "latency", "inter_token_latency_p99"):
        assert figures[name].value == pytest.approx(told[name].value, rel=1e-3), name


def test_records_leave_out_warmup_and_failures():
    """One warm-up request of nine seconds and one that failed are no answers of the run."""
    found = result("aiperf-0.13.jsonl")

    assert found.figures["ttft_p99"].value < 1
    assert found.figures["error_rate"].value == pytest.approx(1 / 21)


@pytest.mark.parametrize(
    ("name", "metric", "said"),
    [
        ("vllm-0.11-summary.json", "ttft_p95", "type `--metric-percentiles 50,90,95,99`, or `--save-detailed`"),
        ("vllm-0.11-summary.json", "latency_p99", "type `--percentile-metrics ttft,tpot,itl,e2el` and `--metric-"),
        ("vllm-0.11-summary.json", "output_tokens_p99", "type `--save-detailed`"),
        ("guidellm-0.8.json", "inter_token_latency_p99", "guidellm knows the mean of each answer"),
        ("genai-perf-0.0.16.json", "error_rate", "measure with aiperf"),
        ("aiperf-0.13.json", "quality", "it holds no such number"),
    ],
)
def test_what_a_file_does_not_hold_is_said_with_what_to_type(name, metric, said):
    """A quantile that nobody asked the tool for is one option away."""
    found = result(name)

    assert metric not in found.figures
    assert said in found.why_not(metric)


def test_old_summaries_that_asked_for_more_than_was_answered_do_not_say_how_many_failed(tmp_path):
    """Fewer may have been sent than were asked for, so the difference is no count of failures."""
    data = json.loads((FILES / "vllm-0.11-summary.json").read_text())
    (tmp_path / "bench.json").write_text(json.dumps({**data, "num_prompts": 50}))
    found = read_result(tmp_path / "bench.json", "r", name="bench.json")

    assert found.failed is None
    assert "--save-detailed" in found.why_not("error_rate")


def test_answers_that_were_not_streamed_have_no_first_token(tmp_path):
    """VLLM writes 0 for what it did not measure; a limit of 0 ms would convict everybody."""
    data = json.loads((FILES / "vllm-0.11-summary.json").read_text())
    data |= {key: 0.0 for key in data if "ttft" in key or "itl" in key or "tpot" in key}
    (tmp_path / "bench.json").write_text(json.dumps(data))
    found = read_result(tmp_path / "bench.json", "r", name="bench.json")

    assert not [name for name in found.figures if name.startswith(("ttft", "inter"))]
    assert found.why_not("ttft_p99") == "its answers were not streamed"


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("guidellm-0.8-sweep.json", "1: concurrent 2 at once; 2: concurrent 4 at once"),
        ("vllm-0.11-appended.json", "1: 2026"),
    ],
)
def test_one_of_several_runs_has_to_be_chosen(name, runs):
    """A sweep has a number for each rate, and none of them is the file's."""
    with pytest.raises(SpecError, match=r"holds 2 runs \(.*say which with `run: 1`") as error:
        result(name)
    assert runs in str(error.value)

    assert result(name, run=2).requests == 10
    with pytest.raises(SpecError, match="holds 2 runs, and `run: 3` was said"):
        result(name, run=3)


def test_what_a_run_was_like_is_said():
    """Requests that the end of a run has cut are in none of its numbers."""
    assert result("guidellm-0.3.json").doubts == ("2 requests were under way when it ended, and are not in it",)


@pytest.mark.parametrize(
    ("quantile", "metric", "said"),
    [
        (0.99, "ttft_p99", "it rests on the slowest one of 60 answers; measure 1,000"),
        (0.5, "ttft_p50", ""),
        (0.0, "latency", ""),
        (0.0, "error_rate", "it rests on 0 failures among 60 requests; measure more"),
    ],
)
def test_few_requests_are_doubted(quantile, metric, said):
    """A p99 of sixty answers is the slowest one of them."""
    assert result("guidellm-0.8.json").doubt(metric, quantile) == said


def test_the_format_is_only_said_to_be_sure():
    """What is told and what is found must agree."""
    for name, kind in (
        ("vllm-0.32-summary.json", "vllm"),
        ("guidellm-0.8.json", "guidellm"),
        ("aiperf-0.13.json", "aiperf"),
    ):
        assert kind in FORMATS
        assert result(name, kind=kind).requests
    with pytest.raises(SpecError, match="is a result of vllm bench serve, and `format: guidellm` was said"):
        result("vllm-0.32-summary.json", kind="guidellm")


TEXTS = [
    (b"", "is empty; expected a result of"),
    (b"<html><body>404</body></html>", "line 1, column 1: is not JSON"),
    (b"Metric,avg,p99\nTTFT,1,2\n", "line 1, column 1: is not JSON"),
    (b"{}", "is no result of a load tool that is known here (dict)"),
    (b"[]", "is no result of a load tool that is known here (list)"),
    (b'{"results": []}', "(keys results); expected a result of `vllm bench serve --save-result`"),
    (b'{"benchmarks": []}', "it has no runs; measure again"),
    (b'{"model_id": "x", "completed": 3, "mean_ttft_ms": 2', "is not JSON: Expecting ',' delimiter (is it cut short?)"),
    (b"\xff\xfe{", "is not UTF-8 text (byte 0)"),
    (b"[" * 100_000, "is not JSON: nested too deeply"),
    (b'{"model_id": "x", "request_throughput": 1}', "found no `completed`; is it a whole result file?"),
    (b'{"metadata": {}, "metrics": {}}\n{"metadata": {}}', "line 2: expected `metadata` and `metrics`, as on line 1"),
]


@pytest.mark.parametrize(("text", "said"), TEXTS, ids=[text[:20].decode("latin-1") for text, _ in TEXTS])
def test_what_is_no_result_is_one_line(wrong, text, said):
    """With the place that named it, and what would have been one."""
    assert said in wrong(text)


def set_(key, value):
    """Do this to a file."""
    return lambda data: data.update({key: value})


def in_metric(key, **values):
    """Do this to a metric of aiperf's file."""
    return lambda data: data[key].update(values)


def in_ms(*keys):
    """A thousand times more."""

    def change(data):
        for key in keys:
            data[key] = [value * 1000 for value in data[key]]

    return change


SUMMARY, DETAILED, AIPERF, GUIDELLM = (
    "vllm-0.32-summary.json",
    "vllm-0.32-detailed.json",
    "aiperf-0.13.json",
    "guidellm-0.8.json",
)
CHANGES = [
    (SUMMARY, set_("p99_ttft_ms", float("nan")), "p99_ttft_ms: found nan, expected a number, 0 or more"),
    (SUMMARY, set_("p99_ttft_ms", float("inf")), "p99_ttft_ms: found inf"),
    (SUMMARY, set_("p99_ttft_ms", -3), "p99_ttft_ms: found -3"),
    (SUMMARY, set_("p99_ttft_ms", "96 ms"), "p99_ttft_ms: found '96 ms', expected a number"),
    (SUMMARY, set_("p99_ttft_ms", 0.096), "ttft_p99: found 9.6e-05 s, sooner than any answer can come; is it"),
    (SUMMARY, set_("p99_ttft_ms", 96000.0), "ttft_p99: found 96 s in a run of 7.26 s; is it in ms where seconds"),
    (SUMMARY, set_("completed", 0), "all 7 requests failed; measure again"),
    (SUMMARY, lambda data: data.update(completed=0, failed=0), "it has no requests; measure again"),
    (SUMMARY, set_("completed", None), "completed: found None, expected a number"),
    (SUMMARY, set_("p99_ttft_ms", 10**400), "p99_ttft_ms: found 1000"),
    (SUMMARY, lambda data: data.update(completed=400, failed=600), "600 of 1,000 requests failed; measure again"),
    (DETAILED, set_("completed", 0), "all 7 requests failed (the first: 'Internal Server Error'); measure again"),
    (DETAILED, in_ms("ttfts"), "ttft_p50 is 56.46 ms in the summary and 56.46 s in the lists of single requests"),
    (DETAILED, set_("itls", [[0.1], None, "x"]), "itls[2]: found 'x', expected a list of numbers"),
    (DETAILED, set_("ttfts", [0.1, float("nan")]), "ttfts[1]: found nan"),
    (AIPERF, in_metric("time_to_first_token", unit="fortnights"), "time_to_first_token.unit: found 'fortnights'"),
    (AIPERF, in_metric("time_to_first_token", unit=["ms"]), "time_to_first_token.unit: found ['ms'], expected one of"),
    (
        AIPERF,
        lambda data: (data.pop("request_count"), data["request_latency"].update(count="many")),
        "request_latency.count: found 'many', expected a number",
    ),
    (AIPERF, in_metric("request_latency", p99=float("nan")), "request_latency.p99: found nan"),
    (AIPERF, in_metric("request_count", avg=0), "it has no requests"),
    (AIPERF, lambda data: data.update(is_complete=False, incomplete_reason="stalled"), "was not finished: stalled"),
    (GUIDELLM, lambda data: data["benchmarks"][0].pop("metrics"), "found no `metrics` and `request_totals`"),
    (
        GUIDELLM,
        lambda data: data["benchmarks"][0]["metrics"]["request_totals"].update(successful=0, errored=60),
        "all 60 requests failed; measure again",
    ),
    (
        GUIDELLM,
        lambda data: data["benchmarks"][0]["metrics"]["request_latency"]["successful"]["percentiles"].update(p99="?"),
        "metrics.request_latency.successful.percentiles.p99: found '?'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "said"), CHANGES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CHANGES)])
def test_a_number_that_cannot_be_is_one_line_with_its_place(wrong, name, change, said):
    """NaN, another unit, nothing measured: never a limit that nobody could break."""
    assert said in wrong(change=change, of=name)


def test_another_unit_that_says_so_is_no_mistake(tmp_path):
    """Aiperf writes the unit beside each number."""
    data = json.loads((FILES / AIPERF).read_text())
    for key in data["time_to_first_token"]:
        if key not in ("unit", "count"):
            data["time_to_first_token"][key] /= 1000
    data["time_to_first_token"]["unit"] = "sec"
    (tmp_path / "bench.json").write_text(json.dumps(data))

    assert read_result(tmp_path / "bench.json", "r", name="bench.json").figures["ttft_p99"].value == pytest.approx(
        result(AIPERF).figures["ttft_p99"].value
    )


def test_a_file_of_500_mb_is_not_even_read(tmp_path):
    """It is the details of a hundred thousand requests, whose summary is a page."""
    path = tmp_path / "bench.json"
    with path.open("wb") as file:
        file.truncate(500 * 2**20)
    with pytest.raises(SpecError, match=r"bench.json: is larger than 100 MB \(500 MB\); give the summary: vllm"):
        read_result(path, "rollout.yaml:2", name="bench.json")


def test_a_file_that_is_not_there_or_is_a_folder_is_one_line(tmp_path):
    """Paths are relative to the rollout.yaml, which is easily forgotten."""
    with pytest.raises(SpecError, match=r"rollout.yaml:2: bench.json: cannot be read: No such file or directory"):
        read_result(tmp_path / "bench.json", "rollout.yaml:2", name="bench.json")
    with pytest.raises(SpecError, match="results: is not a file"):
        read_result(tmp_path, "rollout.yaml:2", name="results")
