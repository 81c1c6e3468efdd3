"""Whatever a source tells: nothing is raised, nothing is decided out of nothing, no number becomes a non-number."""

import math
import random
import warnings

import pytest

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Decide, Gate, Limits, metric, names
from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.verdict import Judge, decide, settled, share_alpha
from tests.unit.judged import gate, judge, look, sample, shaped, start

BOUNDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


class Source:
    """Counters that grow, begin anew, change their buckets, lose replicas, and are sometimes no numbers."""

    def __init__(self, seed):
        self.random, self._counts = random.Random(seed), {}
        self._rate = self.random.choice([0.0, 0.01, 0.3])

    def sample(self, role, at):
        own = self.random
        replicas = {f"{role}-{n}": self._one((role, n), at) for n in range(own.choice([0, 0, 1, 3, 6]))}
        strata = {"model": {name: self._one((role, name), at) for name in own.sample("abc", own.randint(1, 3))}}
        gauges = {"gpu_utilisation": own.random()} if own.random() < 0.8 else {}
        whole = self._one(role, at)
        return Sample(at, whole.counters, whole.histograms, replicas, gauges, strata if own.random() < 0.7 else {})

    def _one(self, name, at):
        own = self.random
        counts = self._counts.setdefault(name, [0, 0, [0] * 7])
        if own.random() < 0.03:
            counts[:] = [0, 0, [0] * 7]
        more = own.choice([0, 0, 1, 5, 50, 1000, 10**7]) if own.random() < 0.3 else own.randint(0, 60)
        counts[0] += more
        counts[1] += min(more, int(more * self._rate * own.random() * 2))
        for _ in range(min(more, 30)):
            counts[2][min(6, max(0, int(own.gauss(2, 1.2))))] += max(1, more // 30)
        bounds = BOUNDS if own.random() > 0.02 else (*BOUNDS[:-1], 9.9)
        histogram = Histogram(bounds, tuple(map(float, counts[2])), sum(counts[2]) * 0.3)
        errors = math.nan if own.random() < 0.02 else float(counts[1])
        counters = {"requests": float(counts[0]), "errors": errors, "client_errors": float(counts[1] // 2)}
        return Sample(at, counters, dict.fromkeys(("latency", "ttft", "output_tokens", "quality"), histogram))


def _limits(own, known):
    given = {"ratio": own.choice([1.2, 1.5, 3])} if own.random() < 0.7 else {}
    given |= {"delta": own.choice([0.01, 0.2])} if own.random() < 0.3 else {}
    given |= {"max": own.choice([0.02, 0.9])} if own.random() < 0.3 else {}
    given |= {"shift": 0.1} if own.random() < 0.3 and known.histogram else {}
    return Limits(**(given or {"max": 0.5}))


def _gates(own):
    for name in own.sample(names(), own.randint(1, 4)):
        known = metric(name)
        stages = ((1, _limits(own, known)),) if own.random() < 0.3 else ()
        by = ("model",) if own.random() < 0.3 else ()
        yield Gate(name, known, _limits(own, known), decide=own.choice(list(Decide)), stages=stages, by=by)


@pytest.mark.parametrize("seed", range(60))
def test_a_judge_survives_any_source(seed):
    """Sixty sources, four stages each; a numpy warning counts as a fault."""
    source = Source(seed)
    own, at = source.random, 20.0
    judged = Judge(share_alpha(list(_gates(own))), 4)
    before = [source.sample(Role.BASELINE, float(second)) for second in range(12)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            judged.capture(before[-1], before)
        except BaselineFailed as refused:
            assert len(str(refused).splitlines()) == 1  # noqa: PT017
            return
        for index, share in enumerate((0.001, 0.25, 0.999, 1.0)):
            samples = {role: source.sample(role, at) for role in (Role.BASELINE, Role.CANARY)}
            hold = own.choice([0.0, 5.0, 300.0])
            judged.start_stage(index, at, share, share < 1, hold, 20, samples, young_seconds=own.choice([0, 60]))
            judged.split_seen()
            for _ in range(12):
                at += own.choice([0, 0, 1, 5, 100])
                judged.observe({role: source.sample(role, at) for role in Role if own.random() < 0.85}, at)
                _check(judged, hold, at)


def _check(judged, hold, at):
    verdicts = judged.verdicts()
    for verdict in verdicts:
        assert verdict.sentence
        assert verdict.evidence >= 0
        assert 0 <= verdict.odds <= 1
        assert verdict.needed is None or verdict.needed >= 0
        if not verdict.canary.requests:
            assert verdict.status in ("no data", "undecided", "fail"), verdict.sentence
    decision = decide(verdicts, elapsed=at, requests=judged.requests, hold=hold, min_requests=0, deadline=50)
    assert len(settled(verdicts, decision)) == len(verdicts)
    assert "\n" not in judged.wrong()


def test_a_part_that_holds_no_numbers_is_left_out_and_the_rest_counts():
    """One replica that divides by zero must not blind the whole service."""
    judged = judge(gate(ratio=1.5))
    start(judged)
    good = sample(310, 12)
    broken = Sample(0.0, good.counters, replicas={"a": sample(300, math.nan), "b": sample(10, 1)})
    assert look(judged, broken, sample(2790, 9)).status == "fail"


def test_a_baseline_of_non_numbers_is_refused_in_one_line():
    """Nothing could be compared with it."""
    with pytest.raises(BaselineFailed, match="some of its counters are no numbers; see the metric source"):
        judge(gate(ratio=1.5), captured=sample(1000, math.nan))


def test_a_limit_that_begins_at_a_later_stage_listens_from_the_start():
    """Its evidence counts all along, at the boundaries that it will have."""
    judged = judge(gate("latency_p99", max=1.0, stages=((1, Limits(ratio=1.2, max=1.0)),)))
    start(judged)
    look(judged, at=5)
    first = look(judged, sample(500, 0, shaped(500, 1.5)), sample(4500, 0, shaped(4500)), at=10)
    assert first.limit.startswith("max")
    start(judged, 1, at=20, canary=sample(500, 0, shaped(500, 1.5)), baseline=sample(4500, 0, shaped(4500)))
    look(judged, at=25)
    later = look(judged, sample(520, 0, shaped(520, 1.5)), sample(4680, 0, shaped(4680)), at=30)
    assert (later.status, later.limit) == ("fail", "ratio <= 1.2")
