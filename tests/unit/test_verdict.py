"""From counts to what to do: the judge over stages, and the order in which decisions are made."""

from math import pi

import numpy as np
import pytest

from pytest_canary.gates import Action, Levels
from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.verdict import (
    By,
    Counted,
    Decision,
    Judge,
    Status,
    Step,
    Verdict,
    check_alpha,
    decide,
    settled,
    share_alpha,
    withheld,
)
from pytest_canary.verdict.guards import SplitGuard
from tests.unit.judged import LADDER, buckets, gate, judge, look, sample, shaped, start


def _verdict(status=Status.UNDECIDED, name="error_rate", by=None, **more):
    proved = by is By.PROOF
    sentence = f"{name}[10%]: so and so"
    return Verdict(name, 0, status, by, Counted(), Counted(), "ratio <= 1.5", sentence=sentence, proved=proved, **more)


PROVED = _verdict(Status.PASS, by=By.PROOF)
QUIET = _verdict(needed=4780.0)
DOUBTFUL = _verdict(harmless=False)
BLIND = _verdict(Status.NO_DATA, harmless=False)
FAILED = _verdict(Status.FAIL, by=By.EVIDENCE, harmless=False)


def _decide(*verdicts, elapsed=300.0, requests=500, deadline=1800.0, pace="hold", when_undecided="advance"):
    return decide(
        verdicts, elapsed=elapsed, requests=requests, hold=300.0, min_requests=500, deadline=deadline, pace=pace,
        when_undecided=when_undecided,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "more", "step", "why"),
    [
        # a fail stops before anything else is asked
        ([FAILED, PROVED], {"elapsed": 1.0, "requests": 3}, Step.STOP, "so and so"),
        ([FAILED, BLIND], {}, Step.STOP, "so and so"),
        # served and proved
        ([PROVED], {}, Step.ADVANCE, "error_rate passed by proof"),
        ([PROVED], {"elapsed": 299.0}, Step.WAIT, "1 s of hold"),
        ([PROVED], {"requests": 499}, Step.WAIT, "1 more canary requests"),
        ([PROVED], {"when_undecided": "rollback"}, Step.ADVANCE, "by proof"),
        # pace: proof shortens the hold, never the minimum
        ([PROVED], {"elapsed": 9.0, "pace": "proof"}, Step.ADVANCE, "by proof"),
        ([PROVED], {"elapsed": 9.0, "pace": "proof", "requests": 499}, Step.WAIT, "1 more canary requests"),
        ([PROVED, QUIET], {"elapsed": 9.0, "pace": "proof"}, Step.WAIT, "291 s of hold"),
        ([], {"elapsed": 9.0, "pace": "proof"}, Step.WAIT, "291 s of hold"),
        # soak
        ([PROVED, QUIET], {}, Step.ADVANCE, "error_rate passed by soak"),
        ([QUIET] * 5, {}, Step.ADVANCE, "all 5 gates passed by soak"),
        ([PROVED, *[QUIET] * 5], {}, Step.ADVANCE, "5 gates passed by soak"),
        ([PROVED, QUIET], {"when_undecided": "rollback"}, Step.WAIT, "a decision on error_rate"),
        ([QUIET, DOUBTFUL], {}, Step.WAIT, "a decision on error_rate"),
        ([PROVED, BLIND], {}, Step.WAIT, "data for error_rate"),
        ([], {}, Step.ADVANCE, "no gate was declared"),
        # the deadline
        ([QUIET], {"elapsed": 1800.0, "requests": 499}, Step.STOP, "1 more canary requests"),
        ([PROVED], {"elapsed": 1800.0, "requests": 499}, Step.STOP, "deadline of 1800 s"),
        ([PROVED, BLIND], {"elapsed": 1800.0}, Step.STOP, "data for error_rate"),
        ([DOUBTFUL], {"elapsed": 1800.0}, Step.STOP, "a decision on error_rate"),
        ([QUIET], {"elapsed": 1800.0}, Step.ADVANCE, "by soak"),
        ([QUIET], {"elapsed": 1800.0, "when_undecided": "rollback"}, Step.STOP, "deadline"),
        ([DOUBTFUL], {"elapsed": 9e9, "deadline": None}, Step.WAIT, "a decision on error_rate"),
    ],
)  # fmt: skip
def test_decisions_are_made_in_the_order_of_the_contract(verdicts, more, step, why):
    """Fail, then served and passed, then the deadline, else wait; the line says which and what is missing."""
    decision = _decide(*verdicts, **more)
    assert decision.step is step
    assert why in decision.why
    assert "\n" not in decision.why


def test_an_alert_never_decides_anything():
    """It reports, and no more: neither its failure nor its silence counts."""
    for status in Status:
        assert _decide(PROVED, _verdict(status, alert=True, harmless=False)).step is Step.ADVANCE


def test_verdicts_are_settled_by_the_step_that_was_taken():
    """After an advance each says on what ground, and soak says what proof would have taken."""
    decision = _decide(PROVED, QUIET)
    proved, soaked = settled([PROVED, QUIET], decision)
    assert (proved.status, proved.by) == (Status.PASS, By.PROOF)
    assert (soaked.status, soaked.by) == (Status.PASS, By.SOAK)
    assert soaked.sentence.endswith("no sign of harm, proof would take about 4,780 more canary requests")


def test_a_doubtful_alert_is_not_settled_into_a_pass():
    """The stage goes on; the alert says what it saw."""
    alert = _verdict(harmless=False, alert=True, name="ttft_p99")
    assert settled([PROVED, alert], _decide(PROVED, alert))[1].status is Status.UNDECIDED


def test_the_deadline_names_those_who_are_to_blame():
    """Where one gate doubts, the quiet ones are not failed with it; where all are quiet, all are undecided too long."""
    late = {"elapsed": 1800.0}
    quiet, doubtful, blind = settled([QUIET, DOUBTFUL, BLIND], _decide(QUIET, DOUBTFUL, BLIND, **late))
    assert (quiet.status, quiet.by) == (Status.UNDECIDED, None)
    assert (doubtful.status, doubtful.by) == (Status.FAIL, By.DEADLINE)
    assert (blind.status, blind.by) == (Status.NO_DATA, By.DEADLINE)
    (alone,) = settled([QUIET], _decide(QUIET, when_undecided="rollback", **late))
    assert (alone.status, alone.by) == (Status.FAIL, By.DEADLINE)
    assert alone.sentence.endswith("deadline of 1800 s reached, proof would take about 4,780 more canary requests")


def test_what_stops_for_another_reason_fails_nobody_for_being_slow():
    """A failed gate, or a signal: the others stay as undecided as they are."""
    stopped = [FAILED, QUIET]
    assert settled(stopped, _decide(*stopped, elapsed=1800.0)) == tuple(stopped)
    assert settled([QUIET], Decision(Step.STOP, "SIGTERM")) == (QUIET,)


def test_promotion_needs_a_pass_of_every_gate_at_every_stage():
    """Nothing missing, nothing stopped, nothing narrowed; the reason is one line."""
    required, free = ["a::error_rate[5%]", "a::error_rate[100%]"], {"stopped": "", "narrowed": ""}
    assert withheld(required, set(required), **free) == ""
    assert withheld(required, {required[0]}, **free) == "a::error_rate[100%] did not pass"
    assert "narrowed by -k" in withheld(required, set(required), stopped="", narrowed="-k")
    assert withheld(required, set(required), stopped="SIGTERM", narrowed="-k") == "SIGTERM"


def test_alpha_is_shared_before_the_start():
    """Errors 1 %, all other declared gates 2 % together, gates that appear later 1 % together."""
    shared = share_alpha([gate(ratio=1.5), gate("latency_p99", ratio=1.2), gate("ttft_p99", ratio=1.3)])
    assert [each.alpha for each in shared] == pytest.approx([0.01, 0.01, 0.01])
    assert [each.alpha for each in share_alpha([gate("latency_p99", ratio=1.2)])] == pytest.approx([0.02])
    assert share_alpha([]) == ()
    assert check_alpha(1, Levels()) == pytest.approx(0.06 / pi**2)
    assert sum(check_alpha(n, Levels()) for n in range(1, 10_000)) <= 0.01


def test_a_gate_speaks_only_at_its_stages_but_listens_at_all():
    """Evidence from the silent stage counts at the one that gates."""
    judged = judge(gate(ratio=1.5, only_stages=(1,)))
    start(judged)
    judged.observe({Role.CANARY: sample(300, 12), Role.BASELINE: sample(2700, 9)}, 10.0)
    assert judged.verdicts() == ()
    start(judged, 1, at=20, canary=sample(300, 12), baseline=sample(2700, 9))
    assert look(judged, sample(350, 14), sample(3200, 11), at=25).status is Status.FAIL


def test_a_gate_that_appears_later_sees_what_its_stage_has_seen():
    """The same verdict as if it had been declared, and its own alpha."""
    late = judge(gate(ratio=1.5))
    declared = judge(gate(ratio=1.5), gate("latency_p99", ratio=1.2, alpha=0.004))
    for judged in (late, declared):
        start(judged, hold=2)
        for at in (5, 10, 15):
            look(judged, sample(at * 20, at, shaped(at * 20, 1.5)), sample(at * 180, at, shaped(at * 180)), at=at)
    late.add(gate("latency_p99", ratio=1.2, alpha=0.004))
    later, first = late.verdicts()[1], declared.verdicts()[1]
    assert later.status is Status.FAIL
    assert later.alpha == 0.004
    assert later.evidence == pytest.approx(first.evidence, rel=0.3)
    assert later.canary == first.canary


def test_an_alert_gate_marks_its_verdicts():
    """So that whoever decides can leave it out."""
    judged = judge(gate(ratio=1.5, action=Action.ALERT))
    start(judged)
    verdict = look(judged, sample(310, 30), sample(2790, 9))
    assert (verdict.status, verdict.alert) == (Status.FAIL, True)


def test_stage_counts_are_this_stages_alone():
    """The live line: requests, errors, p50 and p99 on each side since the stage began."""
    judged = judge(gate(ratio=1.5))
    start(judged, canary=sample(100, 5, buckets((100, 0.2))), baseline=sample(900, 9, buckets((900, 0.2))))
    look(judged, sample(150, 6, buckets((150, 0.2))), sample(1350, 9, buckets((900, 0.2), (450, 0.4))))
    counts = judged.stage_counts()
    assert (counts[Role.CANARY].requests, counts[Role.CANARY].errors) == (50, 1)
    assert judged.requests == 50
    assert counts[Role.BASELINE].p50 == pytest.approx(0.39, abs=0.03)
    assert str(counts[Role.CANARY]).startswith("50 requests, 1 error, p50 ")


def test_before_a_stage_and_without_a_capture_nothing_is_said_and_nothing_breaks():
    """A judge that was told nothing knows nothing."""
    judged = Judge([gate(ratio=1.5), gate("latency_p99", ratio=1.2)], 2)
    judged.observe({Role.CANARY: sample(1, 1)}, 1.0)
    assert (judged.verdicts(), judged.requests, judged.stage_counts()) == ((), 0, {})
    start(judged)
    for at in (5, 10):
        look(judged, *[sample(at, 0, shaped(at))] * 2, at=at)
    rate, tail = judged.verdicts()
    assert rate.status is Status.UNDECIDED
    assert tail.status is Status.NO_DATA


def test_more_stages_than_planned_go_on_with_the_evidence_there_is():
    """A stage of its own for the bake needs no copy of its own."""
    judged = judge(gate(ratio=1.5), stages=1)
    for index in range(3):
        start(judged, index, at=index * 20.0)
        verdict = look(judged, sample(100, 5), sample(900, 9), at=index * 20.0 + 10)
    assert verdict.evidence > 10


def _rollout(seed, times=1.0, ratio=1.0):
    """Four stages at 100 requests per second, 8 s of hold, 60 requests, looked at every second; where it ended."""
    rng = np.random.default_rng(seed)
    judged = judge(*share_alpha([gate(ratio=1.5), gate("latency_p99", ratio=1.2)]))
    served = {Role.CANARY: [0, 0, 0], Role.BASELINE: [0, 0, 0]}
    pace = {Role.CANARY: (times, 0.01 * ratio), Role.BASELINE: (1.0, 0.01)}

    def counted():
        return {role: sample(n, k, Histogram(LADDER, tuple(h))) for role, (n, k, h) in served.items()}

    def serve(role, share):
        new, (slow, failing) = rng.poisson(100 * share), pace[role]
        chances = np.array(shaped(1.0, slow).counts)
        old = served[role]
        served[role] = [old[0] + new, old[1] + rng.binomial(new, failing), old[2] + rng.multinomial(new, chances)]

    for role in served:
        served[role][2] = np.zeros(len(LADDER) + 1)
    for index, share in enumerate((0.1, 0.25, 0.5, 1.0)):
        judged.start_stage(index, index * 100.0, share, share < 1, 8.0, 60, counted())
        step, second = Step.WAIT, 0
        while step is Step.WAIT:
            second += 1
            serve(Role.CANARY, share)
            serve(Role.BASELINE, 1 - share)
            judged.observe(counted(), index * 100.0 + second)
            verdicts = judged.verdicts()
            step = decide(
                verdicts, elapsed=second, requests=judged.requests, hold=8.0, min_requests=60, deadline=60.0
            ).step
        if step is Step.STOP:
            return index, {verdict.gate for verdict in verdicts if verdict.status is Status.FAIL}
    return None, set()


def test_good_builds_are_promoted_and_bad_ones_stopped_at_the_first_stage_in_short_rehearsals():
    """The whole path on random traffic, short stages as on one machine: of 15 good builds one may be unlucky."""
    assert [_rollout(seed) for seed in range(15)].count((None, set())) >= 14
    assert [_rollout(seed, ratio=30.0) for seed in range(15)] == [(0, {"error_rate"})] * 15
    assert [_rollout(seed, times=2.0) for seed in range(15)] == [(0, {"latency_p99"})] * 15


def test_where_the_traffic_returns_the_sides_are_called_what_they_are():
    """The stable build was started anew, and the proven canary is what it is compared with."""
    back = judge(gate(ratio=1.5))
    samples = {Role.CANARY: sample(), Role.BASELINE: sample()}
    back.start_stage(0, 0.0, 0.05, True, 10.0, 50, samples, label="stable 5%")
    found = look(back, sample(40, 20), sample(760, 7))

    assert found.sentence.startswith("error_rate[stable 5%]: stable 20/40 (50.00%) against canary 7/760")
    assert (found.side, back.sides.named(Role.BASELINE)) == ("stable", "canary")
    assert (
        back.sides.said("5% seen on the canary, the baseline's p99") == "5% seen on the stable build, the canary's p99"
    )


def test_what_is_waited_for_is_of_the_side_that_is_judged():
    """`canary requests` are of the other build there."""
    waits = _decide(_verdict(side="stable"), requests=480).why

    assert waits == "waits for 20 more stable requests"


def _split(*polls: tuple[float, float]) -> str:
    """What the split guard says after polls a second apart: (requests of the canary, of the baseline)."""
    guard = SplitGuard(0.2, 0.0, Sample(0.0))
    for at, (canary, baseline) in enumerate(polls):
        counts = {Role.CANARY: canary, Role.BASELINE: baseline}
        guard.observe({role: Sample(0.0, {"requests": n}) for role, n in counts.items()}, float(at))
    return guard.wrong


def test_a_build_that_is_away_for_a_moment_says_nothing_of_the_split():
    """Its only pod is replaced; what it has counted until somebody reads it comes in one lump."""
    good, away, lump = [(20.0, 80.0)] * 3, [(20.0, 0.0)] * 10, [(20.0, 800.0)]

    assert _split(*good, *away, *lump, *good) == ""


def test_a_pod_that_takes_its_last_counts_with_it_says_nothing_of_the_split():
    """It is replaced between two readings: of 80 requests one is counted, and the next poll is as it should be."""
    good = [(20.0, 80.0)] * 2

    assert _split((20.0, 1.0), *good) == ""
    assert _split(*good, (20.0, 1.0), *good) == ""
    assert "was to reach the canary" in _split(*[(20.0, 10.0)] * 3)


def test_a_single_poll_does_not_make_a_split_matter_that_is_off_by_little():
    """The odds are 6% off and a million requests say so, which nobody minds; then half of one poll's are lost."""
    near = [(21_000.0, 79_000.0)] * 8

    assert _split(*near) == ""
    assert _split(*near, (21_000.0, 40_000.0)) == ""
    assert _split(*near[:4], (21_000.0, 40_000.0), *near[:4]) == ""
    assert "was to reach the canary" in _split(*near, *[(21_000.0, 40_000.0)] * 3)


def _scraped(share: float, *, canary_late: float, each: float = 15.0, rate: float = 100.0, seconds: float = 300) -> str:
    """The guard of a stage at 50 % whose sides are scraped ``each`` so many s, the canary later, polled every 5 s."""
    guard, counts, read = SplitGuard(0.5, 0.0, Sample(0.0)), {}, {Role.BASELINE: 0.0, Role.CANARY: 0.0}
    rates = {Role.BASELINE: rate * (1 - share), Role.CANARY: rate * share}
    late = {Role.BASELINE: 0.0, Role.CANARY: canary_late}
    said = ""
    for poll in range(1, int(seconds / 5)):
        now = poll * 5.0
        at = {role: max(0.0, (now - late[role]) // each * each + late[role]) for role in read}
        spans = {role: at[role] - read[role] for role in read}
        counts = {role: Sample(at[role], {"requests": rates[role] * spans[role]}) for role in read}
        guard.observe(counts, now - 5.0, spans)
        read = at
        said = said or guard.wrong
    return said


def test_sides_that_are_scraped_at_different_times_are_split_as_they_were_set():
    """Fifteen seconds of the baseline alone are no sign that nobody reaches the canary."""
    assert [_scraped(0.5, canary_late=late) for late in (0.0, 2.0, 6.0, 11.0)] == [""] * 4


def test_pods_that_are_scraped_at_different_times_are_split_as_they_were_set():
    """What a side has counted is as new as its newest pod, and the time that is told of it as old as its oldest."""
    guard = SplitGuard(0.2, 0.0, Sample(0.0))
    for poll in range(1, 8):
        spans = {Role.BASELINE: 1.0, Role.CANARY: 0.6}
        counts = {Role.BASELINE: 400.0, Role.CANARY: 100.0}
        guard.observe({role: Sample(poll, {"requests": number}) for role, number in counts.items()}, poll - 1.0, spans)
    assert guard.wrong == ""


def test_a_wrong_split_is_seen_though_the_sides_are_scraped_at_different_times():
    """A canary that loses a quarter of its requests."""
    assert "was to reach the canary" in _scraped(0.42, canary_late=6.0)
    assert "was to reach the canary" in _scraped(0.42, canary_late=0.0)


def test_a_build_that_stays_away_speaks_against_the_split():
    """Then everybody goes somewhere else."""
    assert "was to reach the canary" in _split(*[(20.0, 0.0)] * 30)
