"""The very plugin on made-up traffic and virtual time: a rollout of half an hour without waiting for it."""

import json
import time

import pytest

import pytest_canary.session.conductor  # noqa: F401 - runs in this process must not meet a second copy of it

HOLD_SECONDS, MIN_REQUESTS = 300, 500
STAGES = ("5%", "25%", "50%", "100%")


def simulated(project, seed=1, canary=""):
    """A rollout of four stages, five minutes each, at 100 requests per second."""
    return project.write(
        metrics="",
        replace={
            "metrics: {memory: {rate: 100, error_rate: {v1: 0.01, v2: 0.01, v2-errors: 0.3} }}": (
                f"metrics: {{simulated: {{rate: 100, error_rate: 0.01, seed: {seed}, canary: {{{canary}}}}}}}"
            ),
            "hold: 10s": f"hold: {HOLD_SECONDS}s",
            "min_requests: 20": f"min_requests: {MIN_REQUESTS}",
            "deadline: 120s": "deadline: 30m",
            "poll: 1s": "poll: 5s",
            "window: 5s, min_requests: 50": "window: 10m, min_requests: 500",
        },
    )


def report(project):
    """The newest report, as JSON."""
    found = sorted((project.pytester.path / ".pytest_canary").rglob("reports/*.json"), key=lambda p: p.stat().st_mtime)
    return json.loads(found[-1].read_text())


@pytest.fixture
def no_waiting(monkeypatch):
    """Nobody may let real time pass."""

    def refuse(seconds):
        raise AssertionError(f"somebody waits {seconds} s")

    monkeypatch.setattr(time, "sleep", refuse)


@pytest.mark.usefixtures("no_waiting")
def test_a_good_build_is_promoted_after_four_stages_of_virtual_time(project):
    """All stages are held as long as they would be in production, and nobody waits."""
    run = simulated(project).run()
    said = report(project)
    took = said["ended_at"] - said["began_at"]
    held = {step["name"]: step["seconds"] for step in said["steps"]}

    assert run.exit == 0
    assert run.shifts == [0.0, 0.05, 0.25, 0.5, 1.0, 0.0]
    assert took >= 600 + 4 * HOLD_SECONDS
    assert all(HOLD_SECONDS <= held[f"hold[{stage}]"] < HOLD_SECONDS + 60 for stage in STAGES)
    assert all(run.rows[f"{gate}[{stage}]"] == "passed" for gate in ("error_rate", "latency_p99") for stage in STAGES)


@pytest.mark.usefixtures("no_waiting")
def test_the_requests_that_were_judged_are_those_of_the_virtual_time(project):
    """100 requests per second for five minutes at 5 % are about 1,500; a run that hurried would have fewer."""
    simulated(project).run()
    judged = {(v["gate"], v["share"]): v["canary"]["requests"] for v in report(project)["verdicts"]}

    assert judged["error_rate", "5%"] == pytest.approx(0.05 * 100 * HOLD_SECONDS, rel=0.15)
    assert judged["error_rate", "50%"] == pytest.approx(0.5 * 100 * HOLD_SECONDS, rel=0.05)
    assert min(judged.values()) >= MIN_REQUESTS


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("canary", "gates"),
    [
        ("error_rate_x: 3, latency_x: 1.5", {"error_rate", "latency_p99"}),
        ("error_rate_x: 3", {"error_rate"}),
        ("latency_x: 1.5", {"latency_p99"}),
    ],
    ids=["both", "errors", "slow"],
)
def test_a_bad_build_is_rolled_back(project, canary, gates):
    """Three times the errors, half as slow again: far from broken, and caught before most users meet it."""
    run = simulated(project, canary=canary).run()
    said = report(project)

    assert run.exit == 1
    assert not run.did("promote")
    assert max(run.shifts) < 0.5
    assert {v["gate"] for v in said["verdicts"] if v["status"] == "fail"} <= gates
    assert said["ended_at"] - said["began_at"] < 600 + 3 * HOLD_SECONDS
    assert any(run.rows[f"{gate}[{stage}]"] == "failed" for gate in gates for stage in STAGES)


MORE = (
    "counts: {refusals: 0.02, feedback: 0.3, feedback_negative: 0.03, cache_queries: 500, cache_hits: 300, "
    "output_tokens: 200, input_tokens: 500}, values: {quality: 0.9, itl: 0.02}, gauges: {gpu_utilisation: 0.5}"
)
GATES = {
    "refusals": ("refusal_rate", "{ratio: 2}", 4),
    "feedback_negative": ("feedback_negative_rate", "{ratio: 1.5}", 3),
    "cache_hits": ("cache_hit_rate", "{ratio: 1.2}", 0.5),
    "output_tokens": ("output_tokens", "{ratio: 1.2}", 1.5),
    "quality": ("quality", "{delta: 0.03}", 0.9),
    "itl": ("inter_token_latency_p95", "{ratio: 1.2}", 1.5),
    "gpu_utilisation": ("gpu_utilisation", "{max: 80%}", 1.8),
}
"""What the canary does otherwise -> the gate that must find it, its limits, and how many times."""


def with_tokens(project, canary=""):
    """Seven gates on numbers that an LLM service counts, and its cost by tokens."""
    gates = "\n  ".join(f"{name}: {limits}" for name, limits, _ in GATES.values())
    simulated(project, canary=canary)
    path = project.pytester.path / "rollouts/gateway/rollout.yaml"
    text = path.read_text().replace("error_rate: {ratio: 1.5}\n  latency_p99: {ratio: 1.2}", gates)
    path.write_text(text.replace("simulated: {rate", f"simulated: {{{MORE}, rate"))
    return project


@pytest.mark.usefixtures("no_waiting")
def test_by_chance_alone_none_of_seven_llm_gates_fails(project):
    """Means by batches, misses, opinions, scores, gauges: all of them noisy, and the build is the same."""
    run = with_tokens(project).run()

    assert run.exit == 0, run.out


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("what", GATES)
def test_in_noise_each_llm_gate_finds_its_own_defect(project, what):
    """And no other gate takes the blame."""
    gate, _, times = GATES[what]
    run = with_tokens(project, f"times: {{{what}: {times}}}").run()

    assert run.exit == 1, run.out
    assert {v["gate"] for v in report(project)["verdicts"] if v["status"] == "fail"} == {gate}


def test_the_same_seed_gives_the_same_junit(project):
    """A rollback in a simulation can be looked at again, number by number."""
    first = simulated(project, canary="error_rate_x: 3").run()
    again = project.run("--canary-state=elsewhere")

    assert again.rows == first.rows
    assert again.messages == first.messages
    assert again.acts == first.acts


def test_another_seed_gives_other_numbers(project):
    """It is chance, after all."""
    first = simulated(project, seed=1).run("--canary-set", "stages=25,100")
    other = simulated(project, seed=2).run("--canary-set", "stages=25,100", "--canary-state=elsewhere")

    assert other.messages["error_rate[25%]"] != first.messages["error_rate[25%]"]


def test_the_seed_and_the_build_can_be_set_for_one_run(project):
    """Trying out a gate means changing one number at a time."""
    run = simulated(project).run("--canary-set", "metrics.simulated.canary.error_rate_x=20")

    assert run.exit == 1
    assert "metrics.simulated.canary.error_rate_x=20" in run.out
