"""Histories by hand for the tests of plays and calibrations."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.plan import Plan, Stage
from pytest_canary.play import History
from pytest_canary.ports import Change, Sample

STEP = 5.0


def gate(name="error_rate", alpha=0.01, **more):
    """A gate; names of limits and of fields alike."""
    limits = {"ratio": 1.5, **{kind: more.pop(kind) for kind in ("ratio", "delta", "max", "min") if kind in more}}
    found = metric(name)
    assert found is not None
    return replace(Gate(name, found, Limits(**limits), alpha=alpha), **more)


def plan(*gates, shares=(0.1, 0.5, 1.0), hold=120.0, least=0, window=60.0, **more):
    """A plan with stages of equal hold."""
    stages = tuple(Stage("r", nth, share, hold, least, 1800.0) for nth, share in enumerate(shares))
    folder = Path()
    return Plan(
        "r", "gateway", "production", folder, None, Change(), stages, gates or (gate(),),
        poll_seconds=STEP, baseline_seconds=window, **more,
    )  # fmt: skip


def history(hours=1.0, replicas=10, each=10.0, base=0.02, seed=0, bursts=0.0, uneven=0.0):
    """Requests and errors, step by step.

    ``each`` requests per second and replica, of which the share ``base`` fails; ``bursts`` is how often, in seconds, a
    replica has 30 times as many errors for 20 s; ``uneven`` how far replicas differ for good, on the log scale.
    """
    rng = np.random.default_rng(seed)
    steps = round(hours * 3600 / STEP)
    requests = rng.poisson(each * STEP, (steps, replicas))
    chance = np.full((steps, replicas), base) * np.exp(rng.normal(0, uneven, replicas))
    if bursts:
        begins = rng.random((steps + 4, replicas)) < STEP / bursts
        on = np.logical_or.reduce([begins[nth : nth + steps] for nth in range(4)])
        chance = np.where(on, 30 * chance, chance)
    errors = rng.binomial(requests, np.minimum(chance, 0.95))
    return History(STEP, {"requests": requests.astype(float), "errors": errors.astype(float)})


def samples(past, at=0.0):
    """What a source would have told of ``past``: cumulative, replica by replica."""
    totals = {name: np.zeros(past.replicas) for name in past.counters}
    for step in range(-1, past.steps):
        for name, one in past.counters.items():
            totals[name] = totals[name] + (one[step] if step >= 0 else 0.0)
        when = at + (step + 1) * past.step_seconds
        parts = {
            f"pod-{place}": Sample(when, {name: float(one[place]) for name, one in totals.items()})
            for place in range(past.replicas)
        }
        yield Sample(when, {name: float(one.sum()) for name, one in totals.items()}, replicas=parts)
