"""Means of which only sums and numbers are known: false rollbacks stay rare, whatever the values and their bursts."""

from math import log

import numpy as np
import pytest

from pytest_canary.stats.batches import BATCHES, VALUES, BatchEvidence, BatchLimitEvidence, Spread
from pytest_canary.stats.mean import Moments, one_sided_mixture

ALPHA = 0.01


def _sums(rng, expected, mean, shape, clump):
    """Numbers and sums of one poll of many rollouts; ``clump`` values in a row are equal, as retries are."""
    groups = rng.poisson(expected / clump)
    return groups * clump, rng.gamma(groups * shape + 1e-12, mean * clump / shape)


def _rollouts(times, *, batch=400, shape=1.0, clump=1, seed=1, gate=1.2, shared=0.0):
    """Who is convicted, and canary requests until then: 5, 25 and 50 % of 100 a second, a poll every 5 s."""
    rng, rule = np.random.default_rng(seed), BatchEvidence(gate, 3, batch, spread=400.0**2 / shape)
    stopped, served, proved = np.zeros(batch, dtype=bool), np.zeros(batch), np.zeros(batch, dtype=bool)
    for share in (0.05, 0.25, 0.5):
        rule.start_stage()
        for _ in range(60):
            both = 400 * rng.lognormal(0, shared, batch)
            canary = _sums(rng, np.full(batch, 500 * share), both * times, shape, clump)
            baseline = _sums(rng, np.full(batch, 500 * (1 - share)), both, shape, clump)
            rule.update((Moments(*canary, 0.0), Moments(*baseline, 0.0)))
            served += canary[0] * ~stopped
            stopped |= (rule.log_e >= log(1 / ALPHA)) & (rule.odds >= 0.75)
        proved |= rule.log_proof >= log(20)
    return stopped, served, proved


@pytest.mark.parametrize("clump", [1, 3, 10], ids=["poisson", "bursts of 3", "bursts of 10"])
@pytest.mark.parametrize("shape", [1.0, 0.2], ids=["spread as far as the mean", "2.2 times as far"])
def test_the_same_mean_hardly_ever_convicts(shape, clump):
    """400 rollouts with 180 looks each at a nominal 1 %: bursts are no excuse."""
    stopped, _, _ = _rollouts(1.0, shape=shape, clump=clump)
    assert stopped.sum() <= 4


def test_what_moves_both_sides_convicts_nobody():
    """Long answers in the afternoon are no news about the canary."""
    stopped, _, _ = _rollouts(1.0, shared=0.3)
    assert stopped.sum() <= 4


@pytest.mark.parametrize(("clump", "soon"), [(1, 700), (10, 3000)])
def test_half_as_much_again_is_always_found(clump, soon):
    """Power is a number: canary requests until the rollback, on average."""
    stopped, served, _ = _rollouts(1.5, clump=clump, batch=200)
    assert stopped.all()
    assert served.mean() <= soon


def test_a_tenth_more_within_the_gate_is_left_alone():
    """Sure to be more, and not more than is allowed."""
    stopped, _, _ = _rollouts(1.1, batch=200)
    assert stopped.mean() <= 0.05


def test_a_build_at_the_gate_is_seldom_proved_to_be_within_it():
    """5 % a stage, three stages."""
    _, _, at_the_gate = _rollouts(1.2)
    _, _, same = _rollouts(1.0)
    assert at_the_gate.mean() <= 0.15
    assert same.mean() >= 0.95


def test_few_batches_say_nothing():
    """However far the sides are apart: seven batches of anything may come by chance."""
    rule = BatchEvidence(1.2, 1)
    rule.start_stage()
    for _ in range(BATCHES - 1):
        rule.update((Moments(VALUES, VALUES * 9000.0, 0.0), Moments(VALUES, VALUES * 400.0, 0.0)))
    assert rule.log_e[0] == pytest.approx(0.0)
    assert not rule.speaks[0]
    rule.update((Moments(VALUES, VALUES * 9000.0, 0.0), Moments(VALUES, VALUES * 400.0, 0.0)))
    assert rule.speaks[0]


def test_polls_are_put_together_until_a_batch_is_full():
    """Polls of five values are no batches."""
    rule = BatchEvidence(1.2, 1)
    rule.start_stage()
    for _ in range(4 * (BATCHES - 1)):
        rule.update((Moments(5, 2000.0, 0.0), Moments(50, 20_000.0, 0.0)))
    assert not rule.speaks[0]


def test_the_value_is_that_of_the_self_normalised_mixture():
    """S = sum of w (difference of the means), V = sum of the squares: Howard et al. 2021, with V in place of time."""
    rule = BatchEvidence(1.2, 1, spread=100.0)
    rule.start_stage()
    for step in range(12):
        rule.update((Moments(40, 40 * (410.0 + step), 0.0), Moments(40, 40 * 400.0, 0.0)))
    differences = 20.0 * (10.0 + np.arange(12))
    scale = 1.5 * 20 * 100 + (20 * 80) ** 2
    expected = one_sided_mixture(differences.sum(), (differences**2).sum(), np.array([scale]))
    assert rule.log_e[0] == pytest.approx(float(expected[0]))


def test_a_fixed_limit_is_held_in_rollouts_at_it():
    """A canary exactly at `max` fails in at most 1 %, and one 30 % above it soon."""
    for times, most, least in ((1.0, 4, 0), (1.3, 400, 396)):
        rng, rule = np.random.default_rng(2), BatchLimitEvidence(400.0, 400, spread=400.0**2)
        fired = np.zeros(400, dtype=bool)
        for _ in range(120):
            rule.update(Moments(*_sums(rng, np.full(400, 50.0), 400 * times, 1.0, 1), 0.0))
            fired |= rule.log_e >= log(1 / ALPHA)
        assert least <= fired.sum() <= most


def test_the_interval_holds_the_true_ratio():
    """At the end of nearly all rollouts."""
    rng, rule = np.random.default_rng(3), BatchEvidence(1.2, 1, 200, spread=400.0**2)
    rule.start_stage()
    for _ in range(60):
        canary, baseline = (_sums(rng, np.full(200, 250.0), mean, 1.0, 1) for mean in (440.0, 400.0))
        rule.update((Moments(*canary, 0.0), Moments(*baseline, 0.0)))
    low, high = rule.interval()
    assert ((low <= 1.1) & (high >= 1.1)).mean() >= 0.95
    assert (high - low).mean() <= 0.2


def test_the_spread_of_single_values_is_seen_in_the_means_of_polls():
    """Variance of a poll's mean times its number."""
    rng, spread = np.random.default_rng(4), Spread()
    for _ in range(2000):
        spread.add(25, rng.gamma(1.0, 400.0, 25).sum())
    assert spread.variance == pytest.approx(400.0**2, rel=0.1)
    assert Spread().variance == 0.0
