"""Polls that are known beforehand are judged at once just as they would be one after the other."""

import random
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pytest_canary.gates import Bursts, Decide, Gate, Levels, Limits, metric
from pytest_canary.gates.guarded import Care, GuardedEvidence
from pytest_canary.ports import PROBES_TOO, Foreseen, Histogram, Role, Sample
from pytest_canary.stats.ratio import Counts
from pytest_canary.stats.rows import successive
from pytest_canary.verdict import Judge, share_alpha
from pytest_canary.verdict.frame import Frame, joined
from pytest_canary.verdict.guards import ControlGuard
from tests.unit.judged import LADDER, shaped

BEFORE, POLLS, EVERY = 20, 36, 2.0
NEVER = {"hold": 1e9, "min_requests": 10**9, "deadline": None, "pace": "hold", "when_undecided": "advance"}


def _gate(name, decide=Decide.EVIDENCE, levels=None, **limits):
    stages = limits.pop("stages", ())
    return Gate(name, metric(name), Limits(**limits), decide=decide, stages=stages, levels=levels or Levels())


KINDS = {
    "rates": [_gate("error_rate", ratio=1.5, max=0.2), _gate("client_error_rate", delta=0.02)],
    "estimates": [_gate("error_rate", Decide.ESTIMATE, ratio=1.5), _gate("latency_p99", Decide.ESTIMATE, ratio=1.5)],
    "tails": [_gate("latency_p99", ratio=1.2, stages=((1, Limits(ratio=1.5)),)), _gate("ttft_p95", max=1.5)],
    "means": [_gate("output_tokens", ratio=1.3), _gate("cost_per_request", ratio=1.2), _gate("quality", min=0.1)],
    "sums": [_gate("cost_per_request", ratio=1.2), _gate("output_tokens", ratio=1.3)],
    "tokens": [_gate("inter_token_latency_p95", ratio=1.5), _gate("inter_token_latency", ratio=1.5)],
    "guarded": [_gate("error_rate", levels=Levels(bursts=Bursts.GUARD), ratio=1.5)],
    "ignored": [_gate("error_rate", levels=Levels(bursts=Bursts.IGNORE), ratio=1.5)],
}
WORLDS = {"calm": 0.02, "rare": 0.0005, "bursts": 0.02, "frequent": 0.3, "storm": 0.02}
"""Share of errors; in ``bursts`` they come all at once, and so they do in a ``storm`` once it has begun."""
STORM = 70.0
"""Seconds."""


class Source:
    """Counters of one rollout that grow by chance; every poll brings requests of both builds."""

    def __init__(self, seed, world, bad, sums=False):
        self.bad = bad
        self._chance, self._world, self._sums, self._counts = random.Random(seed), world, sums, {}

    def grown(self, at, share):
        """One more poll: the canary gets its share of the requests, alone if that is all of them."""
        more = self._chance.randint(100, 300)
        mine = max(1, sum(self._chance.random() < share for _ in range(more)))
        told = {Role.CANARY: self._more(Role.CANARY, at, mine)} if share else {}
        return told if share == 1 else {Role.BASELINE: self._more(Role.BASELINE, at, more - mine), **told}

    def _more(self, role, at, more):
        own, bad = self._chance, self.bad if role is Role.CANARY else 1.0
        counts = self._counts.setdefault(role, [0.0, 0.0, 0.0, np.zeros(len(LADDER) + 1), 0.0])
        share = min(WORLDS[self._world] * bad, 0.9)
        if self._world == "bursts" or (self._world == "storm" and at > STORM):
            share = min(share * 8, 0.9) if own.random() < 0.125 else 0.0
        counts[0] += more
        counts[1] += sum(own.random() < share for _ in range(more))
        counts[2] += sum(own.random() < 0.05 for _ in range(more))
        counts[3] = counts[3] + np.array(shaped(more, bad**0.3).counts).round()
        counts[4] += more * own.uniform(0.8, 1.2) * bad
        slow = Histogram(LADDER, tuple(counts[3].tolist()), float(counts[3].sum()) * 0.25 * bad**0.3)
        counters = {"requests": counts[0], "errors": counts[1], "client_errors": counts[2]}
        names = ["latency", "ttft", "itl", "output_tokens", "cost", "quality"]
        if self._sums:
            names.remove("cost")
            counters["cost"] = counts[4]
        return Sample(at, counters, dict.fromkeys(names, slow))


def _foreseen(samples):
    like, table = samples[0], np.concatenate([Frame.of(sample).values for sample in samples])
    counters = {name: [sample.counters[name] for sample in samples] for name in like.counters}
    return Foreseen([sample.at for sample in samples], like, counters, table[:, len(counters) :])


def _judge(kind, source, gates=None):
    """A judge that has seen what is normal, the time, and the counters from which the first stage counts."""
    judge = Judge(share_alpha(gates or KINDS[kind]), 3)
    before = [source.grown(EVERY * n, 0.0)[Role.BASELINE] for n in range(BEFORE)]
    judge.capture(before[-1].since(before[0]), [b.since(a) for a, b in pairwise(before)])
    at = EVERY * BEFORE
    return judge, at, source.grown(at, 0.5)


SHARES = (0.2, 0.5, 1.0)


def _begin(judge, stage, at, first):
    judge.start_stage(stage, at, SHARES[stage], SHARES[stage] < 1, 1000.0, 60, first, allowance=1.5)
    judge.split_seen()


def _same(one, other, where):
    for a, b in zip(one.verdicts(), other.verdicts(), strict=True):
        assert (a.status, a.by, a.harmless) == (b.status, b.by, b.harmless), (where, a, b)
        for mine, theirs in ((a.canary, b.canary), (a.baseline, b.baseline)):  # sums may round in another order
            assert (mine.requests, mine.events) == (theirs.requests, theirs.events), where
            assert (mine.value or 0.0) == pytest.approx(theirs.value or 0.0, rel=1e-12), where
        assert (a.evidence, a.odds) == pytest.approx((b.evidence, b.odds), rel=1e-6, abs=1e-12), (where, a.gate)
        assert (a.interval or ()) == pytest.approx(b.interval or (), rel=1e-6), where
    assert one.requests == other.requests
    assert one.wrong() == other.wrong()


def _polls(source, at, number, stage=0):
    return [source.grown(at + EVERY * n, SHARES[stage]) for n in range(1, number + 1)]


@pytest.mark.parametrize("bad", [1.0, 2.5], ids=["good", "bad"])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", KINDS)
def test_many_polls_at_once_say_what_they_say_one_by_one(kind, world, bad):
    """Whatever row a rollout goes on from, through two stages and the last: the same verdicts, split and requests."""
    _through_all_stages(kind, world, bad, f"{kind}{world}")


@pytest.mark.parametrize("bursts", Bursts)
@pytest.mark.parametrize("calm", [0.0, 0.004, 0.02])
@pytest.mark.parametrize("seed", range(6))
def test_what_a_window_may_be_worth_is_known_before_it(seed, calm, bursts):
    """Nobody knows, then it is calm, then a storm begins: the limits of a window never come from its own polls."""
    rng, polls = np.random.default_rng(seed), 80
    alone = GuardedEvidence(Care(replace(Levels(), bursts=bursts), 1.0, 2))
    for _ in range(10):
        alone.normal(500.0, float(rng.binomial(500, calm)))
    alone.start_stage(300.0)
    rates = np.where(np.arange(polls) > 40, np.where(rng.random(polls) < 0.15, 0.2, 0.0), calm)
    theirs = rng.binomial(500, rates).astype(float)
    mine = rng.binomial(500, np.minimum(3 * rates + 0.002, 0.9)).astype(float)
    at, many = 5.0 * np.arange(1, polls + 1), np.full(polls, 500.0)
    ahead, told = deepcopy(alone), list[float]()
    for index in range(polls):
        alone.compare(Counts(500.0, mine[index], 500.0, theirs[index]), at=at[index])
        told.append(float(alone.log_e[0]))
    ahead.keep(np.zeros(polls, dtype=np.intp))
    with successive(polls):
        ahead.compare(Counts(many, mine, many, theirs), at=at)
    assert ahead.log_e == pytest.approx(told, rel=1e-9, abs=1e-9)


def _through_all_stages(kind, world, bad, seed):
    source, twin = (Source(seed, world, bad, kind == "sums") for _ in range(2))
    alone, at, first = _judge(kind, source)
    ahead, leave, at_once = _judge(kind, twin)[0], random.Random(world), 0
    for stage in range(len(SHARES)):
        for judge in (alone, ahead):
            _begin(judge, stage, at, first)
        polls = _polls(source, at, POLLS, stage)
        at, first, done = at + EVERY * POLLS, {**first, **polls[-1]}, 0
        while done < POLLS:
            seen, taken = _ahead(ahead, polls[done:]), 0
            if seen is not None and seen.quiet:
                taken = min(seen.quiet, leave.choice([1, 7, 30]))
                for poll in polls[done : done + taken]:
                    alone.observe(poll, poll[Role.CANARY].at)
                ahead.go_on(seen, taken)
            for judge in (alone, ahead):  # the poll after those, or the one that brings something
                for poll in polls[done + taken : done + taken + 1]:
                    judge.observe(poll, poll[Role.CANARY].at)
            done, at_once = done + taken + 1, at_once + taken
            _same(alone, ahead, (kind, stage, done))
    assert at_once > POLLS or bad > 1.0 or world not in ("calm", "rare")


def _ahead(judge, polls):
    told = {role: _foreseen([poll[role] for poll in polls]) for role in polls[0]}
    return judge.ahead(told, told[Role.CANARY].times, 0.0, NEVER) if judge.follows else None


def test_a_poll_that_brings_a_failure_is_not_passed_over():
    """The polls before it are; the judge that looks at it itself says what it would have said."""
    alone, at, first = _judge("rates", source := Source("late", "calm", 1.0))
    ahead = _judge("rates", Source("late", "calm", 1.0))[0]
    for judge in (alone, ahead):
        _begin(judge, 0, at, first)
    polls = _polls(source, at, 30)
    source.bad = 12.0
    polls += _polls(source, at + 30 * EVERY, 30)
    failed = 0
    while not alone.failures():
        alone.observe(polls[failed], polls[failed][Role.CANARY].at)
        failed += 1
    ahead.observe(polls[0], polls[0][Role.CANARY].at)
    seen = _ahead(ahead, polls[1:])
    assert 30 < failed == seen.quiet + 2
    ahead.go_on(seen, seen.quiet)
    assert not ahead.failures()
    ahead.observe(polls[failed - 1], polls[failed - 1][Role.CANARY].at)
    assert ahead.failures() == alone.failures()


def test_the_end_of_a_stage_is_not_passed_over():
    """Polls are quiet only while the stage cannot end."""
    judge, at, first = _judge("rates", source := Source("end", "calm", 1.0))
    _begin(judge, 0, at, first)
    polls = _polls(source, at, 40)
    judge.observe(polls[0], polls[0][Role.CANARY].at)
    told = {role: _foreseen([poll[role] for poll in polls[1:]]) for role in polls[0]}
    times = told[Role.CANARY].times
    ends = judge.ahead(told, times, at, {**NEVER, "hold": 30.0, "min_requests": 1})
    late = judge.ahead(told, times, at, {**NEVER, "deadline": 50.0})
    assert (times[ends.quiet] - at, times[late.quiet] - at) == (30.0, 50.0)


def test_a_split_that_is_wrong_is_wrong_at_the_same_poll():
    """Requests that follow another share than was set make any comparison worthless; how soon is a matter of odds."""
    alone, at, first = _judge("rates", source := Source("split", "calm", 1.0))
    ahead = _judge("rates", Source("split", "calm", 1.0))[0]
    for judge in (alone, ahead):
        _begin(judge, 0, at, first)
    polls = [source.grown(at + EVERY * n, 0.24) for n in range(1, 61)]
    wrong = 0
    while not alone.wrong():
        alone.observe(polls[wrong], polls[wrong][Role.CANARY].at)
        wrong += 1
    ahead.observe(polls[0], polls[0][Role.CANARY].at)
    seen = _ahead(ahead, polls[1:])
    assert 3 < wrong == seen.quiet + 2
    ahead.go_on(seen, seen.quiet)
    ahead.observe(polls[wrong - 1], polls[wrong - 1][Role.CANARY].at)
    assert ahead.wrong() == alone.wrong()


@pytest.mark.parametrize("what", ["nobody", "slower", "replicas", "probes", "window"])
def test_what_must_be_seen_poll_by_poll_is_left_to_whoever_looks(what):
    """A poll without requests, one that took far longer, replicas, probes among users, a rule of the last thousand."""
    gates = [_gate("error_rate", Decide.WINDOW, ratio=1.5)] if what == "window" else KINDS["rates"]
    judge, at, first = _judge("rates", source := Source("odd", "calm", 1.0), gates)
    if what == "probes":
        first = {role: _probed(one) for role, one in first.items()}
    _begin(judge, 0, at, first)
    polls = _polls(source, at, 20)
    if what == "probes":
        polls = [{role: _probed(one) for role, one in poll.items()} for poll in polls]
    judge.observe(polls[0], polls[0][Role.CANARY].at)
    if what == "nobody":
        quiet = polls[5][Role.CANARY]
        polls[6][Role.CANARY] = Sample(polls[6][Role.CANARY].at, quiet.counters, quiet.histograms)
    if what == "slower":
        _slow(polls[6:])
    if what == "replicas":
        judge.observe({r: Sample(s.at, s.counters, s.histograms, {"a": s}) for r, s in polls[1].items()}, at + 4.0)
        polls = [{r: Sample(s.at, s.counters, s.histograms, {"a": s}) for r, s in poll.items()} for poll in polls]
    seen = _ahead(judge, polls[2:])
    assert (seen.quiet if seen is not None else 0) == (4 if what in ("nobody", "slower") else 0)


def _slow(polls):
    """Hundreds of requests end in the last bucket that has a boundary, from the first of these polls on."""
    for poll in polls:
        one, late = poll[Role.CANARY], dict[str, Histogram]()
        for name, told in one.histograms.items():
            counts = (*told.counts[:-2], told.counts[-2] + 500, told.counts[-1])
            late[name] = Histogram(told.bounds, counts, told.total)
        poll[Role.CANARY] = Sample(one.at, one.counters, late)


def _probed(sample):
    return Sample(sample.at, {**sample.counters, PROBES_TOO: 0.0}, sample.histograms)


@pytest.mark.parametrize("world", ["calm", "storm"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_that_comes_later_is_shown_the_polls_that_were_passed_over(kind, world):
    """It has the evidence that it would have had if each had been looked at."""
    gates = [_gate("ttft_p90", ratio=3.0)]
    alone, at, first = _judge(kind, source := Source("late gate", world, 1.2, kind == "sums"), gates)
    ahead = _judge(kind, Source("late gate", world, 1.2, kind == "sums"), gates)[0]
    for judge in (alone, ahead):
        _begin(judge, 0, at, first)
    polls = _polls(source, at, 30)
    ahead.observe(polls[0], polls[0][Role.CANARY].at)
    ahead.go_on(_ahead(ahead, polls[1:]), 29)
    for poll in polls:
        alone.observe(poll, poll[Role.CANARY].at)
    for judge in (alone, ahead):
        for gate in KINDS[kind]:
            assert not judge.add(gate)
    _same(alone, ahead, kind)
    assert len(alone.verdicts()) == 1 + len(KINDS[kind])


def _control_polls():
    """An outage that the control shares with the stable build, and one poll in which nobody asks the latter."""
    told = [((10, 0), (2, 0))] * 5 + [((10, 9), (4, 4))] * 6 + [((10, 9), (0, 0)), ((10, 9), (4, 4))]
    roles = (Role.CONTROL, Role.BASELINE)
    return [{role: _errors(*one) for role, one in zip(roles, each, strict=True)} for each in told]


def _errors(requests, errors):
    return Frame.of(Sample(0.0, {"requests": float(requests), "errors": float(errors)}))


def test_a_control_is_judged_at_each_poll_by_what_that_poll_has_to_compare_with():
    """A poll without the stable build says the same whether others, in which it counted, are judged with it or not."""
    polls, captured = _control_polls(), _errors(1000, 10)
    alone, found = ControlGuard(captured), list[bool]()
    for poll in polls:
        alone.observe(poll)
        found.append(bool(alone.broken[0]))
    at_once = ControlGuard(captured.keep(np.zeros(len(polls), dtype=np.intp)))
    with successive(len(polls)):
        at_once.observe({role: joined([poll[role] for poll in polls]) for role in polls[0]})
    assert any(found)
    assert at_once.broken.tolist() == found


def test_controls_of_several_rollouts_are_judged_each_by_its_own_stable_build():
    """That another rollout's stable build was asked says nothing about this one's."""
    polls, captured = _control_polls(), _errors(1000, 10)
    alone, both = ControlGuard(captured), ControlGuard(captured.keep(np.zeros(2, dtype=np.intp)))
    for poll in polls[:12]:
        alone.observe(poll)
        other = {**poll, Role.BASELINE: _errors(4, 4)}
        both.observe({role: joined([poll[role], other[role]]) for role in poll})
    assert alone.broken[0]
    assert both.broken.tolist() == [True, False]
