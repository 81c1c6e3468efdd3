"""The rules beside evidence: estimate, window, gauges, shapes; and the split that must be as it was set."""

from dataclasses import replace

import pytest

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Decide
from pytest_canary.ports import Sample
from pytest_canary.verdict import By, Status
from tests.unit.judged import after, buckets, gate, judge, look, sample, shaped, start


def _settled(judged):
    """A stage whose slow requests from before the shift have had time to finish."""
    start(judged)
    look(judged, at=5)


# decide: estimate


def test_the_estimate_rule_convicts_just_over_the_gate():
    """Surely worse and 1.6 times by the numbers; the odds of "worse than 1.5" need not be high."""
    counts = sample(30_000, 480), sample(270_000, 2700)
    for decide, fails in ((Decide.ESTIMATE, True), (Decide.EVIDENCE, True)):
        judged = judge(gate(ratio=1.5, decide=decide))
        start(judged)
        assert (look(judged, *counts).status is Status.FAIL) is fails
    near = sample(6000, 92), sample(54_000, 540)
    for decide, fails in ((Decide.ESTIMATE, True), (Decide.EVIDENCE, False)):
        judged = judge(gate(ratio=1.5, decide=decide))
        start(judged)
        verdict = look(judged, *near)
        assert (verdict.status is Status.FAIL) is fails, verdict.sentence


def test_the_estimate_rule_still_asks_for_evidence():
    """Three errors against one in a hundred: three times the rate, and no evidence of anything."""
    judged = judge(gate(ratio=1.5, decide=Decide.ESTIMATE))
    start(judged)
    assert look(judged, sample(100, 3), sample(900, 9)).status is Status.UNDECIDED


def test_the_estimate_rule_sees_a_regression_that_begins_late():
    """The stage's own numbers are over the gate though those of the whole rollout are not."""
    judged = judge(gate(ratio=1.5, decide=Decide.ESTIMATE))
    start(judged)
    assert look(judged, sample(20_000, 200), sample(180_000, 1800)).status is not Status.FAIL
    start(judged, 1, at=20, share=0.5, canary=sample(20_000, 200), baseline=sample(180_000, 1800))
    verdict = look(judged, sample(25_000, 310), sample(185_000, 1850), at=25)
    assert (verdict.status, verdict.by) == (Status.FAIL, By.ESTIMATE)


def test_the_estimate_rule_judges_latency_by_who_has_more_beyond_the_limit():
    """The quantile itself is over the limit exactly when a larger share lies beyond it."""
    for times, fails in ((1.3, True), (1.0, False)):
        judged = judge(gate("latency_p99", ratio=1.2, decide=Decide.ESTIMATE))
        _settled(judged)
        slow, normal = sample(8000, 0, shaped(8000, times)), sample(72_000, 0, shaped(72_000))
        assert (look(judged, slow, normal).status is Status.FAIL) is fails


# decide: window


def test_the_window_rule_looks_at_the_last_thousand_requests():
    """A good past hides nothing: 20 in the last 1,000 against 10 fail at once, before hold and minimum requests."""
    judged = judge(gate(ratio=1.5, decide=Decide.WINDOW))
    start(judged, hold=600, least=50_000)
    assert look(judged, sample(5000, 50), sample(45_000, 450), at=5).status is not Status.FAIL
    verdict = look(judged, sample(6000, 70), sample(46_000, 460), at=10)
    assert (verdict.status, verdict.by) == (Status.FAIL, By.WINDOW)
    assert verdict.sentence.startswith("error_rate[10%]: last 1000: canary 20/1000 (2.00%)")


def test_the_window_rule_is_silent_below_fifty_requests_a_side():
    """Two numbers out of nothing are none."""
    judged = judge(gate(ratio=1.5, decide=Decide.WINDOW))
    start(judged)
    verdict = look(judged, sample(49, 20), sample(441, 4), at=5)
    assert verdict.status is Status.UNDECIDED
    assert "needs 50 requests a side" in verdict.sentence


def test_the_window_rule_judges_p99_and_passes_when_served():
    """p99 +20 %: more fails, the same passes once hold and minimum requests are served."""
    for times, status in ((1.5, Status.FAIL), (1.0, Status.PASS)):
        judged = judge(gate("latency_p99", ratio=1.2, decide=Decide.WINDOW))
        start(judged)
        verdict = look(judged, sample(1000, 0, shaped(1000, times)), sample(9000, 0, shaped(9000)), at=20)
        assert verdict.status is status


def test_the_window_rule_compares_with_the_captured_window_at_full_traffic():
    """Nobody serves beside the canary then."""
    judged = judge(gate(ratio=1.5, decide=Decide.WINDOW), captured=sample(10_000, 100))
    start(judged, share=1.0, compared=False)
    assert look(judged, sample(1000, 30), at=20).status is Status.FAIL


# gauges


def _gauge(value, requests=100.0):
    return replace(sample(requests), gauges={"gpu_utilisation": value})


def test_a_gauge_is_its_mean_over_the_hold_and_is_called_an_estimate():
    """It has no sample size, so nothing better can be said; it speaks only once the hold is served."""
    judged = judge(gate("gpu_utilisation", ratio=1.2), captured=_gauge(0.5))
    start(judged, hold=10.0, least=50)
    assert look(judged, _gauge(0.9), _gauge(0.5), at=5).status is Status.UNDECIDED
    verdict = look(judged, _gauge(0.7, 200.0), _gauge(0.5, 900.0), at=10)
    assert (verdict.status, verdict.by) == (Status.FAIL, By.ESTIMATE)
    assert verdict.sentence == (
        "gpu_utilisation[10%]: estimate: canary 0.8 (mean of 2), baseline 0.5 (mean of 2), limit ratio <= 1.2"
    )


def test_a_gauge_within_its_limit_passes():
    """``max`` needs no baseline."""
    judged = judge(gate("gpu_utilisation", max=0.9), captured=_gauge(0.5))
    start(judged)
    assert look(judged, _gauge(0.85), at=20).status is Status.PASS


# shift


def _answers(*groups):
    return Sample(0.0, {"requests": float(sum(n for n, _ in groups))}, {"latency": buckets(*groups)})


def test_a_shape_that_changed_by_much_fails_either_way():
    """Half of the answers are much shorter: the mean may even be better, and still something is wrong."""
    normal = ((5000, 0.2), (5000, 0.4))
    judged = judge(gate("latency_p50", shift=0.1), captured=_answers(*normal))
    _settled(judged)
    verdict = look(judged, _answers((800, 0.2), (200, 0.4)), _answers(*normal))
    assert verdict.status is Status.FAIL
    assert "PSI 0.4" in verdict.sentence


def test_a_shape_that_changed_by_little_passes_and_is_noted():
    """With enough requests any two builds differ; 0.1 is where it begins to matter."""
    normal = ((500_000, 0.2), (500_000, 0.4))
    judged = judge(gate("latency_p50", shift=0.1), captured=_answers(*normal))
    _settled(judged)
    verdict = look(judged, _answers((62_000, 0.2), (38_000, 0.4)), _answers(*normal), at=20)
    assert (verdict.status, verdict.by) == (Status.PASS, By.SOAK)
    assert verdict.sentence.endswith("the shape has changed, but by less than matters")


def test_the_same_shape_is_no_evidence():
    """And few requests are no shape."""
    normal = ((5000, 0.2), (5000, 0.4))
    judged = judge(gate("latency_p50", shift=0.1), captured=_answers(*normal))
    _settled(judged)
    assert look(judged, _answers((6, 0.2), (1, 0.4)), _answers(*normal), at=5).status is Status.UNDECIDED


@pytest.mark.parametrize("decide", [Decide.THRESHOLD, Decide.WINDOW])
def test_a_shape_is_judged_by_evidence_whatever_rule_judges_the_numbers(decide):
    """`decide: threshold` for the whole file must not let a shift pass unseen."""
    normal = ((5000, 0.2), (5000, 0.4))
    for limits in ({"shift": 0.1}, {"shift": 0.1, "ratio": 3.0}):
        judged = judge(gate("latency_p50", decide=decide, **limits), captured=_answers(*normal))
        _settled(judged)
        verdict = look(judged, _answers((800, 0.2), (200, 0.4)), _answers(*normal), at=20)
        assert verdict.status is Status.FAIL
        assert "PSI" in verdict.sentence


def test_a_histogram_in_one_bucket_has_no_shape():
    """Said before the ramp, with the mend."""
    with pytest.raises(BaselineFailed, match="lies in one bucket, so a shift cannot be seen; add boundaries"):
        judge(gate("latency_p50", shift=0.1), captured=_answers((1000, 0.2)))


# the split


def _split(judged, polls, canary, baseline):
    start(judged, share=0.1)
    judged.split_seen()
    for number in range(1, polls + 1):
        look(judged, sample(canary * number, 0), sample(baseline * number, 0), at=5.0 * number)
    return judged.wrong()


def test_a_split_that_is_not_the_one_that_was_set_is_said():
    """A canary that loses a third of its requests looks healthy in every other number."""
    wrong = _split(judge(gate(ratio=1.5)), 40, 33, 450)
    assert wrong.startswith("the split is not the one that was set: 10.0% was to reach the canary, 6.8% of 18,837")
    assert "see whether answers of one side get lost" in wrong


def test_a_split_as_it_was_set_or_steadier_than_a_coin_is_no_trouble():
    """Round robin never errs; and what is sure but too small to matter is let pass."""
    assert _split(judge(gate(ratio=1.5)), 400, 50, 450) == ""
    assert _split(judge(gate(ratio=1.5)), 400, 4900, 45_100) == ""


def test_requests_that_began_before_the_shift_do_not_count_for_the_split():
    """Long answers are counted when they end, and right after a shift all that end are the baseline's."""
    judged = judge(gate(ratio=1.5), captured=sample(10_000, 100, buckets((10_000, 18.0), bounds=(1.0, 10.0, 20.0))))
    start(judged, share=0.1)
    judged.split_seen()
    for number in range(1, 8):
        look(judged, sample(0, 0), sample(500 * number, 0), at=5.0 * number)
    assert judged.wrong() == ""
    for number in range(8, 16):
        look(judged, sample(0, 0), sample(500 * number, 0), at=5.0 * number)
    assert "0.0% of" in judged.wrong()


def test_requests_that_take_much_longer_than_was_known_get_that_time_too():
    """A machine that others load answers in 8 s what took 0.5 s; then the baseline alone is counted for a while."""
    bounds = (1.0, 10.0, 20.0)
    judged = judge(gate(ratio=1.5), captured=sample(10_000, 100, buckets((10_000, 0.5), bounds=bounds)))
    start(judged, share=0.5)
    judged.split_seen()
    for number in range(1, 4):
        slow = buckets((40 * number, 9.0), bounds=bounds)
        look(judged, sample(0, 0), sample(40 * number, 0, slow), at=5.0 * number)
        assert judged.wrong() == ""
    for number in range(4, 10):
        slow = buckets((40 * number, 9.0), bounds=bounds)
        look(judged, sample(0, 0), sample(40 * number, 0, slow), at=5.0 * number)
    assert "0.0% of" in judged.wrong()


def test_a_gate_that_nobody_counts_is_refused_by_name():
    """A gauge or a counter that the source does not have would be no data until the deadline."""
    with pytest.raises(BaselineFailed, match="gpu_utilisation cannot be judged: the source does not count"):
        judge(gate("gpu_utilisation", max=0.9), captured=sample(1000, 10))


def test_before_the_split_was_verified_nothing_is_said():
    """Right after a shift the router may still be under way."""
    judged = judge(gate(ratio=1.5))
    start(judged, share=0.1)
    look(judged, sample(0, 0), sample(5000, 0))
    assert judged.wrong() == ""


# what is judged is said


def test_a_margin_other_than_the_asked_one_is_noted():
    """Coarse buckets make 1.2x into 2x: the gate says so before the ramp."""
    bounds = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
    captured = sample(1000, 0, buckets((980, 0.15), (20, 0.7), bounds=bounds))
    judged = judge(gate("latency_p99", ratio=1.2), captured=captured)
    assert judged.notes() == ["latency_p99 is judged at 2x, not 1.2x: the next bucket boundary lies there"]
    fine = judge(gate("latency_p99", ratio=1.2), captured=sample(10_000, 100, shaped(10_000)))
    assert fine.notes() == []


@pytest.mark.parametrize("limit", [{"ratio": 1.5}, {"delta": 0.2}], ids=str)
def test_a_baseline_below_the_first_boundary_is_said_to_be_unseen(limit):
    """The latency of vLLM begins at 0.3 s: 30 ms may become 290 unseen, and "1.67x" would not tell."""
    captured = sample(1000, 0, buckets((1000, 0.03), bounds=(0.3, 0.5, 0.8, 1.0, 2.0)))
    judged = judge(gate("latency_p95", **limit), captured=captured)
    assert judged.notes() == [
        "latency_p95 is judged by what lies above 500 ms: the baseline's p95 is somewhere below 300 ms, the first "
        "bucket boundary of `latency`"
    ]


def test_early_stages_may_have_to_prove_less():
    """`pace: proof`: 3x is excluded where 1.5x cannot be yet, and the sentence says which."""
    for allowance, status in ((4.0, Status.PASS), (1.0, Status.UNDECIDED)):
        judged = judge(gate(ratio=1.5))
        counts = {role: sample() for role in ("canary", "baseline")}
        judged.start_stage(0, 0.0, 0.1, True, 10.0, 50, counts, allowance=allowance)
        verdict = look(judged, sample(1000, 10), sample(9000, 90))
        assert verdict.status is status
    assert "proved" not in verdict.sentence


def test_proof_at_an_early_stage_names_what_it_proved():
    """Not the limit of the gate, but three times."""
    judged = judge(gate(ratio=1.5), gate("latency_p99", ratio=1.2))
    counts = {role: sample(latency=shaped(0)) for role in ("canary", "baseline")}
    judged.start_stage(0, 0.0, 0.1, True, 10.0, 50, counts, allowance=4.0)
    judged.observe({}, 5.0)
    judged.observe({"canary": sample(4000, 40, shaped(4000)), "baseline": sample(36_000, 360, shaped(36_000))}, 30.0)
    errors, latency = judged.verdicts()
    assert errors.sentence.endswith("proved to be within 3x, what this stage must prove")
    assert latency.sentence.endswith("proved to be within 1.9x, what this stage must prove")


def test_every_undecided_verdict_says_how_long_proof_would_take():
    """Requests, and minutes at the traffic of this stage."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    verdict = look(judged, sample(1000, 10), sample(9000, 90), at=20)
    assert verdict.status is Status.UNDECIDED
    assert verdict.needed == pytest.approx(5000, rel=0.3)
    assert verdict.needed_seconds == pytest.approx(verdict.needed / 50, rel=1e-6)


def test_buckets_are_added_over_polls_and_a_poll_without_any_takes_nothing_away():
    """A source that is silent for a moment must not make the stage begin anew."""
    judged = judge(gate("latency_p99", ratio=1.2))
    _settled(judged)
    first = shaped(1000)
    look(judged, sample(1000, 0, first), sample(9000, 0, shaped(9000)), at=20)
    judged.observe({}, 25.0)
    verdict = look(judged, sample(2000, 0, after(first, shaped(1000))), sample(18_000, 0, shaped(18_000)), at=30)
    assert verdict.canary.requests == pytest.approx(2000)
