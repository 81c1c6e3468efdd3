"""The rules of other tools in the lab, on sequences whose answer is known from their source or their issues."""

from math import inf, isnan, nan

import numpy as np
import pytest

from tests.unit import lab  # noqa: F401  (makes the next imports possible)

from lab.kayenta import interval, judge, judge_all, score  # isort: skip
from lab.peers import ERRORS, LATENCY, MEANS, argo_end, argo_phase  # isort: skip
from lab.series import Errors, Latency, Means  # isort: skip
from lab.windows import p99  # isort: skip

HEALTHY, WORSE = (10, 1000), (16, 1000)
BASE = (10, 1000)


def _errors(canary, base=None, poll_seconds=60.0, stage=None):
    """One rollout of ``(errors, requests)`` per poll; a baseline of 1 % unless told."""
    base = base or [BASE] * len(canary)
    sides = [np.array([[pair[column] for pair in side]], float) for side in (canary, base) for column in (1, 0)]
    stage = np.array(stage or [0] * len(canary))
    return Errors(poll_seconds, stage, sides[0], sides[1], sides[2], sides[3])


def _poll(name, *args, **kwargs):
    return int(ERRORS[name](_errors(*args, **kwargs))[0])


def _failing(*failing, of):
    return [WORSE if minute in failing else HEALTHY for minute in range(of)]


# Kayenta


def test_kayenta_overlooks_three_points_in_ten_that_did_not_move():
    """The published case of spinnaker/spinnaker#6278: seven of ten values a hundred times the control's, and a pass."""
    control, experiment = [1.0] * 10, [100.0] * 7 + [1.0] * 3
    low, high, shift = interval(experiment, control)
    assert (low, high, shift) == pytest.approx((0.0, 99.0, 99.0), abs=2e-4)
    assert judge(experiment, control, direction="either") == "Pass"
    assert judge([100.0] * 8 + [1.0] * 2, control, direction="either") == "High"


def test_kayenta_sees_a_drop_only_where_it_looks_for_one():
    """The direction is the metric's: errors may fall."""
    assert judge([1.0, 2.0] * 5, [100.0, 101.0] * 5, direction="either") == "Low"
    assert judge([1.0, 2.0] * 5, [100.0, 101.0] * 5, direction="increase") == "Pass"


def test_kayenta_judges_one_point_by_an_error_that_does_no_harm():
    """One value a side leaves no range to search for the shift; the exception is a label that the score leaves out."""
    assert judge([2.0], [1.0]) == "Error"
    assert score(["Error"] * 4) == 100.0
    assert score(["Error", "High", "Pass", "Pass"]) == 66.67


def test_kayenta_fails_when_half_of_the_metrics_have_no_data():
    """Nodata is counted by itself, before the score."""
    assert judge([nan, nan], [1.0, 2.0]) == "Nodata"
    assert score(["Nodata", "Pass"]) == 0.0
    assert score(["Nodata", "Pass", "Pass"]) == 100.0


def test_kayenta_passes_what_is_the_same_in_another_order_or_constant():
    """Both are answered before the test, which would throw on constants."""
    assert judge([1.0, 2.0, 3.0], [3.0, 1.0, 2.0]) == "Pass"
    assert judge([1.0] * 3, [1.0] * 5) == "Pass"
    assert judge([2.0] * 5, [1.0] * 5) == "High"


@pytest.mark.parametrize("allowed", [1.0, 1.5])
def test_kayenta_for_a_batch_says_what_kayenta_says_of_each(allowed):
    """The fast way skips and counts instead of ranking; the labels are the same, with ties, gaps and constants."""
    draw = np.random.default_rng(7)
    seen = set()
    for _ in range(24):
        rows, n, m = 12, int(draw.integers(1, 13)), int(draw.integers(1, 13))
        experiment = draw.poisson(draw.choice([0.3, 3.0, 6.0]), (rows, n)) / 2
        control = draw.poisson(draw.choice([0.3, 2.0]), (rows, m)) / 2
        experiment[draw.random((rows, n)) < 0.1] = nan
        control[: rows // 2] += draw.normal(0, 0.2, (rows // 2, m))
        expected = [judge(x, y, allowed_increase=allowed) for x, y in zip(experiment, control, strict=True)]
        assert judge_all(experiment, control, allowed) == expected
        seen.update(expected)
    assert {"Pass", "High", "Nodata", "Error"} <= seen


def test_kayenta_compares_the_minutes_of_a_stage_at_its_end():
    """Two stages of ten minutes, bad in the second: it is seen at the last poll, not before."""
    wobble = [(10 + minute % 3, 1000) for minute in range(20)]
    bad = [(30 + minute % 3, 1000) for minute in range(10)]
    stage = [0] * 10 + [1] * 10
    assert _poll("Kayenta", wobble[:10] + bad, wobble, stage=stage) == 19
    assert _poll("Kayenta", wobble, wobble[::-1], stage=stage) == 20


# Argo Rollouts


def test_argo_fails_at_the_first_failure_without_a_limit():
    """Success, success, failure: `failureLimit` is 0 unless somebody sets it."""
    sequence = ["Successful", "Successful", "Failed", "Successful"]
    assert argo_end(sequence, failure_limit=0) == (2, "Failed")
    assert argo_end(sequence, failure_limit=1) is None


def test_argo_judges_no_number_by_which_condition_was_written():
    """Every comparison with NaN is false; the rules here have the failure condition, so 0/0 passes."""
    assert argo_phase(nan, success=lambda value: value <= 1.5) == "Failed"
    assert argo_phase(nan, failure=lambda value: value > 1.5) == "Successful"
    assert argo_phase(nan, lambda value: value <= 1.5, lambda value: value > 1.5) == "Inconclusive"
    assert argo_phase(inf, failure=lambda value: value > 1.5) == "Failed"
    assert _poll("Argo Rollouts, failureLimit 0", [(0, 1000), (0, 0)], [(0, 1000), (0, 0)]) == 2
    assert _poll("Argo Rollouts, failureLimit 0", [(0, 1000), (1, 1000)], [(0, 1000), (0, 1000)]) == 1


def test_argo_ends_with_an_error_at_the_fifth_empty_result_in_a_row():
    """Empty is not a number that fails: four are forgiven, and one value starts the count again."""
    assert argo_phase(None, success=lambda value: value <= 1.5) == "Error"
    assert argo_end(["Error"] * 5) == (4, "Error")
    assert argo_end(["Error"] * 4 + ["Successful"] + ["Error"] * 4) is None


def test_argo_counts_failures_over_the_whole_rollout():
    """A background analysis never forgets: the fourth bad minute ends it, whatever was between."""
    minutes = _failing(1, 5, 6, 9, of=12)
    assert _poll("Argo Rollouts, failureLimit 0", minutes) == 1
    assert _poll("Argo Rollouts, failureLimit 3", minutes) == 9


def test_argo_measures_the_last_minute_once_a_minute():
    """Twelve polls of 5 s: a burst is seen with its whole minute, and the next minute knows nothing of it."""
    polls = [(0, 100)] * 12 + [(2, 100)] * 12 + [(0, 100)] * 12
    base = [(1, 100)] * 36
    assert _poll("Argo Rollouts, failureLimit 0", polls, base, poll_seconds=5.0) == 23
    assert _poll("Argo Rollouts, failureLimit 3", polls, base, poll_seconds=5.0) == 36


@pytest.mark.parametrize("limit", [0, 3])
def test_argo_for_a_batch_ends_where_argo_ends_each(limit):
    """The counting of the batch against the code's own steps."""
    draw = np.random.default_rng(3)
    counts = [draw.poisson(mean, (40, 30)).astype(float) for mean in (20, 1, 20, 1)]
    data = Errors(60.0, np.zeros(30, np.int64), *counts)
    for row, poll in enumerate(ERRORS[f"Argo Rollouts, failureLimit {limit}"](data)):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (counts[1] / counts[0])[row] / (counts[3] / counts[2])[row]
        phases = [argo_phase(float(ratio), failure=lambda ratio: ratio > 1.5) for ratio in ratios]
        assert poll == (argo_end(phases, limit) or (30,))[0]


# Flagger


def test_flagger_never_forgets_a_failed_check():
    """Five failures spread over the rollout roll it back, at the fifth: the ladder would have waited for it."""
    minutes = _failing(0, 2, 4, 6, 8, of=14)
    assert _poll("Flagger, 5 failed checks", minutes) == 8
    assert _poll("Flagger, 10 failed checks", minutes) == 14
    assert _poll("Flagger, 5 failed checks", _failing(0, 2, 4, 6, of=14)) == 14


def test_flagger_does_not_promote_on_a_failed_check():
    """The limit is reached at the very last check."""
    assert _poll("Flagger, 5 failed checks", _failing(1, 2, 3, 4, 5, of=6)) == 5


def test_flagger_counts_a_minute_without_requests_as_failed_and_one_without_errors_as_passed():
    """No values is a failed check in its code; no errors need not be, with a query that does not divide by them."""
    assert _poll("Flagger, 5 failed checks", [(0, 0)] * 10, [(1, 100)] * 10) == 4
    assert _poll("Flagger, 5 failed checks", [(0, 100)] * 10, [(0, 100)] * 10) == 10


# Iter8, ring buffer, z test, old script


def test_iter8_decides_at_its_fifteenth_look_on_everything_so_far():
    """Bad at first and good at the finish wins; a candidate over its objective, or without requests, does not."""
    polls = 80
    recovered = [(2, 50)] * 10 + [(0, 50)] * 70
    base = [(1, 50)] * polls
    assert _poll("Iter8", recovered, base, poll_seconds=5.0) == polls
    assert _poll("Iter8", [(2, 50)] * polls, base, poll_seconds=5.0) == 59
    assert _poll("Iter8", [(0, 0)] * polls, base, poll_seconds=5.0) == 59
    assert _poll("Iter8", [(0, 50)] * 60 + [(50, 50)] * 20, base, poll_seconds=5.0) == polls


def test_the_ring_buffer_looks_at_the_last_fifty_and_forgets():
    """Nothing before there are fifty a side; then the newest polls that make up fifty, and nothing older."""
    base = [(1, 50)] * 8
    assert _poll("ring buffer of 50", [(9, 10)] * 8, base, poll_seconds=5.0) == 4
    forgiven = [(0, 25)] * 3 + [(1, 25)] + [(0, 25)] * 4
    assert _poll("ring buffer of 50", forgiven, base, poll_seconds=5.0) == 8
    assert _poll("ring buffer of 50", [*forgiven[:4], (1, 25), *forgiven[5:]], base, poll_seconds=5.0) == 4
    assert _poll("ring buffer of 50", [(9, 10)] * 8, [(0, 5)] * 8, poll_seconds=5.0) == 8


def test_the_z_test_needs_significance_and_the_gate():
    """1.4 times in a million is certain and passes; twice in a hundred is over the gate and passes too."""
    assert _poll("z test, every 5 s", [(14_000, 1_000_000)] * 3, [(10_000, 1_000_000)] * 3, poll_seconds=5.0) == 3
    assert _poll("z test, every 5 s", [(2, 100)], [(1, 100)], poll_seconds=5.0) == 1
    assert _poll("z test, every 5 s", [(2, 100), (20, 900)], [(10, 1000)] * 2, poll_seconds=5.0) == 1


def test_the_old_script_lets_fifteen_in_a_thousand_pass_against_ten_and_not_sixteen():
    """Exactly 1.5 times is not above 1.5 times, in floating point too."""
    assert _poll("old script", [(15, 1000)]) == 1
    assert _poll("old script", [(16, 1000)]) == 0


def test_the_old_script_looks_when_there_are_enough_requests_and_at_the_end_of_the_stage():
    """Not before 500, not between, again at the end, and from nothing in the next stage."""
    base = [(1, 100)] * 12
    good, bad = (2, 200), (4, 200)
    assert _poll("old script", [bad, bad, bad, good], base[:4]) == 2
    assert _poll("old script", [good, good, good, bad, bad, bad, bad], base[:7]) == 6
    assert _poll("old script", [good, good, good, bad, bad, bad, bad, *[good] * 5], base) == 12
    assert _poll("old script", [*[good] * 6, bad, bad, bad, good, good, good], base, stage=[0] * 6 + [1] * 6) == 8
    assert _poll("old script", [bad] * 4, [(0, 10)] * 4) == 4


def test_the_old_script_counts_a_baseline_without_errors_as_a_tenth_of_a_percent():
    """One error in a thousand would otherwise be infinitely worse."""
    assert _poll("old script", [(3, 2000)], [(0, 1000)]) == 1
    assert _poll("old script", [(4, 2000)], [(0, 1000)]) == 0


# Latency and means

BOUNDS = np.array([0.1, 0.2, 0.4, 0.8])


def test_the_p99_is_interpolated_and_never_above_the_last_boundary():
    """As `histogram_quantile` has it: slow requests above every boundary look like the last boundary."""
    counts = np.array([[10, 80, 10, 0, 0], [1, 0, 0, 0, 99], [0, 0, 0, 0, 0], [100, 0, 0, 0, 0]], float)
    values = p99(BOUNDS, np.cumsum(counts, axis=1))
    assert values[[0, 1, 3]] == pytest.approx([0.38, 0.8, 0.099])
    assert isnan(values[2])


@pytest.mark.parametrize("rollouts", [3, 70])
def test_every_rule_of_latency_rolls_back_what_is_twice_as_slow_and_nothing_that_is_the_same(rollouts):
    """Polls of 5 s for 15 minutes; more rollouts than are looked at together."""
    polls = 180
    base = np.zeros((rollouts, polls, 5))
    base[..., 1], base[..., 2] = 95 + np.arange(polls) % 4, 2
    canary = base.copy()
    canary[-1, :, 3] = 8
    data = Latency(5.0, np.arange(polls) // 60, BOUNDS, canary, base, base[:, :6])
    for name, rule in LATENCY.items():
        answer = rule(data)
        assert (answer[:-1] == polls).all(), name
        assert answer[-1] < polls, name


def test_every_rule_of_means_rolls_back_what_is_half_as_long_again_and_nothing_that_is_the_same():
    """Tokens per request; the sums of squares are no peer's business."""
    polls = 180
    number = np.full((2, polls), 50.0)
    total = number * (200.0 + np.arange(polls) % 7)
    longer = total * np.array([[1.0], [1.5]])
    data = Means(5.0, np.arange(polls) // 60, (number, longer, longer), (number, total, total))
    for name, rule in MEANS.items():
        answer = rule(data)
        assert answer[0] == polls, name
        assert answer[1] < polls, name


def test_the_peers_have_the_names_that_are_printed():
    """What reports and the notes about them say."""
    assert list(ERRORS)[:4] == list(MEANS)[:4]
    assert set(MEANS) <= set(LATENCY) <= set(ERRORS)
    assert {"Iter8", "z test, every 5 s"} == set(ERRORS) - set(LATENCY)
