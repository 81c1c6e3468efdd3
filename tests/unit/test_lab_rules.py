"""Our rules in the worlds of the benchmark, with bounds that a right rule keeps and a wrong one does not."""

import numpy as np
import pytest

from tests.unit import lab  # noqa: F401  (makes the next imports possible)

from lab import ours, worlds  # isort: skip
from lab.goals import GOALS, Goal, Row  # isort: skip
from lab.measure import measured  # isort: skip
from lab.pace import minutes_to_full  # isort: skip


def _errors(rule, regression, kind="iid", rollouts=200, seed=5):
    series = worlds.errors(rollouts, 100, 0.01, 0.01 * regression, kind, np.random.default_rng(seed))
    return measured(ours.ERRORS[rule](series), series.canary_requests, series.poll_seconds)


def _latency(times, shape="lognormal", rollouts=100, seed=5):
    series = worlds.latency(rollouts, 100, times, shape, np.random.default_rng(seed))
    return measured(ours.LATENCY["ours"](series), series.canary.sum(axis=2), series.poll_seconds)


def test_the_guard_costs_nothing_where_errors_are_independent():
    """It finds that out by itself, from the baseline: three times the errors expose as many users as without it."""
    guarded, bare = _errors("ours", 3), _errors("ours, no guard (E3)", 3)
    assert guarded.rollback == 1
    assert guarded.exposed_mean <= 1.05 * bare.exposed_mean
    assert 480 <= guarded.exposed_mean <= 640


@pytest.mark.parametrize("kind", ["clump3", "clump10", "burst20", "burst5"])
def test_storms_of_errors_roll_back_few_good_builds(kind):
    """Without the guard it is half of them and more."""
    assert _errors("ours", 1, kind).rollback <= 0.14
    assert _errors("ours, no guard (E3)", 1, kind).rollback >= 0.3
    assert _errors("ours, with replicas", 1, kind).rollback <= 0.08


def test_a_bad_build_is_found_in_a_storm_too():
    """Careful is not blind."""
    found = _errors("ours, with replicas", 3, "clump3")
    assert found.rollback >= 0.97
    assert found.exposed_mean <= 4000


def test_an_outage_that_both_sides_share_convicts_nobody():
    """Ten times the errors for everybody."""
    assert _errors("ours", 1, "outage").rollback <= 0.02


def test_a_broken_build_is_gone_within_one_poll():
    """95 of 100 requests fail: 25 users at 100 requests a second and 5 %."""
    series = worlds.errors(100, 100, 0.01, 0.95, "iid", np.random.default_rng(5))
    for rule in ("ours", "ours, with replicas"):
        found = measured(ours.ERRORS[rule](series), series.canary_requests, series.poll_seconds)
        assert found.rollback == 1
        assert found.exposed_mean <= 30


def test_presets_trade_false_rollbacks_for_users_exposed():
    """Strict exposes more than default, and fast less."""
    strict, usual, fast = (_errors(rule, 2).exposed_mean for rule in ("ours, strict", "ours", "ours, fast"))
    assert strict > usual > fast


@pytest.mark.parametrize("shape", ["lognormal", "pareto"])
def test_the_same_latency_is_hardly_ever_rolled_back_and_half_as_slow_again_always(shape):
    """From bucket counts alone, whatever the tail looks like."""
    assert _latency(1.0, shape).rollback <= 0.03
    slow = _latency(1.5, shape)
    assert slow.rollback == 1
    assert slow.exposed_mean <= 340


def test_a_harmlessly_slower_build_is_left_alone():
    """x1.1 within a gate of 1.2."""
    assert _latency(1.1).rollback <= 0.08


def test_token_means_find_a_third_more_and_leave_a_tenth_more_alone():
    """The same levels as for rates."""
    found = {}
    for times in (1.0, 1.1, 1.3):
        series = worlds.means(60, 100, times, 1.0, np.random.default_rng(5))
        found[times] = measured(ours.MEANS["ours"](series), series.canary[0], series.poll_seconds)
    assert found[1.0].rollback == 0
    assert found[1.1].rollback <= 0.1
    assert found[1.3].rollback == 1
    assert found[1.3].exposed_mean <= 450


def test_a_good_build_reaches_full_traffic_in_minutes_when_proof_sets_the_pace():
    """With the very judge and decisions of a live run; stages of a fixed five minutes take fifteen."""
    took = [minutes_to_full(100, 0.01, (4.0, 2.0, 1.0), seed) for seed in range(20)]
    assert None not in took
    assert np.mean(took) <= 8


def test_goals_say_reached_only_when_they_are():
    """A benchmark that flatters is worse than none."""
    row = Row("ours", "error rate", "iid", 100, 0.01, 3, 600, 1.0, 540.0, 900.0, 1.0)
    goal = Goal("users exposed", 550, lambda rows: rows[0].exposed_mean)
    assert goal.line([row]) == "  reached  users exposed: 540 (goal 550)"
    assert Goal("users exposed", 500, goal.ours).line([row]).startswith("  MISSED   users exposed: 540 (goal 500)")
    assert len({goal.words for goal in GOALS}) == len(GOALS)
