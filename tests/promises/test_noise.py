"""A gate below what a build differs from itself rolls back good builds, and is refused before any user meets one."""

import json


def test_a_gate_inside_the_stated_noise_deploys_nothing(project):
    """Nobody has to clean up after a gate that was never going to be right."""
    run = project.write(replace={"service: gateway": "service: gateway\nnoise: 25%"}).run()

    assert run.exit == 4
    assert run.acts == []
    assert "rollout.yaml:13: latency_p99: a gate of 1.2x lies inside the noise of 25%" in run.out
    assert "the smallest that works is `ratio: 1.3`" in run.out


def test_a_delta_inside_the_stated_noise_is_refused_once_the_baseline_is_known(project):
    """Before the first weight."""
    gates = {"latency_p99: {ratio: 1.2}": "latency_p99: {delta: 10ms, noise: 15%}"}
    run = project.write(replace=gates).run()

    assert run.exit == 1
    assert set(run.shifts) == {0.0}
    assert "latency_p99 cannot be judged: a build differs from itself by 15%, which is " in run.messages["baseline"]
    assert "and the gate is +10 ms; write `delta: " in run.messages["baseline"]


MEASURED = {
    "service: gateway": "service: gateway\nnoise: measure",
    "window: 5s": "window: 20s",
}
"""Twenty polls."""


def test_a_quiet_build_is_measured_said_and_shipped(project):
    """What was found stands in one line before the ramp."""
    run = project.write(replace=MEASURED).run()

    assert run.exit == 0, run.out
    assert "canary noise of the stable build (halves of its 20 polls): error_rate, latency_p99 nothing" in run.out


def test_a_window_with_too_few_polls_cannot_measure(project):
    """With the way out."""
    run = project.write(replace={"service: gateway": "service: gateway\nnoise: measure"}).run()

    assert run.exit == 1
    assert "its noise cannot be measured: 5 polls in the window before the ramp, expected at least 8" in run.out


def test_a_noisy_gauge_is_refused_before_the_ramp(project):
    """A value without a sample size has nothing but its noise."""
    swings = json.dumps({"gpu_memory": [6e10, 7e10, 5e10, 8e10]})
    gates = {**MEASURED, "latency_p99: {ratio: 1.2}": "gpu_memory: {ratio: 1.1}"}
    run = project.write(metrics=f"gauges: {swings}", replace=gates).run()

    assert run.exit == 1, run.out
    assert set(run.shifts) == {0.0}
    assert "gpu_memory cannot be judged: the stable build differs from itself by up to 1." in run.messages["baseline"]
    assert "and the gate is 1.1x; the smallest that works is `ratio: 1." in run.messages["baseline"]
