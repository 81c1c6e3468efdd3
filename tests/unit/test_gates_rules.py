"""Each kind of limit, judged on counts that were set by hand."""

import numpy as np
import pytest

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Decide
from pytest_canary.ports import Histogram
from pytest_canary.verdict import By, Status
from tests.unit.judged import LADDER, after, buckets, gate, judge, look, sample, shaped, start


def _slow(number, times=1.0):
    """``number`` requests, ``times`` as slow as usual."""
    return sample(number, 0, shaped(number, times))


def test_an_error_rate_far_over_the_gate_fails_with_numbers_a_person_can_check():
    """The sentence is the whole case: counts, ratio, interval, limit, evidence, odds."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    verdict = look(judged, sample(310, 12), sample(2790, 9))
    assert (verdict.status, verdict.by) == (Status.FAIL, By.EVIDENCE)
    assert verdict.ratio == pytest.approx(12.0)
    assert verdict.interval is not None
    assert verdict.interval[0] < 12.0 < verdict.interval[1]
    assert verdict.sentence == (
        "error_rate[10%]: canary 12/310 (3.87%) against baseline 9/2790 (0.32%): 12.0x worse (interval 3-54), "
        "limit 1.5x; evidence 1.6e+05 (convicts at 111), odds of worse than the limit 99.9%"
    )


def test_harm_below_the_gate_is_not_convicted_however_sure_it_is():
    """1.2 times the errors, without any doubt, within a gate of 1.5."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    verdict = look(judged, sample(200_000, 2400), sample(200_000, 2000))
    assert verdict.evidence > 1e4
    assert (verdict.status, verdict.by) == (Status.PASS, By.PROOF)
    assert verdict.proved


def test_proof_begins_afresh_at_each_stage():
    """What was proved at 10 % says nothing about 50 %."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    assert look(judged, sample(20_000, 200), sample(180_000, 1800)).status is Status.PASS
    start(judged, 1, at=20, share=0.5, canary=sample(20_000, 200), baseline=sample(180_000, 1800))
    verdict = look(judged, sample(20_100, 201), sample(180_100, 1801), at=25)
    assert verdict.status is Status.UNDECIDED
    assert verdict.harmless
    assert verdict.needed == pytest.approx(10_950, rel=0.02)


def test_evidence_of_harm_goes_on_over_stages():
    """Half of the proof at one stage and half at the next convict together."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    first = look(judged, sample(500, 9), sample(4500, 27))
    assert first.status is Status.UNDECIDED
    start(judged, 1, at=20, share=0.25, canary=sample(500, 9), baseline=sample(4500, 27))
    second = look(judged, sample(1200, 30), sample(6600, 40), at=25)
    assert second.status is Status.FAIL
    alone = judge(gate(ratio=1.5))
    start(alone)
    assert look(alone, sample(700, 21), sample(2100, 13)).evidence < second.evidence


def test_a_stage_may_have_its_own_limit_and_keeps_the_evidence():
    """Ratio 3 at the first stage lets pass what ratio 1.5 does not."""
    limits = gate(ratio=1.5).limits
    judged = judge(gate(ratio=3.0, stages=((1, limits),)))
    start(judged)
    first = look(judged, sample(1000, 24), sample(9000, 90))
    assert first.status is Status.UNDECIDED
    start(judged, 1, at=20, canary=sample(1000, 24), baseline=sample(9000, 90))
    second = look(judged, sample(1100, 26), sample(9900, 99), at=25)
    assert second.evidence > first.evidence / 2
    assert second.status is Status.FAIL
    assert second.limit == "ratio <= 1.5"


def test_a_plainly_broken_canary_fails_without_a_word_from_the_baseline():
    """Every request fails, and the baseline has not answered yet."""
    judged = judge(gate(ratio=1.5))
    start(judged, hold=600, least=5000)
    verdict = look(judged, sample(12, 12), at=1)
    assert (verdict.status, verdict.by) == (Status.FAIL, By.CATASTROPHE)
    quiet = judge(gate(ratio=1.5, catastrophe=False))
    start(quiet)
    assert look(quiet, sample(12, 12), at=1).status is Status.NO_DATA


def test_one_error_against_none_convicts_nobody():
    """Small counts are the whole difficulty."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    assert look(judged, sample(60, 1), sample(540, 0)).status is Status.UNDECIDED


def test_a_delta_fails_on_the_difference_and_is_proved_by_bounds():
    """Five points more are too many; one point more is known to be fewer than five."""
    judged = judge(gate(delta=0.05))
    start(judged)
    assert look(judged, sample(500, 60), sample(4500, 45)).status is Status.FAIL
    fine = judge(gate(delta=0.05))
    start(fine)
    verdict = look(fine, sample(5000, 100), sample(45_000, 450))
    assert (verdict.status, verdict.by, verdict.limit) == (Status.PASS, By.PROOF, "delta <= 0.05")
    little = judge(gate(delta=0.05))
    start(little)
    assert look(little, sample(50, 1), sample(450, 4)).status is Status.UNDECIDED


def test_an_absolute_limit_needs_no_baseline():
    """``max`` is broken by evidence, kept by proof, and open in between."""
    for errors, requests, status in ((60, 1000, Status.FAIL), (2, 2000, Status.PASS), (2, 200, Status.UNDECIDED)):
        judged = judge(gate(max=0.02))
        start(judged)
        verdict = look(judged, sample(requests, errors))
        assert verdict.status is status, verdict.sentence


def test_a_minimum_is_judged_on_what_is_missing():
    """At least 90 % of the requests must have the event."""
    for events, status in ((800, Status.FAIL), (960, Status.PASS), (905, Status.UNDECIDED)):
        judged = judge(gate(min=0.9))
        start(judged)
        assert look(judged, sample(1000, events)).status is status


def test_two_limits_share_alpha_and_one_is_enough_to_fail():
    """The ratio is fine, the absolute limit is not; each has half of alpha."""
    judged = judge(gate(ratio=3, max=0.02))
    start(judged)
    verdict = look(judged, sample(2000, 100), sample(2000, 100))
    assert (verdict.status, verdict.limit) == (Status.FAIL, "max <= 2.00%")
    assert "convicts at 200" in verdict.sentence
    both = judge(gate(ratio=3, max=0.04))
    start(both)
    assert look(both, sample(9000, 90), sample(9000, 90)).status is Status.PASS


def test_a_slow_tail_fails_and_the_sentence_names_quantile_and_boundaries():
    """Many times as many requests beyond 1.2 times the baseline's p99."""
    judged = judge(gate("latency_p99", ratio=1.2))
    start(judged)
    look(judged, _slow(0), _slow(0), at=5)
    verdict = look(judged, _slow(700, 1.6), _slow(6300), at=10)
    assert (verdict.status, verdict.by) == (Status.FAIL, By.EVIDENCE)
    assert (
        "requests slower than 1.2x the baseline p99 (844 ms -> 1.01 s): canary 19/700 (2.74%), baseline 52/6300"
        in verdict.sentence
    )


def test_a_tail_that_is_not_slower_is_proved():
    """The same latencies, and enough of them."""
    judged = judge(gate("latency_p99", ratio=1.2))
    start(judged)
    look(judged, _slow(0), _slow(0), at=5)
    verdict = look(judged, _slow(6000), _slow(54_000), at=10)
    assert (verdict.status, verdict.by) == (Status.PASS, By.PROOF)


def test_a_slower_p50_is_seen_at_p50():
    """Every quantile can be a gate of its own."""
    judged = judge(gate("latency_p50", ratio=1.2))
    start(judged)
    look(judged, _slow(0), _slow(0), at=5)
    verdict = look(judged, _slow(300, 1.5), _slow(2700), at=10)
    assert verdict.status is Status.FAIL
    assert "baseline p50" in verdict.sentence


def test_latency_by_delta_and_by_maximum_use_the_next_boundary():
    """No boundary lies at the limit itself: the next one above stands for it, and the sentence says so."""
    judged = judge(gate("latency_p99", delta=0.1), gate("latency_p99", max=0.8))
    start(judged)
    look(judged, _slow(0), _slow(0), at=5)
    look(judged, _slow(700, 1.6), _slow(6300), at=10)
    delta, most = judged.verdicts()
    assert (delta.status, most.status) == (Status.FAIL, Status.FAIL)
    assert "169 ms over the baseline p99" in delta.sentence
    assert "requests slower than 844 ms" in most.sentence


def test_latency_counts_only_after_slow_requests_had_time_to_finish():
    """A fresh canary looks fast while its slow answers are under way; at most half the hold is given to that."""
    judged = judge(gate("latency_p99", ratio=1.2))
    start(judged, hold=100)
    early = look(judged, _slow(300), _slow(2700), at=1.0)
    assert early.status is Status.UNDECIDED
    assert not early.harmless
    assert "waits" in early.sentence
    look(judged, _slow(300), _slow(2700), at=2.5)
    later = look(judged, _slow(500), _slow(4500), at=5.0)
    assert (later.canary.requests, later.baseline.requests) == (200, 1800)
    short = judge(gate("latency_p99", ratio=1.2))
    start(short, hold=2.0)
    look(short, _slow(100), _slow(900), at=1.0)
    assert look(short, _slow(200), _slow(1800), at=2.0).canary.requests == 100


@pytest.mark.parametrize(
    ("named", "limits", "histogram", "says"),
    [
        ("latency_p99", {"ratio": 1.2}, buckets((95, 0.2), (5, 99.0)), "lies above"),
        ("latency_p99", {"ratio": 1.2}, Histogram((0.5, 1.0), (50, 50, 0)), "add a boundary at 1.2 s"),
        ("latency_p99", {"delta": 0.5}, Histogram((0.5, 1.0), (50, 50, 0)), "add a boundary at 1.5 s"),
        ("latency_p99", {"max": 4.0}, Histogram((0.5, 1.0), (50, 50, 0)), "add a boundary at 4 s"),
        ("latency_p99", {"ratio": 1.2}, None, "is empty"),
        ("latency_p99", {"min": 0.1}, buckets((100, 0.2)), "write `max`"),
        ("latency_p99", {"ratio": 1.2, "decide": Decide.THRESHOLD}, buckets((95, 0.2), (5, 99.0)), "add boundaries"),
    ],
)
def test_a_histogram_that_cannot_resolve_a_gate_is_refused_before_the_ramp(named, limits, histogram, says):
    """One line: where, what was found, what boundary to add.  Never a silent pass."""
    with pytest.raises(BaselineFailed) as refused:
        judge(gate(named, where="rollout.yaml:12", **limits), captured=sample(100, 0, histogram))
    text = str(refused.value)
    assert text.startswith("rollout.yaml:12: latency_p99 cannot be judged: ")
    assert says in text
    assert "\n" not in text


def test_coarse_buckets_show_the_margin_that_is_really_judged():
    """1.2 times is asked for, twice is what the buckets can tell apart."""
    bounds = (0.25, 0.5, 1.0, 2.0)

    def coarse(*counts):
        return sample(sum(counts), 0, Histogram(bounds, counts))

    judged = judge(gate("latency_p99", ratio=1.2), captured=coarse(50, 40, 10, 0, 0))
    start(judged)
    look(judged, coarse(0, 0, 0, 0, 0), coarse(0, 0, 0, 0, 0), at=6)
    verdict = look(judged, coarse(20, 10, 10, 10, 0), coarse(450, 360, 90, 0, 0), at=9)
    assert "requests slower than 2x the baseline" in verdict.sentence


def test_at_full_share_the_last_window_stands_in_for_the_baseline():
    """Nothing to compare with: passed, not compared, once hold and requests are served."""
    judged = judge(gate(ratio=1.5))
    start(judged, share=0.5)
    look(judged, sample(3000, 30), sample(3000, 30))
    start(judged, 1, at=20, share=1.0, compared=False, least=500, canary=sample(3000, 30), baseline=sample(3000, 30))
    early = look(judged, sample(3200, 32), sample(3000, 30), at=25)
    assert early.status is Status.UNDECIDED
    served = look(judged, sample(3900, 39), sample(3000, 30), at=31)
    assert (served.status, served.by) == (Status.PASS, By.NOT_COMPARED)
    assert not served.proved
    assert "on the baseline's last window" in served.sentence


def test_at_full_share_far_more_errors_than_the_last_window_fail():
    """1.5 times the most that the baseline can have had, and well beyond."""
    judged = judge(gate(ratio=1.5))
    start(judged, share=0.5)
    look(judged, sample(3000, 30), sample(3000, 30))
    start(judged, 1, at=20, share=1.0, compared=False, canary=sample(3000, 30), baseline=sample(3000, 30))
    verdict = look(judged, sample(4500, 120), sample(3000, 30), at=25)
    assert (verdict.status, verdict.by) == (Status.FAIL, By.EVIDENCE)


def test_at_full_share_the_last_window_counts_and_not_the_one_before_the_ramp():
    """A shared provider has become worse under way: 4 % on both sides at 50 %, 1 % before."""
    judged = judge(gate(ratio=1.5))
    start(judged, share=0.5)
    look(judged, sample(3000, 120), sample(3000, 120))
    start(judged, 1, at=20, share=1.0, compared=False, canary=sample(3000, 120), baseline=sample(3000, 120))
    assert look(judged, sample(6000, 240), at=31).by is By.NOT_COMPARED


def test_at_full_share_the_lane_acts_on_and_silence_is_no_data():
    """A first stage at 100 % has only the window before the ramp; nothing counted is never a pass."""
    judged = judge(gate(ratio=1.5))
    start(judged, share=1.0, compared=False, least=0, hold=0)
    assert look(judged, sample(0, 0), at=5).status is Status.NO_DATA
    verdict = look(judged, sample(15, 15), at=6)
    assert verdict.status is Status.FAIL
    tail = judge(gate("latency_p99", ratio=1.2))
    start(tail, share=1.0, compared=False, least=50, hold=10)
    look(tail, _slow(0), at=5)
    assert look(tail, _slow(900), at=11).by is By.NOT_COMPARED
    assert look(tail, sample(1800, 0, after(shaped(900), shaped(900, 1.6))), at=12).status is Status.FAIL


def test_at_full_share_the_sentence_is_about_the_quantile_that_convicts():
    """None is beyond the limit of the p99, half are beyond those below: the counts are those of a broken one."""
    judged = judge(gate("latency_p99", ratio=1.2))
    start(judged, share=1.0, compared=False, least=50, hold=10)
    look(judged, sample(0, 0, buckets()), at=5)
    verdict = look(judged, sample(200, 0, buckets((100, 0.2), (100, 0.7))), at=11)
    assert verdict.status is Status.FAIL
    assert "the baseline p99" not in verdict.sentence
    assert "canary 100/200 (50.00%)" in verdict.sentence


def test_a_source_that_restarts_begins_anew_without_a_verdict_out_of_nothing():
    """Counters that go back drop that poll for that role, and only that."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    look(judged, sample(100, 1), sample(900, 9), at=5)
    verdict = look(judged, sample(40, 40), sample(1800, 18), at=10)
    assert verdict.status is Status.UNDECIDED
    assert (verdict.canary.requests, verdict.baseline.requests) == (100, 1800)
    after = look(judged, sample(140, 41), sample(2700, 27), at=15)
    assert (after.canary.requests, after.canary.events) == (200, 2)


def test_a_role_that_is_first_seen_late_begins_where_it_is_seen():
    """What it counted before, in its warm-up perhaps, is not this stage's."""
    judged = judge(gate(ratio=1.5))
    judged.start_stage(0, 0.0, 0.1, True, 10.0, 50, {})
    look(judged, sample(5000, 5000), sample(9000, 90), at=5)
    verdict = look(judged, sample(5100, 5001), sample(9900, 99), at=10)
    assert (verdict.canary.requests, verdict.canary.events) == (100, 1)
    assert verdict.status is Status.UNDECIDED


@pytest.mark.parametrize(
    ("canary", "baseline"),
    [
        (None, None),
        (sample(), sample()),
        (sample(100, 1), None),
        (None, sample(900, 9)),
        (sample(0, 0), sample(900, 9)),
    ],
)
def test_nothing_counted_on_a_side_is_no_data(canary, baseline):
    """Never good news, never an error."""
    judged = judge(gate(ratio=1.5), gate("latency_p99", ratio=1.2))
    start(judged)
    look(judged, canary, baseline, at=9)
    look(judged, canary, baseline, at=18)
    assert {verdict.status for verdict in judged.verdicts()} == {Status.NO_DATA}
    assert not any(verdict.harmless for verdict in judged.verdicts())


def test_a_counter_that_nobody_keeps_is_no_data():
    """A source without ``errors`` does not prove that there were none."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    bare = sample(500, 0)
    bare = type(bare)(0.0, {"requests": 500.0})
    assert look(judged, bare, bare).status is Status.NO_DATA


def test_numbers_that_are_none_do_not_poison_the_evidence():
    """A source that divides by zero: that poll is passed over."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    look(judged, sample(float("nan"), 1), sample(900, float("inf")), at=5)
    verdict = look(judged, sample(100, 1), sample(900, 9), at=10)
    assert verdict.status is Status.UNDECIDED
    assert np.isfinite(verdict.evidence)


def test_a_thousand_million_requests_are_judged_like_any_others():
    """Evidence is capped for reports, nothing overflows."""
    judged = judge(gate(ratio=1.5), gate(max=0.5))
    start(judged)
    verdict = look(judged, sample(1e9, 3e7), sample(1e9, 1e7))
    assert verdict.status is Status.FAIL
    assert 1e100 < verdict.evidence < float("inf")


def test_buckets_that_change_under_way_are_no_data_and_no_crash():
    """Boundaries chosen from one ladder say nothing about another."""
    judged = judge(gate("latency_p99", ratio=1.2))
    start(judged)
    other = tuple(bound * 1.01 for bound in LADDER)
    look(judged, sample(0, 0, buckets(bounds=other)), sample(0, 0, buckets(bounds=other)), at=5)
    for number, at in ((100, 10), (200, 15)):
        verdict = look(judged, *[sample(number, 0, buckets((number, 0.2), bounds=other))] * 2, at=at)
    assert verdict.status is Status.NO_DATA
    assert "same boundaries" in verdict.sentence
