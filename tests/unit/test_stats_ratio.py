"""The ratio of two rates: worked values, exactness by enumeration, and what must never happen."""

from itertools import product
from math import comb

import numpy as np
import pytest

from pytest_canary.stats.ratio import Counts, RatioEvidence, RatioPosterior, Restarting, start_weights

WORKED = [
    # counts, E[r<=1], E[r<=1.5], E[r>=1.5], P(r>1.5), P(r>1.2)
    ((500, 5, 9500, 40), 2.2239, 0.8399, 0.3548, 0.3751, 0.2904),
    ((500, 4, 9500, 0), 854.82, 420.96, 0.2217, 0.9245, 0.4659),
    ((500, 25, 500, 10), 13.1767, 1.4314, 0.1414, 0.6741, 0.5854),
    ((1500, 30, 28500, 285), 70.593, 0.8168, 0.0642, 0.7824, 0.8596),
    ((1800, 36, 34200, 342), 190.97, 0.954, 0.0498, 0.8342, 0.9206),
]


def _evidence(counts, r0=1.0, side=+1):
    process = RatioEvidence(r0, side)
    process.update(Counts(*counts))
    return float(np.exp(process.log_e[0]))


def _odds(counts, gate):
    posterior = RatioPosterior(1)
    posterior.start_stage()
    posterior.update(Counts(*counts))
    return float(posterior.odds(gate)[0])


@pytest.mark.parametrize(("counts", "worse", "beyond", "within", "odds_15", "odds_12"), WORKED)
def test_evidence_and_odds_have_the_worked_values(counts, worse, beyond, within, odds_15, odds_12):
    """Five tables computed independently, to four digits."""
    assert _evidence(counts) == pytest.approx(worse, rel=2e-4)
    assert _evidence(counts, 1.5) == pytest.approx(beyond, rel=2e-4)
    assert _evidence(counts, 1.5, side=-1) == pytest.approx(within, rel=1e-3)
    assert _odds(counts, 1.5) == pytest.approx(odds_15, abs=6e-5)
    assert _odds(counts, 1.2) == pytest.approx(odds_12, abs=6e-5)


def test_odds_before_any_data_put_an_eighth_of_belief_above_the_gate():
    """The prior holds that a new build is about the same; .1533 of it lies above 1.5."""
    assert RatioPosterior(3).odds(1.5)[0] == pytest.approx(0.1533, abs=5e-5)


def test_odds_over_two_start_points_have_the_worked_value():
    """A second stage adds a start point without forgetting the first."""
    posterior = RatioPosterior(3)
    for counts in ((500, 4, 9500, 0), (2500, 60, 7500, 75)):
        posterior.start_stage()
        posterior.update(Counts(*counts))
    assert posterior.odds(1.5)[0] == pytest.approx(0.99715, abs=5e-6)


@pytest.mark.parametrize("r0", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("side", [+1, -1])
def test_mean_evidence_of_an_innocent_build_never_exceeds_one(r0, side):
    """The whole promise rests on this: enumerated over every table of small samples, at the edge of the hypothesis."""
    largest = 0.0
    for (nc, nb), base in product([(1, 1), (3, 8), (6, 2), (2, 20), (5, 5)], [0.001, 0.01, 0.05, 0.1, 0.2, 0.3]):
        rate = r0 * base
        tables = np.array(list(product(range(nc + 1), range(nb + 1))))
        chance = [
            comb(nc, ec) * rate**ec * (1 - rate) ** (nc - ec) * comb(nb, eb) * base**eb * (1 - base) ** (nb - eb)
            for ec, eb in tables.tolist()
        ]
        process = RatioEvidence(r0, side, batch=len(tables))
        process.update(Counts(np.full(len(tables), nc), tables[:, 0], np.full(len(tables), nb), tables[:, 1]))
        largest = max(largest, float(np.exp(process.log_e) @ np.array(chance)))
    assert largest <= 1.0 + 1e-12
    assert largest > 0.99


def test_more_canary_errors_never_look_better_and_more_baseline_errors_never_look_worse():
    """Monotone: no count can be gamed by failing more."""
    errors = np.arange(0, 200)
    worse = RatioEvidence(batch=errors.size)
    worse.update(Counts(500, errors, 9500, 50))
    better = RatioEvidence(batch=errors.size)
    better.update(Counts(500, 20, 9500, errors))
    assert (np.diff(worse.log_e) >= 0).all()
    assert (np.diff(better.log_e) <= 0).all()


def test_a_batch_is_as_many_rollouts_of_one():
    """The batch axis only saves time."""
    rng = np.random.default_rng(5)
    polls = [
        (rng.poisson(20, 7), rng.binomial(5, 0.2, 7), rng.poisson(200, 7), rng.binomial(9, 0.2, 7)) for _ in range(6)
    ]
    together_e, together_p = Restarting(2, batch=7), RatioPosterior(2, batch=7)
    alone = [(Restarting(2), RatioPosterior(2)) for _ in range(7)]
    for number, poll in enumerate(polls):
        for index, (one_e, one_p) in enumerate([*alone, (together_e, together_p)]):
            counts = Counts(*poll) if index == 7 else Counts(*(values[index] for values in poll))
            for process in (one_e, one_p):
                if number % 3 == 0:
                    process.start_stage()
                process.update(counts)
    assert np.allclose(together_e.log_e, [one.log_e[0] for one, _ in alone], atol=1e-9)
    assert np.allclose(together_p.odds(1.5), [one.odds(1.5)[0] for _, one in alone], atol=1e-9)


def test_polls_may_be_split_or_joined():
    """How often one looks changes nothing about the evidence."""
    once = _evidence((500, 12, 9500, 60))
    process = RatioEvidence()
    for _ in range(4):
        process.update(Counts(125, 3, 2375, 15))
    assert np.exp(process.log_e[0]) == pytest.approx(once, rel=1e-9)


def test_a_poll_without_traffic_on_one_side_says_nothing():
    """Errors of one side alone cannot be compared with anything."""
    process = RatioEvidence()
    process.update(Counts(0, 3, 100, 5))
    process.update(Counts(50, 40, 0, 0))
    assert process.log_e[0] == pytest.approx(0.0, abs=1e-12)


def test_a_thousand_million_requests_neither_overflow_nor_drown():
    """Logs all the way: a harmless and a harmful build stay apart at any size."""
    assert _odds((10**9, 10**7, 10**9, 10**7), 1.5) < 1e-6
    assert _odds((10**9, 2 * 10**7, 10**9, 10**7), 1.5) > 1 - 1e-6
    process = RatioEvidence()
    process.update(Counts(1e9, 2e7, 1e9, 1e7))
    assert np.isfinite(process.log_e[0])
    assert process.log_e[0] > 1e5


def test_restarts_find_harm_that_begins_late():
    """A long good past may not outweigh what happens at the new share."""
    plain, restarting = RatioEvidence(), Restarting(3)
    for errors in (30, 30, 90):
        restarting.start_stage()
        for process in (plain, restarting):
            process.update(Counts(2000, errors, 2000, 40))
    assert restarting.log_e[0] > plain.log_e[0] + 3


def test_start_points_share_one_unit_of_evidence():
    """The weights add up to one, or alpha would be spent twice."""
    assert start_weights(1).tolist() == [1.0]
    assert start_weights(3).tolist() == pytest.approx([0.8, 0.1, 0.1])
    assert start_weights(4).sum() == pytest.approx(1.0)


def test_the_interval_holds_at_every_look_together():
    """Of 400 rollouts watched at 60 polls each, at most the promised 5 % ever lose the true ratio."""
    rng, batch, true = np.random.default_rng(11), 400, 2.0
    posterior = RatioPosterior(1, batch)
    posterior.start_stage()
    lost = np.zeros(batch, dtype=bool)
    for _ in range(60):
        nc, nb = rng.poisson(50, batch), rng.poisson(200, batch)
        posterior.update(Counts(nc, rng.binomial(nc, 0.02 * true), nb, rng.binomial(nb, 0.02)))
        low, high = posterior.interval(0.05)
        lost |= (low > true) | (high < true)
    assert lost.mean() <= 0.05
    assert np.median(high / low) < 6


def test_what_a_limit_has_held_back_counts_when_it_is_lifted():
    """A look in between does not make the window worth less than it is then."""
    evidence = Restarting(1)
    evidence.start_stage()
    evidence.log_cap = np.array([np.log(8)])
    evidence.update(Counts(100, 30, 900, 20))
    assert not evidence.reaches(np.log(100))[0]
    evidence.log_cap = np.array([np.inf])
    assert evidence.reaches(np.log(100))[0]
    assert evidence.log_e[0] > np.log(100)
