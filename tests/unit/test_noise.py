"""The noise of a build, measured against itself, and the smallest gate above it."""

import numpy as np
import pytest

from pytest_canary.gates.noise import inside_noise, measured
from pytest_canary.gates.reading import Reading
from pytest_canary.spec import gate_from

BOUNDS = tuple(np.geomspace(0.01, 5, 60))


def polls(values, each=200, kind="mean", seed=0, number=12):
    """So many polls: a build whose level in each is drawn by ``values(rng)``, 1 being normal."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(number):
        level = values(rng)
        if kind == "rate":
            found.append(Reading(each, float(rng.poisson(each * 0.05 * level))))
        elif kind == "gauge":
            found.append(Reading(1.0, total=100 * level))
        else:
            drawn = rng.lognormal(np.log(0.2 * level), 0.5, each)
            counts, _ = np.histogram(drawn, [0.0, *BOUNDS, np.inf])
            found.append(Reading(each, 0.0, BOUNDS, tuple(map(float, counts)), float(drawn.sum())))
    return found


def whole(parts):
    """All polls together, as the window before the ramp has them."""
    return sum(parts, Reading())


def steady(rng):
    """Chance alone."""
    del rng
    return 1.0


def swings(rng):
    """Half as much again and a third less, from poll to poll."""
    return float(np.exp(rng.normal(0, 0.4)))


GATES = {
    "rate": ("error_rate", {"ratio": 1.2}),
    "quantile": ("latency_p95", {"ratio": 1.2}),
    "mean": ("quality", {"ratio": 1.2}),
    "gauge": ("gpu_memory", {"ratio": 1.2}),
}


def gate(kind, **more):
    """A gate on such a metric, whose noise is measured unless said otherwise."""
    name, limits = GATES[kind]
    return gate_from(name, {**limits, "noise": "measure", **more}, "rollout.yaml:3")


@pytest.mark.parametrize("kind", GATES)
def test_a_build_that_swings_is_far_from_itself_and_its_gate_is_refused(kind):
    """By all kinds of metrics; the gate that is advised is not refused."""
    parts = polls(swings, kind=kind, each=2000)
    wrong = inside_noise(gate(kind), whole(parts), parts)
    works = wrong.rpartition("`ratio: ")[2].rstrip("`")

    assert "the stable build differs from itself by up to 1." in wrong
    assert "(halves of its 12 polls before the ramp), and the gate is 1.2x" in wrong
    assert inside_noise(gate(kind, ratio=works), whole(parts), parts) is None
    assert float(works) - measured(gate(kind), whole(parts), parts).ratio <= 0.051


@pytest.mark.parametrize("kind", ["rate", "quantile", "mean"])
def test_chance_alone_refuses_no_gate_that_weighs_evidence(kind):
    """In forty windows of a steady build with few requests."""
    refused = [
        inside_noise(gate(kind), whole(parts), parts)
        for parts in (polls(steady, kind=kind, each=100, seed=seed) for seed in range(40))
    ]

    assert sum(one is not None for one in refused) <= 1


def test_to_a_plain_rule_chance_is_noise():
    """It compares two numbers, whatever they were counted from."""
    parts = polls(steady, kind="rate", each=100)

    assert inside_noise(gate("rate"), whole(parts), parts) is None
    assert "differs from itself" in inside_noise(gate("rate", decide="threshold"), whole(parts), parts)


def test_replicas_are_the_better_witnesses_where_there_are_five():
    """The canary is one of them."""
    replicas = {f"pod-{n}": one for n, one in enumerate(polls(swings, kind="rate", each=5000, number=8))}
    together = whole(replicas.values())
    baseline = Reading(together.requests, together.events, replicas=replicas)

    assert "its 8 replicas before the ramp" in inside_noise(gate("rate"), baseline, polls(steady, kind="rate"))


def test_with_too_few_polls_nothing_is_measured():
    """Which is said, not passed over."""
    parts = polls(steady, kind="rate", number=7)

    assert measured(gate("rate"), whole(parts), parts) is None
    assert "7 polls in the window before the ramp, expected at least 8" in inside_noise(
        gate("rate"), whole(parts), parts
    )


@pytest.mark.parametrize(("noise", "delta", "refused"), [("15%", "20ms", True), ("15%", "50ms", False)])
def test_a_delta_is_held_against_noise_of_what_is_normal(noise, delta, refused):
    """15 % of 200 ms are 30 ms."""
    parts = polls(steady)
    told = inside_noise(
        gate_from("latency_p50", {"delta": delta, "noise": noise}, "rollout.yaml:3"), whole(parts), parts
    )

    assert (told is not None) is refused
    if refused:
        assert told.startswith("a build differs from itself by 15%, which is ")
        assert "and the gate is +20 ms; write `delta: 3" in told


def test_limits_that_compare_with_nobody_are_left_alone():
    """A `max` is a promise, whatever the build did before."""
    parts = polls(swings, kind="rate")

    assert inside_noise(gate_from("error_rate", {"max": 0.05, "noise": "measure"}, "x"), whole(parts), parts) is None
