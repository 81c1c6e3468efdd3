"""Means, scores, and rates so frequent that they are judged like means."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Decide
from pytest_canary.ports import Histogram, Sample
from pytest_canary.verdict import By, Status
from tests.unit.judged import gate, judge, look, sample, start

TOKENS = tuple(float(edge) for edge in range(20, 4001, 20))
SCORES = tuple(round(edge / 100, 2) for edge in range(1, 101))


def _values(values, bounds, name):
    counts, _ = np.histogram(values, [0.0, *bounds, np.inf])
    histogram = Histogram(bounds, tuple(map(float, counts)), float(np.sum(values)))
    return Sample(0.0, {"requests": float(len(values)), "errors": 0.0, "client_errors": 0.0}, {name: histogram})


def _tokens(number, mean=400.0, seed=1):
    rng = np.random.default_rng(seed)
    return _values(rng.gamma(2.0, mean / 2, number), TOKENS, "output_tokens")


def _scores(number, mean=0.9, seed=1):
    rng = np.random.default_rng(seed)
    return _values(np.clip(rng.normal(mean, 0.1, number), 0.01, 1.0), SCORES, "quality")


def _judged(one, captured):
    judged = judge(one, captured=captured)
    start(judged)
    return judged


def test_half_as_many_tokens_again_fail_and_the_sentence_says_how_many():
    """Cost goes with tokens; two means and what they are the mean of is what a person asks for."""
    verdict = look(_judged(gate("output_tokens", ratio=1.2), _tokens(5000)), _tokens(500, 600), _tokens(4500, seed=2))
    assert (verdict.status, verdict.by) == (Status.FAIL, By.EVIDENCE)
    assert verdict.sentence.startswith("output_tokens[10%]: canary 566 tokens (mean of 500) against baseline 407")
    assert "limit 1.2x" in verdict.sentence
    assert verdict.interval is not None
    assert verdict.interval[0] < 1.4 < verdict.interval[1]


def test_the_same_number_of_tokens_is_proved_to_be_within_the_limit():
    """Proof, and how much more it takes while there is none."""
    judged = _judged(gate("output_tokens", ratio=1.2), _tokens(5000))
    early = look(judged, _tokens(60, seed=3), _tokens(540, seed=2))
    assert (early.status, early.harmless) == (Status.UNDECIDED, True)
    late = look(judged, _tokens(2000), _tokens(18_000, seed=2), at=20)
    assert (late.status, late.by) == (Status.PASS, By.PROOF)


def test_fewer_tokens_are_no_harm():
    """Lower is better here, so a canary that says less passes."""
    verdict = look(
        _judged(gate("output_tokens", ratio=1.2), _tokens(5000)), _tokens(2000, 200), _tokens(18_000, seed=2)
    )
    assert verdict.status is Status.PASS


def test_where_higher_is_better_a_lower_score_fails_and_a_higher_passes():
    """``ratio`` and ``delta`` always mean worse by."""
    for limits in ({"ratio": 1.05}, {"delta": 0.04}):
        worse = look(_judged(gate("quality", **limits), _scores(4000)), _scores(1000, 0.7), _scores(9000, seed=2))
        assert worse.status is Status.FAIL, limits
        better = look(_judged(gate("quality", **limits), _scores(4000)), _scores(1000, 0.95), _scores(9000, seed=2))
        assert better.status is Status.PASS, limits


def test_a_score_may_have_a_floor_that_needs_no_baseline():
    """``min: 0.85``: broken by evidence, kept by proof, open in between."""
    for mean, status in ((0.75, Status.FAIL), (0.9, Status.PASS), (0.852, Status.UNDECIDED)):
        assert look(_judged(gate("quality", min=0.85), _scores(4000)), _scores(1500, mean)).status is status


def test_a_mean_may_have_a_ceiling():
    """``max`` on tokens, from the canary alone."""
    for mean, status in ((700, Status.FAIL), (300, Status.PASS)):
        verdict = look(_judged(gate("output_tokens", max=500.0), _tokens(4000)), _tokens(1500, mean))
        assert verdict.status is status


def test_fifty_values_a_side_come_before_any_word():
    """The normal approximation is not trusted with less."""
    verdict = look(_judged(gate("output_tokens", ratio=1.2), _tokens(5000)), _tokens(49, 4000), _tokens(441, seed=2))
    assert (verdict.status, verdict.evidence) == (Status.UNDECIDED, pytest.approx(1.0))


def test_a_mean_of_nothing_is_refused_before_the_ramp():
    """A gate that can never speak would pass everything."""
    with pytest.raises(
        BaselineFailed, match="does not count a histogram `output_tokens`, nor the counter `output_tokens`"
    ):
        judge(gate("output_tokens", ratio=1.2), captured=sample(1000, 10))


def test_at_full_traffic_a_mean_is_held_against_the_frozen_baseline():
    """Far more than the last window allows fails, the same passes and says that it was not compared."""
    for mean, status in ((800, Status.FAIL), (400, Status.PASS)):
        judged = judge(gate("output_tokens", ratio=1.2), captured=_tokens(5000))
        start(judged, share=1.0, compared=False)
        verdict = look(judged, _tokens(2000, mean, seed=4), at=60)
        assert verdict.status is status
        assert (verdict.by is By.NOT_COMPARED) == (status is Status.PASS)


@pytest.mark.parametrize(("failed", "status"), [(0.60, Status.FAIL), (0.30, Status.PASS)])
def test_a_frequent_rate_is_judged_as_a_mean(failed, status):
    """At 30 % the exact rule for rare events would need three times the requests."""
    judged = judge(gate(ratio=1.5), captured=sample(10_000, 3000))
    start(judged)
    verdict = look(judged, sample(2000, 2000 * failed), sample(18_000, 5400))
    assert verdict.status is status
    assert f"{2000 * failed:.0f}/2000" in verdict.sentence


def test_a_frequent_rate_keeps_the_catastrophe_lane():
    """Nine in ten where three in ten are normal: out after a handful."""
    judged = judge(gate(ratio=1.5), captured=sample(10_000, 3000))
    start(judged)
    assert look(judged, sample(60, 58), sample(540, 160), at=1).by is By.CATASTROPHE


def test_the_estimate_rule_convicts_means_by_evidence_and_the_number_itself():
    """1.21 times, surely more at all: over the limit by the estimate."""
    captured = _tokens(5000)
    strict = gate("output_tokens", ratio=1.2, decide=Decide.ESTIMATE)
    verdict = look(_judged(strict, captured), _tokens(4000, 500), _tokens(36_000, seed=2))
    assert (verdict.status, verdict.by) == (Status.FAIL, By.ESTIMATE)
    within = look(_judged(strict, captured), _tokens(4000, 440), _tokens(36_000, seed=2))
    assert within.status is not Status.FAIL


def test_labels_compare_means_within_their_values():
    """Twice as many long answers are asked of the canary: its own answers are no longer than the baseline's."""

    def mixed(short, long, seed):
        brief, wordy = _tokens(short, 200, seed), _tokens(long, 1000, seed + 1)
        both = brief.histograms["output_tokens"], wordy.histograms["output_tokens"]
        counts = tuple(a + b for a, b in zip(both[0].counts, both[1].counts, strict=True))
        whole = Histogram(TOKENS, counts, both[0].total + both[1].total)
        counters = {"requests": float(short + long), "errors": 0.0, "client_errors": 0.0}
        return Sample(0.0, counters, {"output_tokens": whole}, strata={"model": {"a": brief, "b": wordy}})

    captured, canary, baseline = mixed(4000, 1000, 1), mixed(500, 500, 3), mixed(7200, 1800, 5)
    blind = look(_judged(gate("output_tokens", ratio=1.2), captured), canary, baseline)
    seeing = look(_judged(gate("output_tokens", ratio=1.2, by=("model",)), captured), canary, baseline)
    assert blind.status is Status.FAIL
    assert seeing.status is not Status.FAIL


def test_a_design_effect_divides_the_evidence():
    """Known to vary four times more than chance: what would convict does so later."""
    plain = look(_judged(gate("output_tokens", ratio=1.2), _tokens(5000)), _tokens(150, 560), _tokens(1350, seed=2))
    known = gate("output_tokens", ratio=1.2)
    careful = look(_judged(replace(known, design_effect=4.0), _tokens(5000)), _tokens(150, 560), _tokens(1350, seed=2))
    assert plain.status is Status.FAIL
    assert careful.evidence < plain.evidence
