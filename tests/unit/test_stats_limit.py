"""One rate against a limit: exact, quick when the canary is broken, awake after a long good past."""

from itertools import product
from math import comb

import numpy as np
import pytest

from pytest_canary.stats.limit import LimitEvidence


@pytest.mark.parametrize("limit", [0.01, 0.2, 0.5, 0.95])
def test_mean_evidence_at_the_limit_never_exceeds_one(limit):
    """Enumerated over every course of two polls, each with its own number of requests."""
    tables = np.array(list(product(range(5), range(8))))
    chance = [
        comb(4, a) * limit**a * (1 - limit) ** (4 - a) * comb(7, b) * limit**b * (1 - limit) ** (7 - b)
        for a, b in tables.tolist()
    ]
    process = LimitEvidence(limit, batch=len(tables))
    process.update(4, tables[:, 0])
    process.update(7, tables[:, 1])
    assert float(np.exp(process.log_e) @ np.array(chance)) <= 1.0 + 1e-12


def test_evidence_starts_at_one_and_grows_with_every_failure():
    """Nothing counted is no evidence; more failures are never less."""
    process = LimitEvidence(0.2, batch=31)
    assert np.allclose(process.log_e, 0.0)
    process.update(30, np.arange(31))
    assert (np.diff(process.log_e) >= 0).all()
    assert np.isfinite(process.log_e).all()


@pytest.mark.parametrize(("failing", "at_most"), [(0.5, 70), (0.95, 25)])
def test_a_plainly_broken_canary_is_found_within_a_handful_of_requests(failing, at_most):
    """Polls of 25 requests against "one in five", at a thousandth."""
    rng, needed = np.random.default_rng(1), []
    for _ in range(100):
        process, requests = LimitEvidence(0.2), 0
        while process.log_e[0] < np.log(1000):
            process.update(25, rng.binomial(25, failing))
            requests += 25
        needed.append(requests)
    assert np.mean(needed) <= at_most


def test_a_collapse_after_an_hour_without_trouble_is_found_at_once():
    """720 good polls may not hide 20 failures in a row."""
    process = LimitEvidence(0.2)
    for _ in range(720):
        process.update(250, 2)
    process.update(20, 20)
    assert process.log_e[0] > np.log(1000)


def test_at_the_limit_few_rollouts_are_ever_convicted():
    """Looking at every poll does not raise the promised 5 %."""
    rng, batch = np.random.default_rng(2), 400
    process, convicted = LimitEvidence(0.2, batch), np.zeros(batch, dtype=bool)
    for _ in range(100):
        process.update(10, rng.binomial(10, 0.2, batch))
        convicted |= process.log_e >= np.log(20)
    assert convicted.mean() <= 0.05


def test_a_thousand_million_requests_and_more_events_than_requests_stay_finite():
    """Counters read at different moments, limits at the ends: numbers, never an error."""
    for limit in (0.0, 1e-4, 0.5, 1.0):
        process = LimitEvidence(limit)
        process.update(1e9, 1e7)
        process.update(3, 5)
        process.update(0, 0)
        assert np.isfinite(process.log_e[0])
