"""Rates over other totals, sums of events, misses, means of which only a sum is counted, and what comes late."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Decide
from pytest_canary.gates.clusters import UNKNOWN, Clusters
from pytest_canary.ports import Histogram, Sample
from pytest_canary.spec import gate_from
from pytest_canary.verdict import By, Judge, Status, decide
from tests.unit.judged import UNGUARDED, judge, look, start


def _gate(name, **options):
    """As a file would declare it, with all of 1 % to itself."""
    return replace(gate_from(name, options, "rollout.yaml:3", levels=UNGUARDED), alpha=0.01)


def _counted(requests, histogram=None, **counters):
    latency = Histogram((0.1, 0.2), (requests, 0.0, 0.0), requests * 0.05)
    return Sample(0.0, {"requests": requests, **counters}, {"latency": latency, **(histogram or {})})


def _judged(one, captured, polls=()):
    judged = Judge([one], 4)
    judged.capture(captured, polls)
    start(judged, hold=60.0)
    judged.observe({}, 5.0)  # what was under way when the weight moved has ended
    return judged


def _polls(judged, number, canary, baseline, first=10):
    """The verdict after ``number`` polls in which each side counts the same again."""
    for step in range(1, number + 1):
        sides = [Sample(0.0, {name: value * step for name, value in side.items()}) for side in (canary, baseline)]
        verdict = look(judged, *sides, at=first + step)
    return verdict


def test_a_rate_may_stand_over_another_counter_than_requests():
    """30 of 100 opinions are bad, however many requests there were."""
    one = _gate("feedback_negative_rate", ratio=1.5)
    judged = _judged(one, _counted(10_000, feedback=1000, feedback_negative=100))
    canary = _counted(1000, feedback=300, feedback_negative=90)
    verdict = look(judged, canary, _counted(9000, feedback=2700, feedback_negative=270))
    assert verdict.status is Status.FAIL
    assert "canary 90/300 (30.00%) against baseline 270/2700 (10.00%)" in verdict.sentence


def test_a_sum_of_events_is_judged_whole_and_said_in_parts():
    """As many errors as before, and refusals on top."""
    judged = _judged(_gate("error_or_refusal_rate", ratio=2), _counted(10_000, errors=100, refusals=100))
    verdict = look(judged, _counted(1000, errors=10, refusals=90), _counted(9000, errors=90, refusals=90))
    assert verdict.status is Status.FAIL
    assert verdict.sentence.endswith(
        "; of these canary 10 errors and 90 refusals, baseline 90 errors and 90 refusals"
    ), verdict.sentence


def test_where_more_is_better_a_least_share_is_a_largest_share_of_misses():
    """`min: 80%` of hits is at most 20 % of misses, and `ratio` means so many times the misses."""
    assert _gate("cache_hit_rate", min="80%").limits.max == pytest.approx(0.2)
    mine = _gate("good", metric={"counter": "good", "total": "judged"}, better="higher", min="80%", ratio=2)
    judged = _judged(mine, _counted(10_000, good=900, judged=1000))
    verdict = look(judged, _counted(1000, good=600, judged=1000), _counted(9000, good=8100, judged=9000))
    assert verdict.status is Status.FAIL
    assert "without good: canary 400/1000" in verdict.sentence


HITS = {"cache_queries": 100_000.0, "cache_hits": 60_000.0, "requests": 100.0}


@pytest.mark.parametrize(("hits", "fails"), [(60_000.0, False), (59_000.0, False), (40_000.0, True)])
def test_hits_are_judged_by_batches_since_a_request_brings_thousands(hits, fails):
    """As independent events, 1 % fewer hits in 100,000 would convict at once."""
    judged = _judged(_gate("cache_hit_rate", ratio=1.2), _counted(1000, cache_hits=60_000, cache_queries=100_000))
    verdict = _polls(judged, 40, HITS | {"cache_hits": hits}, HITS)
    assert (verdict.status is Status.FAIL) is fails, verdict.sentence


SUMS = {"requests": 100.0, "output_tokens": 20_000.0}


def test_a_mean_without_a_histogram_is_judged_by_batches():
    """Half as many tokens again: two sums and two numbers a poll."""
    judged = _judged(_gate("output_tokens", ratio=1.2), _counted(1000, output_tokens=200_000))
    early = _polls(judged, 7, SUMS | {"output_tokens": 30_000.0}, SUMS)
    assert (early.status, early.harmless) == (Status.UNDECIDED, False)
    assert early.sentence.endswith("; says nothing before 8 polls with 20 values a side")
    late = _polls(judged, 30, SUMS | {"output_tokens": 30_000.0}, SUMS)
    assert (late.status, late.by) == (Status.FAIL, By.EVIDENCE)
    assert "canary 300 tokens (mean of 3,600) against baseline 200 tokens" in late.sentence


def test_the_same_sums_are_proved_to_be_within_the_limit():
    """And at full traffic they are held against the last window."""
    judged = _judged(_gate("output_tokens", ratio=1.2), _counted(1000, output_tokens=200_000))
    assert _polls(judged, 30, SUMS, SUMS).by is By.PROOF
    for tokens, status in ((20_000.0, Status.PASS), (60_000.0, Status.FAIL)):
        alone = Judge([_gate("output_tokens", ratio=1.2)], 4)
        alone.capture(_counted(1000, output_tokens=200_000))
        start(alone, share=1.0, compared=False, hold=20.0)
        for step in range(1, 40):
            side = {name: value * step for name, value in {**SUMS, "output_tokens": tokens}.items()}
            verdict = look(alone, Sample(0.0, side), at=20 + step)
        assert verdict.status is status


def test_a_sum_that_runs_ahead_of_its_number_is_waited_for():
    """Tokens are counted while an answer is written, requests when it ends: a build that has just begun looks wordy."""
    one = _gate("output_tokens", ratio=1.2)
    judged = Judge([one], 4)
    judged.capture(_counted(1000, output_tokens=200_000))  # p99 within 100 ms
    start(judged, hold=60.0)
    assert (
        look(judged, Sample(0.0, {"requests": 0.0, "output_tokens": 9e6}), Sample(0.0, SUMS), at=0.1).canary.requests
        == 0
    )
    unknown = Judge([one], 4)
    unknown.capture(Sample(0.0, {"requests": 1000.0, "output_tokens": 2e5}))
    start(unknown, hold=60.0)
    verdict = look(unknown, at=10.0)
    assert "waits 30 s" in verdict.sentence


def test_tokens_of_a_quantile_are_no_seconds():
    """Neither in the sentence, nor as a time to wait."""
    bounds = tuple(float(edge) for edge in range(20, 4001, 20))
    counts = [0.0] * 201
    counts[10] = 1000.0
    tokens = {"output_tokens": Histogram(bounds, tuple(counts), 210_000.0)}
    judged = Judge([_gate("output_tokens_p99", max="500")], 4)
    judged.capture(_counted(1000, tokens))
    start(judged, hold=60.0)
    verdict = look(judged, _counted(500, tokens), at=5.0)
    assert "requests above 500 tokens: canary 0/1000" in verdict.sentence


# late, and too little


def test_what_comes_late_is_counted_from_the_lag_on():
    """Before, users speak about the build they had before."""
    judged = _judged(
        _gate("feedback_negative_rate", max="10%", lag="30s"), _counted(1000, feedback=100, feedback_negative=1)
    )
    early = look(judged, _counted(100, feedback=50, feedback_negative=50), at=20)
    assert early.status is Status.UNDECIDED
    assert "waits 30 s for what is counted late" in early.sentence
    late = look(judged, _counted(300, feedback=250, feedback_negative=50), at=40)
    assert (late.canary.requests, late.status) == (0, Status.UNDECIDED)  # this poll began before the lag was over
    last = look(judged, _counted(400, feedback=450, feedback_negative=50), at=60)
    assert last.canary.requests == 200
    assert "feedback of this hold come until 30 s after it" in last.sentence
    assert decide([last], elapsed=61, requests=400, hold=60, min_requests=1, deadline=None).step == "wait"
    done = look(judged, _counted(500, feedback=650, feedback_negative=50), at=91)
    assert done.status is Status.PASS


def test_bad_news_that_come_late_need_no_whole_lag():
    """A fail acts at once."""
    judged = _judged(
        _gate("feedback_negative_rate", max="10%", lag="30s"), _counted(1000, feedback=100, feedback_negative=1)
    )
    look(judged, _counted(100), at=31)
    look(judged, _counted(100, feedback=0, feedback_negative=0), at=32)
    assert look(judged, _counted(300, feedback=100, feedback_negative=90), at=40).status is Status.FAIL


@pytest.mark.parametrize(("options", "passes"), [({}, False), ({"min_events": "5"}, True)])
def test_too_few_opinions_are_no_pass(options, passes):
    """Twenty, or what the file says; the sentence says what is missing."""
    one = _gate("feedback_negative_rate", ratio=1.5, **options)
    judged = _judged(one, _counted(1000, feedback=100, feedback_negative=10))
    verdict = look(
        judged, _counted(100, feedback=6, feedback_negative=0), _counted(900, feedback=90, feedback_negative=9), at=70
    )
    assert verdict.harmless is passes
    assert verdict.sentence.endswith("; needs 20 feedback, has 6") is not passes


def test_the_plain_rules_wait_for_enough_too():
    """`decide: threshold` has no evidence, and no more right to pass by silence."""
    one = replace(_gate("feedback_negative_rate", ratio=1.5), decide=Decide.THRESHOLD)
    judged = _judged(one, _counted(1000, feedback=100, feedback_negative=10))
    verdict = look(
        judged, _counted(100, feedback=6, feedback_negative=0), _counted(900, feedback=90, feedback_negative=9), at=70
    )
    assert verdict.status is Status.UNDECIDED


@pytest.mark.parametrize(
    ("name", "limits", "missing"),
    [
        ("refusal_rate", {"ratio": 2}, "does not count `refusals`; drop the gate"),
        ("feedback_negative_rate", {"ratio": 2}, "does not count `feedback_negative` and `feedback`"),
        ("error_or_refusal_rate", {"ratio": 2}, "does not count `errors` and `refusals`"),
        ("output_tokens", {"ratio": 2}, "does not count a histogram `output_tokens`, nor the counter `output_tokens`"),
        ("cost_per_request", {"ratio": 2}, "write `cost: {prices: prices.yaml}` to have its tokens priced"),
        ("quality", {"min": 0.8}, "does not count a histogram `quality`"),
        ("gpu_memory", {"ratio": 2}, "does not count the gauge `gpu_memory`"),
    ],
)
def test_what_nobody_counts_is_named(name, limits, missing):
    """As the source would call it."""
    with pytest.raises(BaselineFailed) as refused:
        judge(_gate(name, **limits), captured=_counted(1000))
    assert missing in str(refused.value)


def test_a_gate_of_a_preset_says_how_to_switch_it_off():
    """Whoever wrote `gates: llm` did not write this gate."""
    with pytest.raises(BaselineFailed, match="`refusal_rate: off` under `gates` leaves it out of `llm`"):
        judge(replace(_gate("refusal_rate", ratio=2), preset="llm"), captured=_counted(1000))


def test_a_sum_has_no_shape():
    """A shift needs buckets."""
    with pytest.raises(BaselineFailed, match="counts no histogram `output_tokens`, so a shift cannot be seen"):
        judge(_gate("output_tokens", shift="0.1"), captured=_counted(1000, output_tokens=2e5))


# one request, many values


GAPS = tuple(round(0.01 * 1.1**step, 5) for step in range(60))


def _gaps(rng, requests, times=1.0):
    """A hundred token gaps of each request, all of them slow or quick together."""
    slow = np.exp(rng.normal(0, 0.6, rng.poisson(requests)))
    values = np.repeat(0.03 * times * slow, 100) * np.exp(rng.normal(0, 0.3, slow.size * 100))
    counts, _ = np.histogram(values, [0.0, *GAPS, np.inf])
    return np.array([slow.size, values.sum(), *counts])


def _told(counted):
    requests, total, *counts = counted
    return Sample(0.0, {"requests": requests}, {"itl": Histogram(GAPS, tuple(counts), total)})


@pytest.mark.parametrize(
    ("name", "limits"),
    [("inter_token_latency", {"ratio": "1.2"}), ("inter_token_latency_p99", {"max": "160ms"})],  # the p99 is 144 ms
)
def test_the_gaps_of_one_request_are_no_hundred_observations(name, limits):
    """Counted one by one, chance would roll back one good build in three by the mean, and all of them by the limit."""
    failed = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        judged = _judged(_gate(name, **limits), _told(_gaps(rng, 6000)))
        canary = baseline = np.zeros(len(GAPS) + 3)
        for poll in range(60):
            canary, baseline = canary + _gaps(rng, 25), baseline + _gaps(rng, 75)
            failed += look(judged, _told(canary), _told(baseline), at=10.0 + 5 * poll).status is Status.FAIL
    assert failed == 0


def test_how_much_the_gaps_of_one_request_are_alike_is_seen_in_the_baselines_polls():
    """Coins vary as coins do, and a hundred coins that fall together a hundred times as much."""
    rng, coins, heaps = np.random.default_rng(5), Clusters(1), Clusters(1)
    assert coins.effect == UNKNOWN
    for _ in range(500):
        coins.add(2500, [rng.binomial(2500, 0.05)])
        heaps.add(2500, [100 * rng.binomial(25, 0.05)])
    assert coins.effect == pytest.approx(1.0, abs=0.2)
    assert heaps.effect == pytest.approx(100, rel=0.2)


@pytest.mark.parametrize("times", [1.0, 1.5])
def test_a_quantile_of_gaps_is_judged_with_that_in_mind(times):
    """Six rollouts a kind: good ones stay, half as slow again goes."""
    ends = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        before = [_gaps(rng, 100) for _ in range(30)]
        judged = Judge([_gate("inter_token_latency_p99", ratio="1.2")], 4)
        judged.capture(_told(sum(before)), [_told(poll) for poll in before])
        start(judged, hold=60.0)
        canary = baseline = np.zeros(len(GAPS) + 3)
        seen = set()
        for poll in range(60):
            canary, baseline = canary + _gaps(rng, 25, times), baseline + _gaps(rng, 75)
            seen.add(look(judged, _told(canary), _told(baseline), at=10.0 + 5 * poll).status)
        ends.append(Status.FAIL in seen)
    assert ends == [times > 1] * 6
