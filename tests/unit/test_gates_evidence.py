"""The statistical rules over whole rollouts, a few hundred at a time."""

import numpy as np
import pytest

from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.frozen import Frozen
from pytest_canary.gates.lane import Lane
from pytest_canary.stats.ratio import Counts

ALPHA, GATE = 0.01, 1.5


def _rollouts(batch, ratio, seed, base=0.01, rate=100):
    """Ten minutes of baseline, then 5, 25 and 50 %, 300 s each, a look every 5 s.

    Returns who failed, and the canary's requests until then.
    """
    rng, rule = np.random.default_rng(seed), RateEvidence(ALPHA, 3, batch=batch)
    for _ in range(120):
        before = rng.poisson(rate * 5, batch)
        rule.normal(before, rng.binomial(before, base))
    running, exposed = np.ones(batch, dtype=bool), np.zeros(batch)
    for stage, share in enumerate((0.05, 0.25, 0.5)):
        rule.start_stage(GATE, 300.0)
        for poll in range(60):
            nc, nb = rng.poisson(rate * 5 * share, batch), rng.poisson(rate * 5 * (1 - share), batch)
            ec, eb = rng.binomial(nc, min(base * ratio, 1.0)), rng.binomial(nb, base)
            rule.alone(nc, ec)
            rule.compare(Counts(nc, ec, nb, eb), at=300.0 * stage + 5 * poll)
            exposed += nc * running
            running &= ~(rule.convicts(rule.posterior.odds(GATE)) | rule.broken())
            if not running.any():
                return ~running, exposed
    return ~running, exposed


def test_the_same_build_is_hardly_ever_rolled_back():
    """300 rollouts of a build against itself: a right rule exceeds 10 with a chance below 1/3000."""
    failed, exposed = _rollouts(300, 1.0, seed=1)
    assert failed.sum() <= 10
    assert exposed.mean() > 23_000


def test_twice_the_errors_are_always_found_after_about_two_thousand_requests():
    """Power is a number: all 300 fail, after 1,600 to 2,200 canary requests on average."""
    failed, exposed = _rollouts(300, 2.0, seed=1)
    assert failed.all()
    assert 1600 <= exposed.mean() <= 2200


def test_a_fifth_more_errors_within_the_gate_are_left_alone():
    """Between "worse at all" and "worse than the gate" hardly anybody is rolled back."""
    failed, _ = _rollouts(300, 1.2, seed=2)
    assert failed.mean() <= 0.06


def test_a_build_exactly_at_the_gate_may_go_either_way():
    """Said in the manual: it is rolled back about half of the time, and neither always nor never."""
    failed, _ = _rollouts(300, GATE, seed=3)
    assert 0.35 <= failed.mean() <= 0.7


@pytest.mark.parametrize(("ratio", "at_most"), [(20, 60), (95, 30)])
def test_a_broken_build_is_out_after_a_handful_of_requests(ratio, at_most):
    """Minimum requests and holds never delay this."""
    failed, exposed = _rollouts(200, ratio, seed=4)
    assert failed.all()
    assert exposed.mean() <= at_most


def test_the_lane_spares_a_canary_that_shares_an_outage_with_the_baseline():
    """Both sides fail three requests in ten: nobody is to blame."""
    lane = Lane(ALPHA)
    lane.update(400, 120)
    assert lane.fires(None)[0]
    assert not lane.fires(np.array([-0.5]))[0]
    assert lane.fires(np.array([0.0]))[0]


def test_the_lane_expects_what_the_baseline_does():
    """Where four requests in ten are refused every day, half of them is no catastrophe."""
    lane = Lane(ALPHA)
    lane.expect(0.4)
    lane.update(400, 200)
    assert not lane.fires(None)[0]
    lane.update(100, 100)
    lane.update(200, 200)
    assert lane.fires(None)[0]


def test_without_the_lane_all_of_alpha_goes_to_the_evidence():
    """The lane's tenth is not lost when it is turned off."""
    assert RateEvidence(ALPHA, 3, lane=True).alpha == pytest.approx(0.009)
    without = RateEvidence(ALPHA, 3, lane=False)
    assert without.alpha == ALPHA
    without.alone(1000, 1000)
    assert not without.broken()[0]


def test_a_frozen_baseline_convicts_only_above_what_it_can_have_been():
    """Several limits share the level, and no limit convicts nobody."""
    frozen = Frozen([0.02, 0.05], ALPHA)
    frozen.update(3000, [60, 60])
    assert not frozen.convicts
    frozen.update(3000, [240, 60])
    assert frozen.convicts
    assert not Frozen([], ALPHA).convicts
