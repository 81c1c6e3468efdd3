"""What must hold of the evidence about ratios for any counts whatever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_canary.stats.ratio import Counts, RatioEvidence, RatioPosterior, Restarting

requests = st.integers(1, 100_000)
share = st.floats(0.0, 1.0)
few = settings(max_examples=60, deadline=None, derandomize=True)


def _counts(nc, ec, nb, eb):
    return Counts(nc, round(nc * ec * 0.2), nb, round(nb * eb * 0.2))


polls = st.lists(st.builds(_counts, requests, share, requests, share), min_size=1, max_size=6)


def _log_e(counts, side=+1):
    evidence = RatioEvidence(1.0, side)
    for one in counts:
        evidence.update(one)
    return float(evidence.log_e[0])


@few
@given(polls, st.integers(1, 50))
def test_more_errors_of_the_canary_are_never_less_evidence(counts, more):
    """Nor are more of the baseline's ever more."""
    first = counts[0]
    worse = [first._replace(events=first.events + more), *counts[1:]]
    excused = [first._replace(base_events=first.base_events + more), *counts[1:]]
    assert _log_e(worse) >= _log_e(counts) - 1e-9
    assert _log_e(excused) <= _log_e(counts) + 1e-9


@few
@given(polls)
def test_the_order_of_polls_does_not_matter(counts):
    """Within a window only the sums count."""
    assert _log_e(counts) == pytest.approx(_log_e(counts[::-1]), abs=1e-6)


@few
@given(st.integers(1, 5000), share, st.integers(1, 5000), share)
def test_a_poll_may_be_looked_at_in_two_halves(nc, ec, nb, eb):
    """With the same split the two halves say what the whole says."""
    half = _counts(nc, ec, nb, eb)
    whole = Counts(*(2 * value for value in half))
    assert _log_e([half, half]) == pytest.approx(_log_e([whole]), abs=1e-6)


@few
@given(polls)
def test_requests_count_only_by_their_split(counts):
    """Ten times the requests on both sides, with the same events, says the same."""
    scaled = [one._replace(requests=10 * one.requests, base_requests=10 * one.base_requests) for one in counts]
    assert _log_e(scaled) == pytest.approx(_log_e(counts), abs=1e-6)


@few
@given(st.lists(polls.filter(lambda one: len(one) >= 3).map(lambda one: one[:3]), min_size=2, max_size=4))
def test_a_batch_is_many_single_ones(rollouts):
    """Simulations judge with the same code as a live run."""
    batch = len(rollouts)
    pairs = ((Restarting(2, batch), [Restarting(2) for _ in rollouts]), (
        RatioPosterior(2, batch), [RatioPosterior(2) for _ in rollouts]))  # fmt: skip
    for together, alone in pairs:
        for number in range(3):
            if number < 2:
                for one in (together, *alone):
                    one.start_stage()
            together.update(Counts(*(np.array([one[number][field] for one in rollouts]) for field in range(4))))
            for one, single in zip(rollouts, alone, strict=True):
                single.update(one[number])
        if isinstance(together, Restarting):
            assert together.log_e == pytest.approx([float(one.log_e[0]) for one in alone], abs=1e-6)
        else:
            assert together.odds(1.5) == pytest.approx([float(one.odds(1.5)[0]) for one in alone], abs=1e-9)


@few
@given(st.integers(1, 10**9), share, st.integers(1, 10**9), share)
def test_a_thousand_million_requests_overflow_nothing(nc, ec, nb, eb):
    """Log space throughout."""
    counts, restarting, posterior = _counts(nc, ec, nb, eb), Restarting(3), RatioPosterior(3)
    for one in (restarting, posterior):
        one.start_stage()
        one.update(counts)
    assert np.isfinite(restarting.log_e).all()
    assert 0 <= posterior.odds(1.5)[0] <= 1
    low, high = posterior.interval()
    assert 0 < low[0] <= high[0] <= 65
    for side in (+1, -1):
        assert np.isfinite(_log_e([counts], side))
