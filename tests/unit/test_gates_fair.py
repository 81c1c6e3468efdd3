"""Fair comparisons: bursts, replicas, uneven traffic, mixed traffic, and the stable build's own noise."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Bursts, Levels
from pytest_canary.ports import Role, Sample
from pytest_canary.verdict import Judge, Status
from tests.unit.judged import UNGUARDED, gate, judge, look, sample, shaped, start

GUARDED = Levels()
TOTALS = replace(GUARDED, replicas=1.0)


def _polls(rng, number, requests, rate, clump=1):
    """Polls of a build whose errors come in clumps of ``clump``."""
    drawn = [(int(n), int(rng.binomial(n, rate / clump)) * clump) for n in rng.poisson(requests, number)]
    return [sample(n, min(k, n)) for n, k in drawn]


def _captured(polls):
    return sample(
        sum(one.counters["requests"] for one in polls),
        sum(one.counters["errors"] for one in polls),
        shaped(10_000),
    )


def _rollout(one, polls, burst):
    """Five polls of 25 canary requests; the whole ``burst`` of errors falls into the third."""
    judged = Judge([one], 4)
    judged.capture(_captured(polls), polls)
    start(judged, share=0.05, hold=300.0)
    canary, errors = 0, 0
    for number in range(1, 6):
        canary, errors = canary + 25, errors + (burst if number == 3 else 0)
        verdict = look(judged, sample(canary, errors), sample(475 * number, 5 * number), at=5.0 * number)
    return verdict


# Bursts


def test_one_burst_convicts_nobody_where_errors_come_in_bursts():
    """A retry storm of one client is eight errors of one cause."""
    polls = _polls(np.random.default_rng(1), 120, 500, 0.01, clump=8)
    one = replace(gate(ratio=1.5, catastrophe=False), levels=TOTALS)

    assert _rollout(one, polls, 8).status is not Status.FAIL
    assert _rollout(replace(one, levels=UNGUARDED), polls, 8).status is Status.FAIL


def test_where_errors_are_independent_a_burst_is_what_it_looks_like():
    """The guard switches itself off, so that it costs nothing."""
    polls = _polls(np.random.default_rng(1), 120, 500, 0.01)

    assert _rollout(replace(gate(ratio=1.5, catastrophe=False), levels=TOTALS), polls, 8).status is Status.FAIL


def test_where_nobody_knows_one_poll_is_worth_at_most_ten():
    """Too few errors to tell: a single poll stays below the mark of 111, three in a row do not."""
    polls = [sample(500, 0)] * 120
    one = replace(gate(ratio=1.5, catastrophe=False), levels=TOTALS)

    assert _rollout(one, polls, 8).status is not Status.FAIL
    assert _rollout(replace(one, levels=UNGUARDED), polls, 8).status is Status.FAIL
    judged = Judge([one], 4)
    judged.capture(_captured(polls), polls)
    start(judged, share=0.05, hold=300.0)
    for number in range(1, 5):
        verdict = look(judged, sample(25 * number, 4 * number), sample(475 * number, 0), at=5.0 * number)
    assert verdict.status is Status.FAIL


@pytest.mark.parametrize(("bursts", "status"), [(Bursts.GUARD, Status.UNDECIDED), (Bursts.IGNORE, Status.FAIL)])
def test_the_guard_can_be_ordered_and_forbidden(bursts, status):
    """`evidence: {bursts: guard}` for who knows of storms to come, `ignore` for who knows there are none."""
    polls = _polls(np.random.default_rng(1), 120, 500, 0.01)
    one = replace(gate(ratio=1.5, catastrophe=False), levels=replace(TOTALS, bursts=bursts))

    assert _rollout(one, polls, 8).status is status


def test_a_whole_poll_of_failures_is_no_catastrophe_where_errors_come_in_bursts():
    """25 of 25 would be plainly broken; in a service with retry storms it is one storm."""
    polls = _polls(np.random.default_rng(1), 120, 500, 0.01, clump=20)

    assert _rollout(replace(gate(ratio=1.5), levels=TOTALS), polls, 25).status is not Status.FAIL
    calm = _polls(np.random.default_rng(1), 120, 500, 0.01)
    assert _rollout(replace(gate(ratio=1.5), levels=TOTALS), calm, 25).status is Status.FAIL


def test_slow_requests_come_in_bursts_too():
    """Latency has the same guard, level by level."""
    rng = np.random.default_rng(2)
    storms = [sample(500, 0, shaped(500, 3.0 if rng.random() < 0.1 else 0.9)) for _ in range(120)]
    calm = [sample(500, 0, shaped(500)) for _ in range(120)]
    verdicts = []
    for polls in (storms, calm):
        judged = Judge([replace(gate("latency_p99", ratio=1.2), levels=TOTALS)], 4)
        judged.capture(sample(60_000, 0, shaped(60_000)), polls)
        start(judged, share=0.05, hold=300.0)
        for number in range(1, 4):
            at = 10.0 + 5.0 * number
            slow = sample(25 * number, 0, shaped(25 * number, 3.0))
            verdict = look(judged, slow, sample(475 * number, 0, shaped(475 * number)), at=at)
        verdicts.append(verdict)
    assert verdicts[0].status is not Status.FAIL
    assert verdicts[1].status is Status.FAIL


# Replicas


def _replicated(counts, name):
    """A side whose replicas had these requests and errors."""
    parts = {f"{name}-{number}": sample(n, k) for number, (n, k) in enumerate(counts)}
    whole = sample(sum(n for n, _ in counts), sum(k for _, k in counts))
    return replace(whole, replicas=parts)


def _by_replica(canary, baseline, windows=4, levels=GUARDED):
    """So many windows of a minute, each with these counts per replica."""
    judged = judge(replace(gate(ratio=1.5, catastrophe=False), levels=replace(levels, bursts=Bursts.IGNORE)))
    start(judged, share=0.2, hold=300.0)
    for number in range(1, windows * 12 + 2):
        grown = [[(n * number / 12, k * number / 12) for n, k in side] for side in (canary, baseline)]
        verdict = look(judged, _replicated(grown[0], "c"), _replicated(grown[1], "b"), at=5.0 * number)
        if verdict.status is Status.FAIL:
            return verdict
    return verdict


EVEN = [(300, 3)] * 16


def test_replicas_that_are_all_worse_convict():
    """The second opinion agrees, and the sentence says so."""
    verdict = _by_replica([(300, 9)] * 4, EVEN)
    assert verdict.status is Status.FAIL
    assert "its replicas agree (evidence" in verdict.sentence


def test_one_replica_that_is_very_bad_convicts_nobody():
    """As many errors in all, but of one replica: it is that replica's minute, not the build's."""
    verdict = _by_replica([(300, 36), (300, 3), (300, 3), (300, 3)], EVEN, windows=1)
    assert verdict.status is not Status.FAIL
    assert "not convicted, since a bad moment of a single replica explains it" in verdict.sentence


def test_a_bad_moment_of_one_replica_does_not_keep_a_good_build_from_passing():
    """Totals remember it for the whole stage; the replicas have said what it was, and in the end they decide."""
    judged = judge(replace(gate(ratio=1.5, catastrophe=False), levels=replace(GUARDED, bursts=Bursts.IGNORE)))
    start(judged, share=0.2, hold=300.0)
    harmless = []
    for number in range(1, 63):
        grown, once = number / 12, 30.0 if number >= 6 else 0.0
        canary = [(300 * grown, 3 * grown + once), *[(300 * grown, 3 * grown)] * 3]
        baseline = [(300 * grown, 3 * grown)] * 16
        verdict = look(judged, _replicated(canary, "c"), _replicated(baseline, "b"), at=5.0 * number)
        assert verdict.status is not Status.FAIL
        harmless.append(verdict.harmless)
    assert not harmless[8]
    assert harmless[-1]
    assert verdict.evidence > 10


def test_nobody_asks_replicas_where_that_is_turned_off():
    """`evidence: {replicas: 1}`."""
    verdict = _by_replica([(300, 36), (300, 3), (300, 3), (300, 3)], EVEN, 1, replace(GUARDED, replicas=1.0))
    assert verdict.status is Status.FAIL
    assert "replicas" not in verdict.sentence


def test_smaller_replicas_are_merged_before_they_are_compared():
    """Eight canary replicas with half the traffic are four with as much as the others: they may convict."""
    assert _by_replica([(150, 5)] * 8, EVEN).status is Status.FAIL
    assert _by_replica([(150, 1.5)] * 8, EVEN).status is not Status.FAIL


def test_replicas_of_too_uneven_traffic_are_not_asked_and_the_sentence_says_so():
    """A canary whose replicas have a quarter of the others' traffic, and are too few to be merged."""
    verdict = _by_replica([(250, 10), (250, 10)], [(1000, 10)] * 6, windows=2)
    assert verdict.status is Status.FAIL
    assert "replicas have too uneven traffic to be compared" in verdict.sentence


def test_too_few_replicas_are_not_asked():
    """One against two: whichever is worst is the canary one time in three."""
    verdict = _by_replica([(300, 40)], [(300, 3), (300, 3)], windows=1)
    assert verdict.status is Status.FAIL
    assert "replicas" not in verdict.sentence


# Noise


def _noisy(spread, seed=3, replicas=20):
    rng = np.random.default_rng(seed)
    rates = 0.01 * np.exp(rng.normal(0, spread, replicas))
    return replace(
        _replicated([(5000, float(rng.poisson(5000 * rate))) for rate in rates], "b"),
        histograms={"latency": shaped(100_000)},
    )


def test_a_gate_below_the_noise_of_the_stable_build_is_refused_with_one_that_works():
    """Replicas of one build that differ twofold by themselves would convict good builds at 1.5."""
    with pytest.raises(BaselineFailed, match=r"20 replicas of the stable build differ .* write `ratio: [2-9]"):
        judge(gate(ratio=1.5, where="rollout.yaml:4"), captured=_noisy(0.6))
    judge(gate(ratio=1.5), captured=_noisy(0.0))
    judge(gate(ratio=1.5, canaries=20), captured=_noisy(0.3))


def test_the_gate_that_the_refusal_names_is_accepted():
    """A mend that does not mend is worse than none."""
    with pytest.raises(BaselineFailed) as refused:
        judge(gate(ratio=1.5), captured=_noisy(0.6))
    named = float(str(refused.value).partition("write `ratio: ")[2].partition("`")[0])
    judge(gate(ratio=named), captured=_noisy(0.6))


def test_what_nobody_could_judge_is_foreseen_without_keeping_anything():
    """From what the stable build has counted already, before anything is deployed."""
    judged = Judge([gate(ratio=1.5)], 4)
    judged.foresee(_noisy(0.0))
    with pytest.raises(BaselineFailed, match="cannot be judged"):
        judged.foresee(_noisy(0.6))


# Mixed traffic


def _mixed(easy, hard):
    """Requests and errors of an easy and a hard model."""
    parts = {"easy": sample(*easy), "hard": sample(*hard)}
    return replace(sample(easy[0] + hard[0], easy[1] + hard[1]), strata={"model": parts})


def test_more_hard_questions_are_no_worse_a_build():
    """Simpson's paradox: within each model the canary is no worse, and together it looks twice as bad."""
    captured = replace(_mixed((9000, 9), (1000, 100)), histograms={"latency": shaped(10_000)})
    canary, baseline = _mixed((500, 0), (500, 48)), _mixed((16_200, 16), (1800, 180))
    for by, fails in (((), True), (("model",), False)):
        judged = judge(gate(ratio=1.5, by=by), captured=captured)
        start(judged, share=0.05)
        assert (look(judged, canary, baseline).status is Status.FAIL) is fails


def test_harm_in_one_model_is_found_though_the_mix_hides_it():
    """The other way round: easier questions make a worse build look alike."""
    captured = replace(_mixed((5000, 5), (5000, 500)), histograms={"latency": shaped(10_000)})
    canary, baseline = _mixed((1800, 2), (200, 80)), _mixed((9000, 9), (9000, 900))
    for by, fails in (((), False), (("model",), True)):
        judged = judge(gate(ratio=1.5, by=by), captured=captured)
        start(judged, share=0.05)
        assert (look(judged, canary, baseline).status is Status.FAIL) is fails


def test_labels_that_the_source_does_not_count_by_are_refused():
    """Silently comparing everything with everything would be the very mistake."""
    with pytest.raises(BaselineFailed, match="it is compared by route, and the source counts by these labels: model"):
        judge(gate(ratio=1.5, by=("route",)), captured=_mixed((500, 1), (500, 50)))


# The control


def test_while_pods_are_young_the_control_alone_is_compared_with_and_then_everybody():
    """Fresh copies fail alike at first; later all of the stable build says what is normal."""
    judged = judge(gate(ratio=1.5))
    samples = {role: Sample(0.0, {"requests": 0.0, "errors": 0.0, "client_errors": 0.0}) for role in Role}
    judged.start_stage(0, 0.0, 0.1, True, 10.0, 50, samples, young_seconds=60.0)
    judged.observe({Role.CANARY: sample(500, 50), Role.CONTROL: sample(500, 50), Role.BASELINE: sample(4000, 40)}, 30.0)
    assert judged.verdicts()[0].baseline.requests == 500
    assert judged.verdicts()[0].status is not Status.FAIL
    judged.observe({Role.CANARY: sample(900, 90), Role.CONTROL: sample(900, 54), Role.BASELINE: sample(8000, 80)}, 90.0)
    assert judged.verdicts()[0].baseline.requests == 500 + 400 + 4000
    assert judged.verdicts()[0].status is Status.FAIL


def _beside(judged, control_errors, baseline_errors):
    """Six polls at half of the traffic for the canary, the rest for control and baseline."""
    samples = {role: Sample(0.0, {"requests": 0.0, "errors": 0.0, "client_errors": 0.0}) for role in Role}
    judged.start_stage(0, 0.0, 0.1, True, 10.0, 50, samples, young_seconds=600.0)
    for number in range(1, 7):
        seen = {Role.CANARY: sample(20 * number, 0), Role.CONTROL: sample(20 * number, control_errors * number)}
        judged.observe({**seen, Role.BASELINE: sample(160 * number, baseline_errors * number)}, 5.0 * number)
    return judged.wrong()


def test_a_control_that_is_broken_ends_the_rollout():
    """Whatever the canary did, it would look good beside it; and users meet the control."""
    assert _beside(judge(gate(ratio=1.5)), 18, 2).startswith("the control is plainly broken: 1")
    assert _beside(judge(gate(ratio=1.5)), 0, 2) == ""


def test_an_outage_for_everybody_is_no_fault_of_the_control():
    """Both sides of the stable build fail alike."""
    assert _beside(judge(gate(ratio=1.5)), 8, 64) == ""
