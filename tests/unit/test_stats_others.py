"""The split, shapes, the normal distribution, and how far replicas of one build are apart."""

from statistics import NormalDist

import numpy as np
import pytest

from pytest_canary.stats.floor import largest_by_itself, spread
from pytest_canary.stats.normal import below, log_below
from pytest_canary.stats.ratio import Counts
from pytest_canary.stats.shift import ShiftEvidence, cells, population_stability_index
from pytest_canary.stats.split import SplitEvidence

# the split


def _requests_until_found(actual, batch=100, share=0.05, most=60_000):
    rng, evidence = np.random.default_rng(1), SplitEvidence(batch)
    found = np.full(batch, most)
    for served in range(500, most + 1, 500):
        canary = rng.binomial(500, actual, batch)
        evidence.update(share, canary, 500 - canary)
        found = np.where((evidence.log_e >= np.log(1000)) & (found == most), served, found)
    return found


def test_four_per_cent_where_five_were_set_are_found_within_some_thousand_requests():
    """And the right split never is: 100 rollouts, 60,000 requests each."""
    assert 3000 <= np.median(_requests_until_found(0.04)) <= 12_000
    assert (_requests_until_found(0.05) == 60_000).all()


def test_published_counts_are_judged_as_published():
    """101 against 100 at one half is nothing, 201 against 100 is beyond doubt."""
    alike, apart = SplitEvidence(), SplitEvidence()
    alike.update(0.5, 100, 101)
    apart.update(0.5, 100, 201)
    assert alike.log_e[0] < 0
    assert apart.log_e[0] > np.log(1e4)


def test_a_split_steadier_than_a_coin_gathers_nothing():
    """Round robin."""
    evidence = SplitEvidence()
    for _ in range(1000):
        evidence.update(0.1, 10, 90)
    assert evidence.log_e[0] < 0


def test_what_is_sure_but_small_does_not_matter():
    """5 % off over a million requests."""
    evidence = SplitEvidence()
    evidence.update(0.1, 105_000, 895_000)
    assert evidence.log_e[0] > np.log(1000)
    assert not evidence.wrong_enough[0]
    evidence.update(0.1, 200_000, 800_000)
    evidence.update(0.1, 200_000, 800_000)
    assert evidence.wrong_enough[0]


def test_one_loud_poll_is_not_what_the_others_say():
    """Whatever it was, it is left out, wherever it stands."""
    steady, loud = (0.2, 20, 80), (0.2, 60, 1)
    for polls in ([loud, steady, steady], [steady, loud, steady], [steady, steady, loud]):
        evidence, others = SplitEvidence(), SplitEvidence()
        for poll in polls:
            evidence.update(*poll)
        for poll in (steady, steady):
            others.update(*poll)
        assert evidence.log_e[0] > 10
        assert evidence.log_e_but_one[0] == pytest.approx(others.log_e[0])
    split = SplitEvidence()
    for poll in [(0.2, 40, 80), (0.2, 40, 80), (0.2, 2, 98)]:  # the loudest speaks for the other side
        split.update(*poll)
    assert split.log_e_but_one[0] == split.log_e[0]
    wrong = SplitEvidence()
    for _ in range(3):
        wrong.update(*loud)
    assert wrong.log_e_but_one[0] > 10


def test_without_requests_or_without_a_split_nothing_is_said():
    """At 100 % there is none."""
    evidence = SplitEvidence()
    evidence.update(1.0, 500, 0)
    evidence.update(0.1, 0, 0)
    assert evidence.log_e[0] == pytest.approx(0.0)
    assert not evidence.wrong_enough[0]


# shapes


def test_the_stability_index_has_its_hand_computed_value():
    """(.6-.4)ln(.6/.4) + (.4-.6)ln(.4/.6), for counts so large that half a count more is nothing."""
    value = population_stability_index(np.array([6e6, 4e6]), np.array([4e6, 6e6]))
    assert value == pytest.approx(0.4 * np.log(1.5), rel=1e-4)
    assert population_stability_index(np.array([5e6, 5e6]), np.array([4e6, 4e6])) == pytest.approx(0.0, abs=1e-9)


def test_cells_hold_about_a_tenth_each():
    """Neighbouring buckets go together; the last cell may be a little larger."""
    counts = np.random.default_rng(1).poisson(50, 97).astype(float)
    found = cells(counts)
    sizes = [counts[cell].sum() / counts.sum() for cell in found]
    assert 8 <= len(found) <= 11
    assert sum(sizes) == pytest.approx(1.0)
    assert 0.05 <= min(sizes) <= max(sizes) <= 0.16
    assert len(cells(np.array([0.0, 700.0, 0.0]))) == 1


def _shift(shares, rollouts=100, polls=60):
    rng, usual = np.random.default_rng(2), np.full(10, 0.1)
    evidence, convicted = ShiftEvidence(10, rollouts), np.zeros(rollouts, dtype=bool)
    for _ in range(polls):
        mine, theirs = rng.multinomial(50, shares, rollouts), rng.multinomial(450, usual, rollouts)
        evidence.update([Counts(50, mine[:, cell], 450, theirs[:, cell]) for cell in range(10)])
        convicted |= evidence.log_e >= np.log(100)
    return convicted


def test_the_same_shape_convicts_nobody_and_another_is_found_either_way():
    """More of the short answers and fewer of the long ones, or the other way round."""
    assert _shift(np.full(10, 0.1)).mean() <= 0.02
    shifted = np.repeat([0.14, 0.06], 5)
    assert _shift(shifted).mean() >= 0.97
    assert _shift(shifted[::-1]).mean() >= 0.97


# the normal distribution


def test_the_normal_distribution_is_the_one_of_the_books():
    """Far down the tail, too, where the plain formula is 0."""
    points = np.linspace(-8, 8, 65)
    expected = [NormalDist().cdf(z) for z in points]
    assert below(points) == pytest.approx(expected, rel=3e-4)
    tail = log_below(np.linspace(-300, -3, 500))
    assert np.isfinite(tail).all()
    assert (np.diff(tail) > 0).all()


# replicas of one build


def test_replicas_that_differ_by_chance_do_not_differ():
    """And those that differ by a third do, by about as much."""
    rng = np.random.default_rng(4)
    alike = [spread(np.full(20, 5000.0), rng.poisson(50, 20)) for _ in range(100)]
    assert np.mean(np.array(alike) > 0) <= 0.05
    apart = [spread(np.full(20, 5000.0), rng.poisson(50 * np.exp(rng.normal(0, 0.4, 20)))) for _ in range(100)]
    assert 0.3 <= np.median(apart) <= 0.55


def test_nothing_is_said_of_few_replicas_or_without_events():
    """Four could be anything."""
    assert spread([1000] * 4, [0, 50, 0, 90]) == 0.0
    assert spread([1000] * 8, [0] * 8) == 0.0


def test_more_replicas_come_nearer_to_each_other():
    """Two of twenty reach further by chance than ten of twenty."""
    assert largest_by_itself(0.0, 2, 20) == 1.0
    assert largest_by_itself(0.3, 1, 20) > largest_by_itself(0.3, 2, 20) > largest_by_itself(0.3, 10, 20) > 1.1
