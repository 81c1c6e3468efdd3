"""Whether events come in bursts, and what a window may then be worth."""

from itertools import product
from math import exp, log

import numpy as np
import pytest

from pytest_canary.stats.burst import BurstGuard, design_effect
from pytest_canary.stats.ratio import Counts, RatioEvidence, Restarting


def _guard(clump, batch=300, polls=120, requests=500, rate=0.01, seed=1):
    rng, guard = np.random.default_rng(seed), BurstGuard(batch)
    for _ in range(polls):
        n = rng.poisson(requests, batch)
        if clump == 1:
            k = rng.binomial(n, rate)
        else:
            clumps = rng.poisson(n * rate / clump)
            k = np.where(clumps > 0, clumps + rng.negative_binomial(np.maximum(clumps, 1), 1 / clump), 0)
        guard.add(n, np.minimum(k, n))
    return guard


def test_events_that_come_by_chance_are_known_to():
    """So the guard costs nothing there."""
    guard = _guard(1)
    assert guard.known.all()
    assert guard.clumped.mean() <= 0.04


@pytest.mark.parametrize("clump", [3, 10])
def test_clumps_are_found_in_ten_minutes(clump):
    """Retries of one broken request."""
    assert _guard(clump).clumped.mean() >= 0.97


def test_too_few_events_say_nothing():
    """Fewer than thirty, or fewer than eight polls."""
    assert not _guard(1, rate=0.0002).known.any()
    assert not _guard(1, polls=7).known.any()


def test_traffic_that_comes_and_goes_is_no_burst():
    """Events are held against the requests of the same poll."""
    rng, guard = np.random.default_rng(2), BurstGuard(200)
    for poll in range(120):
        n = rng.poisson(100 + 900 * (poll % 20 < 5), 200)
        guard.add(n, rng.binomial(n, 0.01))
    assert guard.clumped.mean() <= 0.04


def test_a_short_memory_forgets_what_is_an_hour_ago():
    """And never grows without bound."""
    guard = BurstGuard()
    for _ in range(2000):
        guard.add(100, 1)
    assert guard.remembered == 720


def test_the_design_effect_is_one_by_chance_and_five_for_clumps_of_three():
    """How many times more the canary's share of events varies than it would."""
    rng = np.random.default_rng(3)
    nc, nb = rng.poisson(250, 400).astype(float), rng.poisson(4750, 400).astype(float)
    chance = design_effect((nc, rng.binomial(250, 0.01, 400)), (nb, rng.binomial(4750, 0.01, 400)))
    assert 1 <= chance <= 1.3

    def clumped(n):
        clumps = rng.poisson(n * 0.01 / 3)
        return np.where(clumps > 0, clumps + rng.negative_binomial(np.maximum(clumps, 1), 1 / 3), 0)

    assert 3.5 <= design_effect((nc, clumped(nc)), (nb, clumped(nb))) <= 6.5
    assert design_effect((nc, nc * 0), (nb, nb * 0)) == 1.0


def _chances(n, p):
    chances = [1.0]
    for _ in range(n):
        chances = [a * (1 - p) + b * p for a, b in zip([*chances, 0.0], [0.0, *chances], strict=True)]
    return chances


@pytest.mark.parametrize("make", [lambda: RatioEvidence(1.0), lambda: Restarting(1)])
@pytest.mark.parametrize("cap", [1.5, 8.0, np.inf])
def test_capped_evidence_has_mean_at_most_one_over_all_outcomes(make, cap):
    """Two windows of five and ten requests, canary and baseline alike: every outcome is enumerated."""
    mine, theirs = _chances(5, 0.3), _chances(10, 0.3)
    outcomes = [(a, b, x * y) for (a, x), (b, y) in product(enumerate(mine), enumerate(theirs))]
    mean = 0.0
    for (a, b, chance), (c, d, after) in product(outcomes, outcomes):
        evidence = make()
        if isinstance(evidence, Restarting):
            evidence.start_stage()
        evidence.log_cap = np.array([log(cap) if np.isfinite(cap) else np.inf])
        evidence.update(Counts(5, a, 10, b))
        evidence.close_window()
        evidence.update(Counts(5, c, 10, d))
        mean += chance * after * exp(evidence.log_e[0])
    assert mean <= 1 + 1e-9
    assert mean > 0.5


def test_no_window_is_worth_more_than_its_cap():
    """However bad it is; and windows multiply."""
    evidence = RatioEvidence(1.0)
    evidence.log_cap = np.array([log(8)])
    for number in (1, 2, 3):
        evidence.update(Counts(100, 90, 1000, 1))
        assert evidence.log_e[0] == pytest.approx(number * log(8))
        evidence.close_window()


def test_windows_of_a_batch_close_one_by_one():
    """One rollout's window ends, the other's goes on."""
    both, single = RatioEvidence(1.0, batch=2), RatioEvidence(1.0)
    both.log_cap, single.log_cap = np.full(2, log(4)), np.array([log(4)])
    for _ in range(3):
        for evidence in (both, single):
            evidence.update(Counts(100, 9, 1000, 10))
        both.close_window(np.array([True, False]))
    assert both.log_e[0] > both.log_e[1]
    assert both.log_e[1] == pytest.approx(single.log_e[0])
