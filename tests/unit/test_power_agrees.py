"""Power and the benchmark's lab play the same rules on the same world: they agree as far as chance allows."""

from math import sqrt
from pathlib import Path

import numpy as np

from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Change
from pytest_canary.power.batch import play
from pytest_canary.power.cells import injection_of
from pytest_canary.power.prelude import Prelude
from pytest_canary.simulation.defaults import DEFAULT
from pytest_canary.simulation.scene import scene_of
from tests.unit import lab  # noqa: F401  (makes the next imports possible)

from lab import ours, worlds  # isort: skip
from lab.measure import measured  # isort: skip

ROLLOUTS = 150
GATE = Gate("error_rate", metric("error_rate"), Limits(ratio=1.5), asked_alpha=0.01)


def _played(size):
    stages = [Stage("r", n, share, 300.0, 500, 1800.0) for n, share in enumerate((0.05, 0.25, 0.5, 1.0))]
    plan = Plan("r", "gateway", "t", Path(), "gateway:v2", Change(), tuple(stages), (GATE,), baseline_seconds=600.0)
    scene = scene_of(DEFAULT, [GATE], [injection_of(GATE, size)] if size != 1 else [])
    return play(plan, scene, range(1, ROLLOUTS + 1), Prelude())


def _lab(size):
    series = worlds.errors(ROLLOUTS, 100, 0.01, 0.01 * size, "iid", np.random.default_rng(7))
    return measured(ours.ERRORS["ours"](series), series.canary_requests, series.poll_seconds)


def test_a_good_build_is_stopped_as_rarely_as_in_the_benchmark():
    """Its cell is 0.2 %: more than four of 150 is no chance (below 1 in 5,000)."""
    ended = _played(1.0)
    assert ended.stopped.sum() <= 4
    assert abs(ended.stopped.mean() - _lab(1.0).rollback) <= 4 / ROLLOUTS


def test_a_bad_build_meets_as_many_users_as_in_the_benchmark():
    """Three times the errors: means within three standard errors of each other."""
    ended, cell = _played(3.0), _lab(3.0)
    assert ended.stopped.all()
    error = sqrt(2 * float(ended.exposed.var()) / ROLLOUTS)
    assert abs(float(ended.exposed.mean()) - cell.exposed_mean) <= 3 * error
