"""Replicas as the unit of evidence: published values, exactness, and who may be compared with whom."""

from itertools import combinations

import numpy as np
import pytest

from pytest_canary.stats.replicas import ReplicaEvidence, choices, evened


def _evidence(*windows, batch=1):
    evidence = ReplicaEvidence(1, batch)
    evidence.start_stage()
    for requests, events, canaries in windows:
        evidence.window(requests, events, canaries)
    return np.exp(evidence.log_e)


USUAL = [300.0] * 20


@pytest.mark.parametrize(
    ("events", "canaries", "windows", "expected"),
    [
        ([9] + [3] * 19, 1, 1, 6.6428),
        ([9] + [3] * 19, 1, 2, 67.217),
        ([9, 90] + [3] * 18, 1, 1, 0.7347),
        ([9] * 5 + [3] * 15, 5, 1, 923.61),
        ([90] + [3] * 19, 1, 1, 14.182),
        ([90] + [3] * 19, 1, 2, 206.11),
        ([90] + [3] * 19, 1, 3, 3047.1),
    ],
)
def test_known_windows_have_their_known_values(events, canaries, windows, expected):
    """Worked out apart from this code: steady harm counts, one bad replica of the baseline costs little."""
    assert _evidence(*[(USUAL, events, canaries)] * windows)[0] == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_over_all_choices_of_replicas_is_one(seed):
    """So it is evidence whatever happens inside a window, bursts included."""
    rng = np.random.default_rng(seed)
    requests, events = rng.integers(50, 500, 7).astype(float), rng.integers(0, 60, 7).astype(float)
    for canaries in (1, 2, 3):
        values = []
        for chosen in combinations(range(7), canaries):
            order = [*chosen, *(j for j in range(7) if j not in chosen)]
            values.append(_evidence((requests[order], events[order], canaries))[0])
        assert np.mean(values) == pytest.approx(1.0, abs=1e-12)


def test_many_rollouts_at_once_are_many_alone():
    """The batch is a loop that numpy runs."""
    rng = np.random.default_rng(1)
    requests, events = rng.poisson(300, (4, 12)), rng.poisson(5, (4, 12))
    together = _evidence((requests, events, 3), batch=4)
    assert together == pytest.approx([_evidence((requests[i], events[i], 3))[0] for i in range(4)])


def test_a_window_with_one_side_only_says_nothing():
    """Nor does one without any event."""
    assert _evidence((USUAL, [9] * 20, 0)) == pytest.approx(1.0)
    assert _evidence((USUAL, [9] * 20, 20)) == pytest.approx(1.0)
    assert _evidence((USUAL, [0] * 20, 4)) == pytest.approx(1.0)


def test_replicas_that_are_alike_hardly_ever_convict():
    """300 rollouts of 15 windows; 20 is passed by chance at most once in 20."""
    rng = np.random.default_rng(2)
    evidence = ReplicaEvidence(3, 300)
    passed = np.zeros(300, dtype=bool)
    for canaries in (1, 5, 10):
        evidence.start_stage()
        for _ in range(5):
            requests = rng.poisson(300, (300, 20))
            evidence.window(requests, rng.binomial(requests, 0.01), canaries)
            passed |= evidence.log_e >= np.log(20)
    assert passed.mean() <= 0.05


def test_smaller_replicas_are_merged_until_they_are_as_large_as_the_others():
    """Fewer requests alone make a rate noisier, and the noisiest looks worst."""
    both = evened([(150.0, 1.0)] * 8, [(300.0, 3.0)] * 6)
    assert both == (((300.0, 2.0),) * 4, ((300.0, 3.0),) * 6)


def test_what_fits_nowhere_stays_out():
    """Seven halves are three wholes."""
    both = evened([(500.0, 1.0)] * 7, [(1000.0, 3.0)] * 6)
    assert both is not None
    assert [n for n, _ in both[0]] == [1000.0] * 3


def test_what_chance_does_to_few_requests_is_no_unevenness():
    """Ten requests are sometimes six."""
    side = [(6.0, 0.0), (10.0, 1.0), (13.0, 0.0)]
    both = evened(side, side)
    assert both is not None
    assert len(both[0]) == len(both[1]) == 3


@pytest.mark.parametrize(
    ("canary", "baseline"),
    [
        ([(250.0, 5.0)] * 2, [(1000.0, 9.0)] * 8),
        ([(300.0, 5.0)], [(300.0, 3.0)] * 2),
        ([(0.0, 0.0)] * 4, [(300.0, 3.0)] * 8),
        ([], [(300.0, 3.0)] * 8),
    ],
)
def test_what_cannot_be_compared_is_not(canary, baseline):
    """Too small, too few to choose from, or without any request."""
    assert evened(canary, baseline) is None


def test_the_number_of_choices_is_counted():
    """One against two is chance one time in three."""
    assert (choices(1, 2), choices(2, 4), choices(0, 5), choices(3, 0)) == (3, 15, 0, 0)


@pytest.mark.parametrize(("canaries", "replicas"), [(1, 20), (3, 40), (3, 400), (10, 100)])
def test_one_window_is_worth_ten_at_most_however_large_the_fleet(canaries, replicas):
    """Among a hundred replicas even one bad moment of one is beyond chance, and still it is one moment."""
    for burst in (10, 100, 10_000):
        evidence = ReplicaEvidence(1, worth=10.0)
        evidence.start_stage()
        evidence.window([300] * replicas, [3 + burst, *[3] * (replicas - 1)], canaries)
        assert np.exp(evidence.log_e[0]) <= 10 + 1e-9
    evidence.window([300] * replicas, [3 + burst, *[3] * (replicas - 1)], canaries)
    assert np.exp(evidence.log_e[0]) > 10
