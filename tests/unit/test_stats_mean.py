"""Evidence about means: published values, error rates that hold, and sides that can be swapped."""

from math import log

import numpy as np
import pytest

from pytest_canary.stats.mean import BURN_IN, MeanEvidence, MeanLimitEvidence, Moments, one_sided_mixture


def _side(rng, number, mean, batch=1, shift=0.0):
    values = rng.gamma(2.0, mean / 2, (batch, number)) + shift
    return Moments(np.full(batch, number), values.sum(axis=1), (values**2).sum(axis=1))


def _rollouts(times, batch=200, polls=90, seed=1, drift=False, gate=1.2):
    """Who is convicted at 1 %, and values of the canary until then: 25 a poll against 225."""
    rng, rule = np.random.default_rng(seed), MeanEvidence(gate, 3, batch)
    stopped, served = np.zeros(batch, dtype=bool), np.zeros(batch)
    for poll in range(polls):
        if poll % 30 == 0:
            rule.start_stage()
        shift = 200.0 * np.sin(poll / 5) + 200 if drift else 0.0
        rule.update((_side(rng, 25, 400 * times, batch, shift), _side(rng, 225, 400, batch, shift)))
        served += 25 * ~stopped
        stopped |= (rule.log_e >= log(100)) & (rule.odds >= 0.75)
    return stopped, served, rule


def test_the_mixture_has_its_published_value():
    """confseq, one-sided normal mixture with v_opt 100 at alpha .05: log mixture at (10, 100)."""
    scale = 100 / (2 * log(1 / 0.1) + log(1 + 2 * log(1 / 0.1)))
    value = one_sided_mixture(np.array([10.0]), np.array([100.0]), np.array([scale]))
    assert value[0] == pytest.approx(-0.06502391, abs=1e-6)


def test_the_same_mean_hardly_ever_convicts():
    """200 rollouts with 90 looks each, at a nominal 1 %."""
    stopped, _, _ = _rollouts(1.0)
    assert stopped.sum() <= 6


def test_a_third_more_is_always_found_soon():
    """Power is a number."""
    stopped, served, _ = _rollouts(1.3)
    assert stopped.all()
    assert 120 <= served.mean() <= 400


def test_a_tenth_more_is_left_alone():
    """Within the gate."""
    stopped, _, _ = _rollouts(1.1)
    assert stopped.mean() <= 0.05


def test_what_moves_both_sides_convicts_nobody():
    """Values that rise and fall with the hour are compared within each poll."""
    stopped, _, _ = _rollouts(1.0, drift=True)
    assert stopped.sum() <= 6


def test_the_interval_holds_the_true_ratio():
    """At the end of most rollouts; it is valid at every look, so wider than it needs to be at one."""
    _, _, rule = _rollouts(1.1)
    low, high = rule.interval()
    assert ((low <= 1.1) & (high >= 1.1)).mean() >= 0.95
    assert (high - low).mean() <= 0.4


def test_swapped_sides_are_the_other_direction():
    """Where higher is better, less is harm."""
    rng = np.random.default_rng(3)
    canary, baseline = _side(rng, 500, 300), _side(rng, 4500, 400)
    plain, swapped = MeanEvidence(1.2, 1), MeanEvidence(1.2, 1)
    for rule, sides in ((plain, (canary, baseline)), (swapped, (baseline, canary))):
        rule.start_stage()
        rule.update(sides)
    assert plain.log_e[0] < 0 < log(1000) < swapped.log_e[0]
    assert plain.log_proof[0] > log(20) > swapped.log_proof[0]
    assert plain.odds[0] < 0.01 < 0.85 < swapped.odds[0]


def test_a_difference_is_judged_like_a_ratio():
    """``delta``: 5 points of a score."""
    rng = np.random.default_rng(4)

    def scores(number, mean):
        values = np.clip(rng.normal(mean, 0.1, number), 0, 1)
        return Moments(number, values.sum(), (values**2).sum())

    for mean, odds in ((0.8, 1.0), (0.895, 0.0)):
        rule = MeanEvidence(0.05, 1, additive=True)
        rule.start_stage()
        rule.update((scores(9000, 0.9), scores(1000, mean)))
        assert rule.odds[0] == pytest.approx(odds, abs=0.02)


def test_before_any_data_the_odds_are_those_of_the_prior():
    """The gate lies one deviation above "the same"."""
    rule = MeanEvidence(1.2, 3)
    rule.start_stage()
    assert rule.odds[0] == pytest.approx(0.1587, abs=1e-3)
    assert rule.log_e[0] == pytest.approx(0.0)


def test_fewer_than_fifty_values_say_nothing():
    """The normal approximation is not trusted with them."""
    rule = MeanEvidence(1.2, 1)
    rule.start_stage()
    rule.update((Moments(BURN_IN - 1, 1e6, 1e12), Moments(5000, 5000, 6000)))
    assert rule.log_e[0] == pytest.approx(0.0)


def test_a_batch_is_many_single_ones():
    """And copies that start later are part of both."""
    rng = np.random.default_rng(5)
    polls = [(_side(rng, 30, 440, 3), _side(rng, 270, 400, 3)) for _ in range(6)]
    together, alone = MeanEvidence(1.2, 2, 3), [MeanEvidence(1.2, 2) for _ in range(3)]
    for number, sides in enumerate(polls):
        if number in (0, 3):
            for rule in (together, *alone):
                rule.start_stage()
        together.update(sides)
        for index, rule in enumerate(alone):
            mine, theirs = (Moments(*(np.asarray(part)[index] for part in side)) for side in sides)
            rule.update((mine, theirs))
    assert together.log_e == pytest.approx([rule.log_e[0] for rule in alone])
    assert together.odds == pytest.approx([rule.odds[0] for rule in alone])


def test_a_fixed_limit_is_broken_or_kept():
    """The one-sample form."""
    rng = np.random.default_rng(6)
    for mean, above in ((550, True), (450, False)):
        rule = MeanLimitEvidence(500.0)
        rule.update(_side(rng, 3000, mean))
        assert bool(rule.log_e[0] >= log(100)) is above
        assert bool(rule.log_proof[0] >= log(20)) is not above
        assert bool(rule.odds[0] > 0.99) is above


def test_a_thousand_million_values_overflow_nothing():
    """Log space throughout."""
    rule = MeanEvidence(1.2, 1)
    rule.start_stage()
    number = 1e9
    rule.update((Moments(number, 3 * number, 20 * number), Moments(number, number, 2 * number)))
    for value in (rule.log_e, rule.odds, rule.log_proof, *rule.interval()):
        assert np.isfinite(value).all()
    assert rule.log_e[0] > 1e6
