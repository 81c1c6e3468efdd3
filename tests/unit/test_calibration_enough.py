"""Whether a history has enough in it: hours, replicas, and trouble; and how noisy it is."""

import numpy as np
import pytest

from pytest_canary.calibration import doubts_of, noise_of
from pytest_canary.calibration.enough import bursts_in
from pytest_canary.gates import Decide
from pytest_canary.play import History, cast
from tests.unit.histories import gate, history, plan


def doubts(past, told=None):
    """What is said of a history."""
    told = told or plan()
    return doubts_of(past, cast(told, past, 20, np.random.default_rng(0)), told.gates)


def test_a_long_history_of_many_replicas_with_trouble_in_it_is_enough():
    """Nothing to doubt, nothing is said."""
    assert doubts(history(hours=2, replicas=12, bursts=600.0)) == ()


def test_a_history_that_holds_few_rollouts_is_short():
    """All plays are of the same quarter of an hour."""
    (said, *_) = doubts(history(hours=0.2, replicas=12))

    assert said == (
        "short: 12 min hold 2 rollouts of 5 min one after the other, expected at least 4 and an hour; the plays are "
        "much alike"
    )


def test_few_replicas_are_not_made_up_for_by_hours():
    """How much replicas differ was drawn six times, however long one looks."""
    said = doubts(history(hours=3, replicas=6, bursts=600.0))

    assert said == (
        "few replicas: 6, expected at least 10; how much replicas differ was seen that often only, and more hours do "
        "not help",
    )


def test_few_errors_teach_nothing():
    """Two errors cannot show whether they come in bursts."""
    (said,) = doubts(history(hours=2, replicas=12, base=2e-6))

    assert said.startswith("error_rate: ")
    assert said.endswith("events in 2.0 h, expected at least 30 to learn from")


def test_quiet_hours_are_called_quiet():
    """A history without trouble cannot say what trouble does; that is why nothing is ever lowered."""
    assert doubts(history(hours=2, replicas=12)) == (
        "error_rate: no burst in 2.0 h; what was measured holds for hours as quiet as these, so nothing is ever "
        "lowered",
    )


def test_trouble_that_came_seldom_is_hardly_known():
    """Three bursts in a day: most plays meet none of them."""
    past = history(hours=2, replicas=12, each=20.0)
    for at, place in ((100, 1), (700, 5), (1200, 9)):
        past.counters["errors"][at : at + 4, place] = 60
    (said,) = doubts(past)

    assert said.startswith("error_rate: 3 bursts in 2.0 h, expected none or at least 10")


@pytest.mark.parametrize(("every", "found"), [(0.0, range(3)), (1200.0, range(100, 330))])
def test_bursts_are_counted(every, found):
    """20 replicas for three hours, a burst every twenty minutes: about 180, and chance makes hardly any."""
    past = history(hours=3, replicas=20, each=20.0, base=0.01, bursts=every)

    assert bursts_in(past, past.requests, past.counters["errors"]) in found


def noise(told, past):
    """The noise floor of one gate."""
    return noise_of(told, past, cast(plan(told), past, 20, np.random.default_rng(0)))


def test_replicas_that_are_alike_have_no_floor():
    """Chance is left to the evidence."""
    found = noise(gate(), history(hours=1, replicas=12))

    assert found.floor == pytest.approx(1.0, abs=0.05)
    assert found.smallest <= 1.1


def test_replicas_that_differ_for_good_have_one_and_the_smallest_gate_lies_above():
    """30 % between replicas: one canary replica in twenty looks 1.6 times as bad as all others."""
    found = noise(gate(), history(hours=1, replicas=20, each=40.0, uneven=0.3))

    assert 1.3 < found.floor < 2.0
    assert found.smallest > found.floor


def test_a_plain_rule_has_chance_in_its_floor():
    """It compares numbers, so what chance makes of few errors rolls back."""
    past = history(hours=1, replicas=12, each=1.0, base=0.02)

    assert noise(gate(decide=Decide.THRESHOLD), past).floor > noise(gate(), past).floor + 0.2


def test_a_gate_with_an_absolute_limit_has_none():
    """Nothing is compared."""
    assert noise(gate(ratio=None, max=0.1), history()) is None


def test_nothing_counted_is_no_noise():
    """Too few replicas to say anything."""
    past = history(replicas=3)

    assert noise(gate(), History(past.step_seconds, past.counters)) is None
