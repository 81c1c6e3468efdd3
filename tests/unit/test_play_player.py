"""Hundreds of pseudo-canaries at once are judged as one rollout is."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_canary.gates import Decide
from pytest_canary.play import Buckets, History, cast, play, worse
from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.verdict import Judge, Step
from tests.unit.histories import gate, history, plan


def counted(past, replicas, first, end, at):
    """What these replicas had counted from step ``first`` to ``end``, as a source would tell a run."""

    def one(places):
        counters = {name: float(c[first:end][:, places].sum()) for name, c in past.counters.items()}
        histograms = {
            name: Histogram(
                b.bounds, tuple(b.counts[first:end][:, places].sum(axis=(0, 1), dtype=float).tolist()),
                float(b.totals[first:end][:, places].sum()),
            )
            for name, b in past.histograms.items()
        }  # fmt: skip
        return Sample(at, counters, histograms)

    whole = one(list(replicas))
    return replace(whole, replicas={str(nth): one([place]) for nth, place in enumerate(replicas)})


def alone(told, one, past, bad, drawn, nth):
    """The same play by the judge of a run: whether it was stopped, and the canary's requests until then."""
    judge, order, at = Judge([one], len(told.stages)), drawn.orders[nth], int(drawn.starts[nth])
    step, exposed = past.step_seconds, 0.0
    polls = [replace(counted(past, order, a, a + 1, 0.0), replicas={}) for a in range(at, at + drawn.before)]
    at += drawn.before
    judge.capture(counted(past, order, int(drawn.starts[nth]), at, 0.0), polls)
    for part in drawn.parts:
        stage, first, hold = told.stages[part.index], at, part.steps * step
        canary, baseline = order[: part.canaries], order[part.canaries :]

        def samples(end, first=first, canary=canary, baseline=baseline):
            mine, theirs = (
                counted(side, who, first, end, end * step) for side, who in ((bad, canary), (past, baseline))
            )
            return {Role.CANARY: mine, Role.BASELINE: theirs}

        judge.start_stage(part.index, at * step, part.weight, True, hold, stage.min_requests, samples(at))
        decision = None
        while decision is None or decision.step is Step.WAIT:
            at += 1
            judge.observe(samples(at), at * step)
            decision = judge.decide(
                elapsed=(at - first) * step, hold=hold, min_requests=stage.min_requests,
                deadline=stage.deadline_seconds, pace="hold", when_undecided="advance",
            )  # fmt: skip
        exposed += judge.requests
        if decision.step is Step.STOP:
            return True, exposed
    return False, exposed


def with_latency(past, seed=0):
    """The same history, with how long its requests took: replica 0 is slower than the others now and then."""
    rng = np.random.default_rng(seed)
    bounds = tuple(0.05 * 1.25**n for n in range(24))
    edges = np.log([*bounds])
    shares = np.exp(-0.5 * ((np.append(edges, edges[-1] + 0.2) + 1.5) / 0.6) ** 2)
    counts = rng.multinomial(past.requests.astype(int), shares / shares.sum()).astype(float)
    return History(past.step_seconds, past.counters, {"latency": Buckets(bounds, counts, 0.3 * past.requests)})


@pytest.mark.parametrize("times", [1.0, 3.0])
@pytest.mark.parametrize("name", ["error_rate", "latency_p99"])
def test_a_play_ends_as_the_same_counts_would_end_a_run(name, times):
    """There is no second implementation of the rules: same counts, same end, at the same poll."""
    one = gate(name, ratio=1.5 if name == "error_rate" else 1.3, calibrated=True)
    told = plan(one, shares=(0.2, 0.5, 1.0), least=200)
    past = with_latency(history(hours=1, replicas=10, bursts=400.0))
    drawn = cast(told, past, 8, np.random.default_rng(3))
    bad = worse(past, one.metric, times, np.random.default_rng(4)) if times > 1 else past
    played = play(told, one, past, drawn, bad)

    singly = [alone(told, one, past, bad, drawn, nth) for nth in range(drawn.plays)]
    assert played.stopped.tolist() == [stopped for stopped, _ in singly]
    assert played.exposed.tolist() == [exposed for _, exposed in singly]
    assert played.stops >= 6 if times > 1 else played.stops <= 2


def test_good_replicas_are_hardly_ever_rolled_back_and_bad_ones_mostly():
    """The promise of the evidence, on a history where it holds."""
    past, told = history(hours=1, replicas=12, each=10.0), plan(hold=180.0)
    (one,) = told.gates
    drawn = cast(told, past, 200, np.random.default_rng(0))

    assert play(told, one, past, drawn).stops <= 4
    bad = play(told, one, past, drawn.first(50), worse(past, one.metric, 3.0, np.random.default_rng(1)))
    assert bad.stops >= 45
    assert bad.exposed.mean() < play(told, one, past, drawn.first(50)).exposed.mean() / 3


def test_replicas_that_differ_too_much_do_not_begin():
    """As a run would end before the ramp; what is calibrated begins."""
    past, told = history(hours=1, replicas=12, each=40.0, uneven=1.2), plan()
    (one,) = told.gates
    drawn = cast(told, past, 20, np.random.default_rng(0))
    refused = play(told, one, past, drawn)

    assert refused.refused == 20
    assert refused.stops == 0
    assert "differ so much among themselves" in refused.why
    assert play(told, replace(one, calibrated=True), past, drawn).refused == 0


def test_what_is_known_to_be_too_many_is_not_played_to_its_end():
    """A search over levels plays most of them only until that is clear."""
    past = history(hours=1, replicas=10, base=0.05)
    told = plan(gate(decide=Decide.WINDOW, calibrated=True))
    drawn = cast(told, past, 60, np.random.default_rng(0))
    whole = play(told, told.gates[0], past, drawn)
    part = play(told, told.gates[0], past, drawn, at_most=2)

    assert whole.stops > 10
    assert 2 < part.stops < whole.stops
