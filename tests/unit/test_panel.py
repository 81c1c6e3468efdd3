"""A batch of rollouts is judged as each of them is alone: whatever the gates, their rules and the source."""

import random
from itertools import pairwise

import numpy as np
import pytest

from pytest_canary.gates import Decide, Gate, Limits, metric
from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.verdict import Judge, decide, share_alpha
from pytest_canary.verdict.course import STEPS, Rules
from pytest_canary.verdict.frame import rows_of
from pytest_canary.verdict.panel import Panel
from tests.unit.judged import LADDER, shaped

ROWS, POLLS = 6, 24
RULES = {
    "hold": 20.0, "min_requests": 60, "deadline": 60.0, "pace": "hold", "when_undecided": "advance",
}  # fmt: skip


def _gate(name, decide=Decide.EVIDENCE, **limits):
    stages = limits.pop("stages", ())
    return Gate(name, metric(name), Limits(**limits), decide=decide, stages=stages)


KINDS = {
    "rates": [_gate("error_rate", ratio=1.5, max=0.2), _gate("client_error_rate", delta=0.02)],
    "tails": [_gate("latency_p99", ratio=1.2, stages=((1, Limits(ratio=1.5)),)), _gate("ttft_p95", max=1.5)],
    "means": [_gate("output_tokens", ratio=1.3), _gate("cost_per_request", ratio=1.2), _gate("quality", min=0.1)],
    "tokens": [_gate("inter_token_latency_p95", ratio=1.5), _gate("inter_token_latency", ratio=1.5)],
    "plain": [_gate("error_rate", Decide.THRESHOLD, ratio=1.5), _gate("latency_p99", Decide.WINDOW, ratio=1.5)],
    "others": [_gate("error_rate", Decide.ESTIMATE, ratio=1.5), _gate("output_tokens", shift=0.1)],
    "gauge": [_gate("gpu_utilisation", ratio=1.2), _gate("error_rate", ratio=2)],
}


class Source:
    """Counters of one rollout that grow by chance; ``bad`` times as many errors, and as slow, at the canary."""

    def __init__(self, seed, bad):
        self._chance, self._bad, self._counts = random.Random(seed), bad, {}

    def grown(self, role, at, replicas=0):
        parts = {f"{role}-{n}": self._one(f"{role}-{n}", at, role, 30) for n in range(replicas)}
        whole = self._one(role, at, role, 40 if role is Role.CANARY else 300) if not parts else _sum(parts.values())
        gauges = {"gpu_utilisation": 0.4 + 0.2 * self._chance.random()}
        return Sample(at, whole.counters, whole.histograms, parts, gauges)

    def _one(self, name, at, role, most):
        own, bad = self._chance, self._bad if role is Role.CANARY else 1.0
        counts = self._counts.setdefault(name, [0.0, 0.0, 0.0, np.zeros(len(LADDER) + 1)])
        more = own.choice([0, 0, 1, own.randint(1, most)])
        counts[0] += more
        counts[1] += sum(own.random() < 0.02 * bad for _ in range(more))
        counts[2] += sum(own.random() < 0.05 for _ in range(more))
        if more:
            counts[3] = counts[3] + np.array(shaped(more, bad**0.3).counts).round()
        slow = Histogram(LADDER, tuple(counts[3].tolist()), float(counts[3].sum()) * 0.25 * bad**0.3)
        counters = {"requests": counts[0], "errors": counts[1], "client_errors": counts[2]}
        names = ("latency", "ttft", "itl", "output_tokens", "cost", "quality")
        return Sample(at, counters, dict.fromkeys(names, slow))


def _sum(parts):
    """What replicas counted together."""
    parts = list(parts)
    counters = {name: sum(part.counters[name] for part in parts) for name in parts[0].counters}
    alike = [part.histograms["latency"] for part in parts]
    counts = tuple(float(sum(column)) for column in zip(*(one.counts for one in alike), strict=True))
    whole = Histogram(LADDER, counts, sum(one.total for one in alike))
    return Sample(parts[0].at, counters, dict.fromkeys(parts[0].histograms, whole))


def _series(row, replicas):
    source, at = Source(row, 1.0 + row), 0.0
    before, ramp = [], []
    for _ in range(20):
        at += 2.0
        before.append(source.grown(Role.BASELINE, at, replicas))
    for _ in range(2 * POLLS):
        at += 2.0
        ramp.append({role: source.grown(role, at, replicas) for role in (Role.BASELINE, Role.CANARY)})
    return before, ramp


@pytest.mark.parametrize("replicas", [0, 4], ids=["", "replicas"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_row_of_a_panel_is_a_judge_of_its_own(kind, replicas):
    """The same failures, steps and numbers at every poll of two stages; rows leave on the way."""
    gates = share_alpha(KINDS[kind])
    series = [_series(row, replicas) for row in range(ROWS)]
    judges, panel, rules = [Judge(gates, 2) for _ in series], Panel(gates, 2, ROWS), Rules(**RULES)
    steps = [[now.since(then) for then, now in pairwise(before)] for before, _ in series]
    for judge, (before, _), polls in zip(judges, series, steps, strict=True):
        judge.capture(before[-1].since(before[0]), polls)
    baselines = rows_of([before[-1].since(before[0]) for before, _ in series])
    wrong = panel.capture(baselines, [(rows_of(list(each)), None) for each in zip(*steps, strict=True)])
    assert not any(wrong)
    ids = list(range(ROWS))
    for stage in range(2):
        first = stage * POLLS
        for row in ids:
            judges[row].start_stage(stage, 40.0 + 2 * first, 0.2, True, 20.0, 60, _at(series[row], first - 1))
            judges[row].split_seen()
        frames = {role: rows_of([_at(series[row], first - 1)[role] for row in ids]) for role in _at(series[0], 0)}
        panel.start_stage(stage, 40.0 + 2 * first, 0.2, True, 20.0, 60, frames)
        panel.split_seen()
        for poll in range(first, first + POLLS):
            at, elapsed = 42.0 + 2 * poll, 2.0 * (poll - first + 1)
            frames = {
                role: rows_of([_at(series[row], poll)[role] for row in ids]) for role in (Role.BASELINE, Role.CANARY)
            }
            panel.observe(frames, at)
            course = panel.next_step(rules, np.full(len(ids), elapsed))
            failing = panel.failing()
            for place, row in enumerate(ids):
                judges[row].observe(_at(series[row], poll), at)
                said = decide(judges[row].verdicts(), elapsed=elapsed, requests=judges[row].requests, **RULES)
                assert STEPS[course.step[place]] is said.step, (row, poll, said.why)
                assert failing[:, place].tolist() == [v.status == "fail" for v in judges[row].verdicts()]
            if poll % 7 == 0:
                for place, row in enumerate(ids):
                    for (_, found), alone in zip(panel.findings(place), judges[row].verdicts(), strict=True):
                        assert (found.status, found.by, found.harmless) == (alone.status, alone.by, alone.harmless)
                        assert (found.canary, found.baseline) == (alone.canary, alone.baseline)
                        assert (found.evidence, found.odds) == pytest.approx((alone.evidence, alone.odds), rel=1e-6)
            if poll in (5, POLLS + 3):  # one leaves
                ids.pop(1)
                panel.keep(np.delete(np.arange(len(ids) + 1), 1))
            if poll == POLLS + 9:
                panel = panel.apart(np.arange(1, len(ids)))
                ids = ids[1:]


def _at(one, poll):
    """What was counted until a poll of the ramp; before the first, the canary stands where that found it."""
    before, ramp = one
    return ramp[poll] if poll >= 0 else {Role.BASELINE: before[-1], Role.CANARY: ramp[0][Role.CANARY]}
