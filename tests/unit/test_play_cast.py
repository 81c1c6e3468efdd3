"""Who plays the canary, when, and how many there are."""

import numpy as np
import pytest

from pytest_canary.errors import UsageError
from pytest_canary.play import History, cast
from tests.unit.histories import history, plan


def drawn(told, past, plays=50, seed=0):
    """A cast."""
    return cast(told, past, plays, np.random.default_rng(seed))


def test_the_canary_has_as_many_replicas_as_carry_the_share_of_its_stage():
    """As the plan would have it, with replicas of equal traffic; a stage of all traffic leaves nobody to compare."""
    found = drawn(plan(shares=(0.05, 0.25, 0.5, 1.0)), history(replicas=20))

    assert [part.canaries for part in found.parts] == [1, 5, 10]
    assert [part.steps for part in found.parts] == [24, 24, 24]


def test_what_is_held_back_makes_the_last_stage_comparable():
    """So it is played."""
    found = drawn(plan(shares=(0.5, 1.0), holdback=0.1), history(replicas=20))

    assert [part.canaries for part in found.parts] == [10, 18]


def test_plays_begin_at_random_moments_with_random_replicas_from_a_seed():
    """The same seed, the same figures: a calibration can be repeated."""
    told, past = plan(), history()
    one, again, other = drawn(told, past), drawn(told, past), drawn(told, past, seed=1)

    assert np.array_equal(one.starts, again.starts)
    assert np.array_equal(one.orders, again.orders)
    assert not np.array_equal(one.starts, other.starts)
    assert len(set(one.starts.tolist())) > 30
    assert set(one.orders[:, 0].tolist()) == set(range(10))
    assert all(sorted(order) == list(range(10)) for order in one.orders.tolist())


def test_every_play_lies_inside_the_history():
    """None begins where the counts end before the last stage does."""
    told, past = plan(), history(hours=0.2)
    found = drawn(told, past)

    assert found.starts.max() + found.steps <= past.steps


def test_a_replica_that_was_away_takes_no_part():
    """One that was scaled in at night has no errors, and would look like the best of all."""
    past = history(replicas=6)
    away = {name: np.where(np.arange(6) == 3, 0.0, one) for name, one in past.counters.items()}
    found = drawn(plan(), History(past.step_seconds, away))

    assert found.replicas == 5
    assert 3 not in found.orders


def test_one_replica_cannot_be_compared_with_itself():
    """With what to do, in one line."""
    with pytest.raises(
        UsageError, match=r"found 1 replica of the stable build, expected at least 2: one plays"
    ) as told:
        drawn(plan(), history(replicas=1))

    assert "\n" not in str(told.value)


def test_replicas_that_were_never_there_together_are_no_two():
    """One pod that was replaced many times is one pod."""
    past = history(replicas=2)
    turns = (np.arange(past.steps)[:, None] * 2 // past.steps) == np.arange(2)
    alone = {name: np.where(turns, one, 0.0) for name, one in past.counters.items()}

    with pytest.raises(UsageError, match="found 1 replicas with requests at one time, expected at least 2"):
        drawn(plan(), History(past.step_seconds, alone))


def test_a_history_shorter_than_one_rollout_says_how_long_it_must_be():
    """Nobody should have to guess."""
    with pytest.raises(UsageError, match=r"found 3 min without a gap long enough, expected at least 5 min"):
        drawn(plan(), history(hours=0.05))
