"""`pytest-canary check`: the real source is asked for every gate before anything is rolled out."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_canary.command import main
from tests.adapters.pages import page
from tests.prometheus.servers import exposing, prometheus, until

EXPOSED = Path(__file__).parents[1] / "resources" / "exposition"
ROLLOUT = """
service: gateway
stages: [25, 100]
gates: GATES
default_target: production
targets:
  production:
    platform: {memory: {}}
    router: {memory: {}}
    probe: {memory: {}}
    metrics: {prometheus: {url: "URL", profile: PROFILE, roles: {baseline: {instance: "POD"}, canary: {job: new}}}}
  rehearsal:
    clock: {virtual: {}}
    platform: {memory: {}}
    router: {memory: {}}
    probe: {memory: {}}
    metrics: {memory: {}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One Prometheus, with a vLLM that serves well, one that nobody has asked yet, and a service that has scores."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), {"quick": 4}) as running, ExitStack() as held:
        well, cold, _, scored = running.pods
        text = (EXPOSED / "vllm.txt").read_text()
        held.enter_context(exposing(well, text))
        held.enter_context(exposing(cold, "".join(x for x in text.splitlines(True) if "_requests" not in x)))
        held.enter_context(exposing(scored, (EXPOSED / "inference-service.txt").read_text()))
        for pod in (well, cold, scored):
            running.wait(pod)
            until(lambda name=pod.name: len(running.ask(f'up{{pod="{name}"}}[5s]')[0]["values"]) > 2)
        yield running


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys, server):
    """Types the command for a pod; gives back its exit code and what it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")

    def typed(
        gates: str, *words: str, pod: int = 0, url: str = "", profile: str = "vllm", text: str = ""
    ) -> tuple[int, str]:
        folder = tmp_path / "rollouts" / "gateway"
        folder.mkdir(parents=True, exist_ok=True)
        text = text or ROLLOUT.replace("GATES", gates).replace("URL", url or server.url).replace("PROFILE", profile)
        (folder / "rollout.yaml").write_text(text.replace("POD", server.pods[pod].target))
        try:
            code = main(["check", "rollouts/gateway", *words])
        except SystemExit as ended:
            code = int(ended.code)
        told = capsys.readouterr()
        return code, told.out + told.err

    return typed


def test_every_gate_that_is_found_is_a_row_with_the_queries_to_paste(typed, server):
    """What is printed is what is asked: Prometheus understands it as it stands, comment and all."""
    code, said = typed("{error_rate: {ratio: 1.5}, ttft_p50: {ratio: 3}}")
    rows = said.splitlines()

    assert code == 0
    assert rows[-1] == "gateway on production: every gate is found; only the stable build was asked"
    assert rows[1].startswith("error_rate  found           sum by (job, instance, pod) (http_requests_total{instance=")
    assert rows[3].strip() == "# 27 requests of the stable build"
    assert rows[4].startswith(
        "ttft_p50    found           sum by (job, instance, pod, le) (vllm:time_to_first_token_se"
    )
    begin = rows[1].index("sum by")
    assert server.ask("\n".join(row[begin:] for row in rows[4:6]))[0]["value"]


def test_what_cannot_be_judged_is_named_with_its_reason(typed):
    """One exit code for all of it: 1."""
    code, said = typed("{latency_p99: {delta: 3h}, quality: {ratio: 1.2}, gpu_utilisation: {max: 0.9}}")

    assert code == 1
    assert "latency_p99      cannot resolve  sum by" in said
    assert "boundar" in said
    assert "quality          absent          # profile vllm has no histograms.quality or gauges.quality" in said
    assert "gpu_utilisation  absent          avg by (job, instance, pod) (DCGM_FI_DEV_GPU_UTIL{" in said
    assert "# profile vllm: no series of gauges.gpu_utilisation yet, or its metric has another name" in said
    assert (
        said.splitlines()[-1] == "gateway on production: 3 of 3 gates cannot be judged; only the stable build was asked"
    )


def test_a_build_that_nobody_has_asked_yet_and_one_that_is_not_scraped_are_told_apart(typed):
    """Traffic mends the one, a scrape configuration the other."""
    cold, gone = (typed("{error_rate: {ratio: 1.5}, ttft_p50: {ratio: 3}}", pod=pod) for pod in (1, 2))

    assert (cold[0], gone[0]) == (1, 1)
    assert "error_rate  absent" in cold[1]
    assert "ttft_p50    no data" in cold[1]
    assert "# the stable build has had no requests" in cold[1]
    assert "error_rate  absent" in gone[1]
    assert "no series of counters.errors yet" in gone[1]


def test_without_a_profile_the_one_that_fits_is_found_out(typed):
    """As a run would."""
    code, said = typed("{error_rate: {ratio: 1.5}}", profile="null")

    assert (code, said.count("\n")) == (0, 5)


def test_a_server_that_does_not_answer_is_one_line(typed):
    """And no table of what nobody knows."""
    code, said = typed("{error_rate: {ratio: 1.5}}", url="http://127.0.0.1:9")

    assert code == 1
    assert said.startswith("pytest-canary: prometheus at http://127.0.0.1:9 does not answer: connection refused")
    assert said.count("\n") == 1


def test_a_counter_that_will_come_with_its_first_event_is_found(typed, tmp_path):
    """A healthy build is no reason to refuse a rollout; a counter that nobody knows is."""
    folder = tmp_path / "rollouts" / "gateway"
    folder.mkdir(parents=True)
    own = 'extends = "vllm"\n[counters.errors]\nmetric = "no_such_total"\n'
    said = []
    for more in ("", "from_zero = true\n"):
        (folder / "own.toml").write_text(own + more)
        said.append(typed("{error_rate: {ratio: 1.5}}", profile="own.toml"))

    assert [code for code, _ in said] == [1, 0]
    assert "# profile vllm: no series of counters.errors yet, or its metric has another name" in said[0][1]


@pytest.fixture
def scraped(typed, tmp_path):
    """The same, of a target that reads a page itself."""

    def scraped(gates: str, metrics: str) -> tuple[int, str]:
        typed(gates)
        file = tmp_path / "rollouts" / "gateway" / "rollout.yaml"
        lines = [f"    metrics: {metrics}" if "prometheus" in line else line for line in file.read_text().splitlines()]
        return typed(gates, text="\n".join(lines))

    return scraped


def test_a_page_is_checked_without_a_prometheus_and_printed_as_a_line_for_a_shell(scraped):
    """What is found there is what a rollout will read."""
    with page((EXPOSED / "vllm.txt").read_text()) as shown:
        roles = f'{{baseline: ["{shown.url}"], canary: ["http://127.0.0.1:9"]}}'
        code, said = scraped("{error_rate: {ratio: 1.5}, gpu_memory: {max: 0.9}}", f"{{scrape: {{roles: {roles}}}}}")
    rows = said.splitlines()
    shell = rows[1].partition("found")[2].strip()

    assert code == 1
    assert shell.startswith(f"curl -s {shown.url}/metrics | grep -E '^http_requests_total[{{ ]'  # {{handler=")
    assert re.search(r"# \d+ requests of the stable build$", rows[3])
    assert "gpu_memory  absent" in said
    assert "no series of gauges.gpu_memory yet" in said


def test_where_nothing_runs_before_a_run_there_is_no_page_to_check(scraped):
    """The builds of a rehearsal are started by it."""
    code, said = scraped("{error_rate: {ratio: 1.5}}", "{scrape: {}}")

    assert code == 1
    assert "error_rate  no data         # nothing runs here before a run, so there is nothing to scrape yet" in said


@pytest.mark.parametrize(
    ("gates", "words", "said"),
    [
        ("{eror_rate: {ratio: 1.5}}", (), "did you mean error_rate?"),
        ("{}", (), "no gate is declared, so there is nothing to look for"),
        ("{error_rate: {ratio: 1.5}}", ("--target", "prod"), "production"),
        ("{error_rate: {ratio: 1.5}}", ("--what",), "unrecognized arguments: --what"),
    ],
)
def test_a_mistake_of_the_file_or_of_the_line_is_exit_4(gates, words, said, typed):
    """Nothing is asked then."""
    code, told = typed(gates, *words)

    assert code == 4
    assert said in told


def test_a_target_whose_world_begins_with_a_run_has_what_its_source_always_counts(typed):
    """A rehearsal can be checked too, by the name that pytest has for the option; a gauge that nobody reads is not."""
    words = ("--canary-target", "rehearsal")
    well = typed("{error_rate: {ratio: 1.5}, latency_p99: {ratio: 1.2}}", *words)
    badly = typed("{gpu_utilisation: {max: 0.9}}", *words)

    assert well[0] == 0
    assert "always counted here, from the first request of a run on" in well[1]
    assert badly[0] == 1
    assert "the memory metrics has no gauges.gpu_utilisation" in badly[1]


def test_gates_of_probes_need_no_source(typed):
    """Whether they are sent is all there is to know before a run."""
    asked = typed("{probe_error_rate: {ratio: 1.5}}\nprobe: {rate: 2}", "--canary-target", "rehearsal")
    silent = typed("{probe_error_rate: {ratio: 1.5}}", "--canary-target", "rehearsal")

    assert (asked[0], "counted by the probes of a run" in asked[1]) == (0, True)
    assert (silent[0], "no probes are sent; write `probe: {rate: 2, prompts: prompts.jsonl}`" in silent[1]) == (1, True)


def test_gates_of_the_tests_beside_the_file_are_looked_at_too(typed, tmp_path):
    """A mark is a gate like any other; one that code puts together is named, and not passed over in silence."""
    folder = tmp_path / "rollouts" / "gateway"
    folder.mkdir(parents=True)
    (folder / "test_gates.py").write_text(
        "@pytest.mark.gate('quality', min=0.8)\ndef test_one(stage):\n    stage.check(NAME, ratio=2)\n"
    )
    code, said = typed("{error_rate: {ratio: 1.5}}")

    assert code == 1
    assert "error_rate  found" in said
    assert "quality     absent" in said
    assert "test_gates.py:3: a gate that is not written out in plain values, so it is not looked at" in said
    assert (
        said.splitlines()[-1] == "gateway on production: 1 of 2 gates cannot be judged; only the stable build was asked"
    )


def test_a_mark_that_is_wrong_is_exit_4(typed, tmp_path):
    """With the line of the test file."""
    folder = tmp_path / "rollouts" / "gateway"
    folder.mkdir(parents=True)
    (folder / "test_gates.py").write_text("@pytest.mark.gate('eror_rate', ratio=2)\ndef test_one(stage): ...\n")
    code, said = typed("{error_rate: {ratio: 1.5}}")

    assert code == 4
    assert "test_gates.py:1: found gate 'eror_rate'; did you mean error_rate?" in said


def test_limits_of_a_result_file_are_held_against_the_stable_build(typed, tmp_path):
    """What would end the rollout before the ramp is seen before it is begun."""
    folder = tmp_path / "rollouts" / "gateway"
    folder.mkdir(parents=True)
    summary = {"model_id": "x", "date": "20261002-141500", "completed": 1000, "failed": 0, "duration": 100.0}
    (folder / "bench.json").write_text(json.dumps({**summary, "p50_ttft_ms": 2.0}))
    code, said = typed("{ttft_p50: {ratio: 1.2}}\nbaseline: {file: bench.json}")

    assert code == 1
    assert "ttft_p50  cannot resolve" in said
    assert "the stable build itself is at " in said
    assert "1.2x of 2 ms in bench.json (vllm bench serve, 2026-10-02, 1,000 requests" in said


def test_a_quality_that_the_profile_reads_as_a_gauge_is_found(typed, server):
    """A service that tells the mean of its scores has no histogram of them."""
    del server
    code, said = typed("{quality: {min: 0.5}}", profile="inference-service", pod=3)

    assert code == 0, said
    assert "quality  found           avg by (job, instance, pod) (inference_quality_score{" in said
