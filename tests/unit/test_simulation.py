"""The simulator draws what it says it draws: moments, dependence, injections, and one rollout alone as among many."""

from dataclasses import replace
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest

from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.ports import Role
from pytest_canary.simulation.defaults import DEFAULT
from pytest_canary.simulation.draws import Draws, Part
from pytest_canary.simulation.injection import parse
from pytest_canary.simulation.scene import scene_of
from pytest_canary.simulation.spread import quantile
from pytest_canary.simulation.traffic import Daily, Dependence, Lognormal, Spells

HALVES = {Role.BASELINE: Part(0.5), Role.CANARY: Part(0.5, changed=True)}
POLL = 5.0


below = NormalDist().cdf
"""The normal distribution, from the standard library and not from what is tested."""


def gates(*names):
    """Gates of these names, each with a limit of 1.2."""
    return [Gate(name, metric(name), Limits(ratio=1.2)) for name in names]


def drawn(traffic, *names, inject=(), rollouts=200, polls=1, parts=HALVES, seconds=POLL):
    """What each role of ``rollouts`` rollouts counts in each of ``polls`` polls."""
    scene = scene_of(traffic, gates(*names), parse(inject), everything=not names)
    draws = Draws(scene, range(rollouts))
    return [draws.advance(seconds, parts) for _ in range(polls)]


@cache
def usual():
    """The traffic that nobody has said anything about, of all that is there."""
    return drawn(DEFAULT, rollouts=100, polls=30)


def counters(polls, role, name):
    """[rollouts, polls] of one counter."""
    return np.stack([poll[role].counters[name] for poll in polls], axis=1)


def values(polls, role, name):
    """All polls and rollouts together: bounds, counts, sum."""
    told = [poll[role].histograms[name] for poll in polls]
    return told[0].bounds, sum(one.counts.sum(axis=0) for one in told), sum(one.total.sum() for one in told)


def ratio(polls, name, among="requests"):
    """Canary over baseline."""
    rates = [counters(polls, r, name).sum() / counters(polls, r, among).sum() for r in (Role.CANARY, Role.BASELINE)]
    return rates[0] / rates[1]


def dispersion(counts):
    """Variance over mean of whole rollouts: 1 where events are independent."""
    whole = counts.sum(axis=1)
    return whole.var(ddof=1) / whole.mean()


def tail(polls, role, name, q, spread):
    """Share above the boundary nearest the quantile, and what it should be."""
    bounds, counts, _ = values(polls, role, name)
    at = int(np.argmin(np.abs(np.array(bounds) - quantile(spread, q))))
    return bounds[at], counts[at + 1 :].sum() / counts.sum()


def test_requests_are_poisson_in_the_shares_of_the_traffic():
    """Mean and variance are rate times seconds times share."""
    parts = {Role.BASELINE: Part(0.95), Role.CANARY: Part(0.05, changed=True)}
    polls = drawn(DEFAULT, "error_rate", rollouts=300, polls=20, parts=parts)
    canary, baseline = (counters(polls, role, "requests") for role in (Role.CANARY, Role.BASELINE))

    assert canary.mean() == pytest.approx(25, rel=0.02)
    assert baseline.mean() == pytest.approx(475, rel=0.005)
    assert canary.var() / canary.mean() == pytest.approx(1, abs=0.06)
    assert baseline.var() / baseline.mean() == pytest.approx(1, abs=0.06)


def test_every_kind_of_answer_has_its_share_and_no_request_ends_in_two():
    """Errors, refusals and the others are parts of the requests, at the shares that the traffic states."""
    polls = usual()

    for name, share in DEFAULT.outcomes.items():
        events, requests = counters(polls, Role.BASELINE, name), counters(polls, Role.BASELINE, "requests")
        others = share * (1 if name == "errors" else 1 - DEFAULT.outcomes["errors"])
        assert events.sum() / requests.sum() == pytest.approx(others, rel=0.05), name
        assert dispersion(events) == pytest.approx(1, abs=0.3), name
    together = sum(counters(polls, Role.BASELINE, name) for name in DEFAULT.outcomes)
    assert (together <= counters(polls, Role.BASELINE, "requests")).all()


@pytest.mark.parametrize("name", ["latency", "ttft", "itl", "queue_time", "input_tokens", "output_tokens", "cost"])
def test_values_have_the_quantiles_and_the_mean_that_are_stated(name):
    """As many above a boundary as the distribution has there; the sum is that of its mean."""
    polls = usual()
    spread = DEFAULT.values[name].spread
    bounds, counts, total = values(polls, Role.BASELINE, name)
    expected = spread.median * np.exp(spread.sigma**2 / 2)

    for q in (0.5, 0.9, 0.99):
        at, share = tail(polls, Role.BASELINE, name, q, spread)
        z = (np.log(at) - np.log(spread.median)) / spread.sigma
        assert share == pytest.approx(1 - below(z), rel=0.06), (q, at)
    assert total / counts.sum() == pytest.approx(expected, rel=0.01)
    assert len(counts) == len(bounds) + 1


def test_every_request_has_a_latency_and_some_have_a_score():
    """A histogram counts the requests that have a value, each once."""
    polls = usual()
    requests = counters(polls, Role.CANARY, "requests").sum()

    assert values(polls, Role.CANARY, "latency")[1].sum() == requests
    assert values(polls, Role.CANARY, "quality")[1].sum() / requests == pytest.approx(0.1, rel=0.03)
    assert values(polls, Role.CANARY, "itl")[1].sum() == requests * DEFAULT.values["itl"].each


def test_scores_lie_between_0_and_1_around_their_mean():
    """What is beyond an end is folded into it, which costs the mean a little."""
    _, counts, total = values(usual(), Role.BASELINE, "quality")

    assert total / counts.sum() == pytest.approx(0.847, abs=0.004)


def test_bad_feedback_is_a_part_of_feedback():
    """Parts of parts: never more than the whole, at their share of it."""
    polls = usual()
    bad, all_of_it = (counters(polls, Role.BASELINE, name) for name in ("feedback_negative", "feedback"))

    assert (bad <= all_of_it).all()
    assert bad.sum() / all_of_it.sum() == pytest.approx(0.1, rel=0.05)
    assert ratio(polls, "cache_hits", "cache_queries") == pytest.approx(1, abs=0.02)


def test_the_two_sides_are_independent_where_nothing_is_shared():
    """Errors of the one say nothing about those of the other."""
    polls = drawn(DEFAULT, "error_rate", rollouts=2000)
    sides = [counters(polls, role, "errors")[:, 0] for role in (Role.BASELINE, Role.CANARY)]

    assert abs(np.corrcoef(*sides)[0, 1]) < 0.07


def test_outages_hit_both_sides_at_once():
    """Ten times the errors a tenth of the time: 1.9 times as many, at the same moments on both sides."""
    told = Dependence(outages=Spells(every=600, seconds=60, errors_x=10))
    polls = drawn(replace(DEFAULT, dependence=told), "error_rate", rollouts=100, polls=120)
    sides = [counters(polls, role, "errors") for role in (Role.BASELINE, Role.CANARY)]
    rate = sides[0].sum() / counters(polls, Role.BASELINE, "requests").sum()
    share = 1 - np.exp(-60 / 600)

    assert rate / 0.01 == pytest.approx(1 + 9 * share, rel=0.1)
    assert np.corrcoef(sides[0].ravel(), sides[1].ravel())[0, 1] > 0.6


def test_bursts_are_of_single_pods():
    """Thirty times the errors of one pod for 20 s every 20 minutes: pods are bad at different moments."""
    told = Dependence(bursts=Spells(every=300, seconds=20, errors_x=30))
    polls = drawn(replace(DEFAULT, pods=5, dependence=told), "error_rate", rollouts=50, polls=120)
    pods = np.array([[pod.counters["errors"] for pod in poll[Role.BASELINE].pods] for poll in polls])
    one, other = pods[:, 0].ravel(), pods[:, 1].ravel()
    rate = counters(polls, Role.BASELINE, "errors").sum() / counters(polls, Role.BASELINE, "requests").sum()

    assert rate / 0.01 == pytest.approx(1 + 29 * (1 - np.exp(-20 / 300)), rel=0.1)
    assert one.var() / one.mean() > 3
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


def test_spells_can_be_slow_too():
    """An outage that makes requests three times as slow moves the tail of that time."""
    told = Dependence(outages=Spells(every=1.0, seconds=1e9, latency_x=3))
    polls = drawn(replace(DEFAULT, dependence=told), "latency_p99", polls=10)
    spread = DEFAULT.values["latency"].spread
    at, share = tail(polls, Role.BASELINE, "latency", 0.9, spread)

    assert share == pytest.approx(1 - below((np.log(at) - np.log(3 * spread.median)) / spread.sigma), rel=0.03)


def test_pods_that_differ_for_good_do_so_in_every_poll():
    """The logarithm of each pod's own error rate has the standard deviation that is stated."""
    told = Dependence(pods_sd=0.3)
    traffic = replace(DEFAULT, pods=20, rate=2000.0, dependence=told)
    polls = drawn(traffic, "error_rate", rollouts=10, polls=200)
    pods = sum(np.array([pod.counters["errors"] for pod in poll[Role.BASELINE].pods]) for poll in polls)
    requests = sum(np.array([pod.counters["requests"] for pod in poll[Role.BASELINE].pods]) for poll in polls)

    assert np.log(pods / requests).std() == pytest.approx(0.3, rel=0.2)


@pytest.mark.parametrize("clump", [3.0, 10.0])
def test_errors_in_clumps_are_as_many_and_come_together(clump):
    """Geometric clumps of mean m: the mean stays, variance over mean is 2m - 1."""
    traffic = replace(DEFAULT, dependence=Dependence(clumps=clump))
    polls = drawn(traffic, "error_rate", rollouts=600, polls=10)
    errors, requests = (counters(polls, Role.BASELINE, name) for name in ("errors", "requests"))

    assert errors.sum() / requests.sum() == pytest.approx(0.01, rel=0.08)
    assert dispersion(errors) == pytest.approx(2 * clump - 1, rel=0.2)
    assert (errors <= requests).all()


def test_pods_add_up_to_their_role():
    """Whoever reads a role reads the sum of its pods; new pods of a canary join as its share grows."""
    polls = drawn(replace(DEFAULT, pods=4), "error_rate", "latency_p99", parts={
        Role.BASELINE: Part(0.75), Role.CANARY: Part(0.25, changed=True)})  # fmt: skip
    canary = polls[0][Role.CANARY]
    running = [pod.counters["requests"].sum() > 0 for pod in canary.pods]

    assert running == [True, False, False, False]
    for role in (Role.BASELINE, Role.CANARY):
        told = polls[0][role]
        for name in ("requests", "errors"):
            assert (sum(pod.counters[name] for pod in told.pods) == told.counters[name]).all()
        assert (sum(pod.histograms["latency"].counts for pod in told.pods) == told.histograms["latency"].counts).all()


def test_the_rate_follows_the_day():
    """Half as much again at the busiest moment, half as much at the quietest."""
    traffic = replace(DEFAULT, daily=Daily(0.5, peak=12 * 3600, start=0.0))
    polls = drawn(traffic, "error_rate", rollouts=20, polls=24, seconds=3600.0, parts={Role.BASELINE: Part(1.0)})
    hours = counters(polls, Role.BASELINE, "requests").mean(axis=0) / 3600

    assert hours[0] == pytest.approx(50, rel=0.03)
    assert hours[12] == pytest.approx(150, rel=0.03)
    assert hours.mean() == pytest.approx(100, rel=0.01)


def test_gauges_show_their_value_with_noise():
    """A mean over many polls is the value that is stated."""
    polls = drawn(DEFAULT, "gpu_utilisation", polls=50)
    shown = np.array([poll[Role.CANARY].gauges["gpu_utilisation"] for poll in polls])

    assert shown.mean() == pytest.approx(0.7, rel=0.01)
    assert shown.std() == pytest.approx(0.7 * DEFAULT.gauge_noise, rel=0.1)


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [("error_rate x3", "errors", 3), ("client_error_rate x2", "client_errors", 2), ("refusals +50%", "refusals", 1.5)],
)
def test_an_injected_rate_is_so_many_times_the_others(text, name, wanted):
    """Of the canary alone, and nothing else of it moves."""
    polls = drawn(DEFAULT, "error_rate", polls=40, rollouts=100, inject=[text])

    assert ratio(polls, name) == pytest.approx(wanted, rel=0.08)
    others = [other for other in DEFAULT.outcomes if other != name]
    assert all(ratio(polls, other) == pytest.approx(1, rel=0.12) for other in others)


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("cost +25%", "cost", 1.25),
        ("tokens x1.3", "output_tokens", 1.3),
        ("latency_p99 x1.5", "latency", 1.5),
        ("ttft x2", "ttft", 2),
    ],
)
def test_an_injected_value_is_so_many_times_the_others(text, name, wanted):
    """The whole distribution moves: mean and quantiles alike."""
    polls = drawn(DEFAULT, "latency_p99", "cost_per_request", "output_tokens", polls=20, rollouts=50, inject=[text])
    means = [values(polls, role, name)[2] / values(polls, role, name)[1].sum() for role in (Role.CANARY, Role.BASELINE)]

    assert means[0] / means[1] == pytest.approx(wanted, rel=0.02)


def test_an_injected_difference_is_in_the_units_of_the_metric():
    """Quality by so much less, latency by so many milliseconds at the quantile that is named."""
    polls = drawn(DEFAULT, "quality", "latency_p99", polls=30, inject=["quality -0.05, latency_p99 +200ms"])
    means = [
        values(polls, r, "quality")[2] / values(polls, r, "quality")[1].sum() for r in (Role.CANARY, Role.BASELINE)
    ]
    slow = Lognormal(DEFAULT.values["latency"].spread.median * (quantile(DEFAULT.values["latency"].spread, 0.99) + 0.2)
                     / quantile(DEFAULT.values["latency"].spread, 0.99), 0.5)  # fmt: skip
    at, share = tail(polls, Role.CANARY, "latency", 0.99, slow)

    assert means[0] - means[1] == pytest.approx(-0.05, abs=0.006)
    assert share == pytest.approx(1 - below((np.log(at) - np.log(slow.median)) / slow.sigma), rel=0.1)


def test_an_injection_shows_from_its_share_on():
    """`from 25%` leaves the first stages alone."""
    low = {Role.BASELINE: Part(0.9), Role.CANARY: Part(0.1, changed=True)}
    high = {Role.BASELINE: Part(0.75), Role.CANARY: Part(0.25, changed=True)}
    before, after = (
        drawn(DEFAULT, "error_rate", inject=["error_rate x5 from 25%"], parts=parts, polls=40) for parts in (low, high)
    )

    assert ratio(before, "errors") == pytest.approx(1, abs=0.1)
    assert ratio(after, "errors") == pytest.approx(5, rel=0.1)


def test_a_build_that_crashes_answers_nobody_from_then_on():
    """All of its requests fail, and none of the others'."""
    polls = drawn(DEFAULT, "error_rate", inject=["crash at 50%"])

    assert (counters(polls, Role.CANARY, "errors") == counters(polls, Role.CANARY, "requests")).all()
    assert counters(polls, Role.BASELINE, "errors").sum() < counters(polls, Role.BASELINE, "requests").sum() / 50


def test_a_cold_build_is_slow_until_it_has_answered_so_many():
    """The first answers take up to six times as long, and what warmed it before users came counts."""

    def medians(warmed):
        draws = Draws(scene_of(DEFAULT, gates("latency_p99"), parse(["cold 200"])), range(50))
        draws.warmed(Role.CANARY, warmed)
        told = [values([draws.advance(1.0, HALVES)], Role.CANARY, "latency") for _ in range(10)]
        return [total / counts.sum() for _, counts, total in told]

    cold, warm = medians(0), medians(200)

    assert cold[0] / warm[0] == pytest.approx(6, rel=0.1)
    assert cold[2] / warm[2] == pytest.approx(3.5, rel=0.15)
    assert cold[-1] / warm[-1] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "traffic",
    [
        DEFAULT,
        replace(
            DEFAULT,
            pods=3,
            dependence=Dependence(Spells(60, 20, 30), Spells(100, 30, 5, 2), pods_sd=0.3, clumps=3.0),
        ),
    ],
    ids=["plain", "dependent"],
)
def test_a_rollout_draws_the_same_numbers_alone_and_among_others(traffic):
    """What is measured on a thousand at once is what the plugin does with that seed."""
    scene = scene_of(traffic, gates("error_rate", "latency_p99", "quality"), parse(["error_rate x2"]))
    batch, alone = Draws(scene, [7, 8, 9]), Draws(scene, [8])
    alive = np.array([True, True, False])
    for share in (0.05, 0.05, 0.25, 0.5):
        parts = {Role.BASELINE: Part(1 - share), Role.CANARY: Part(share, changed=True)}
        many, one = batch.draw(POLL, parts, alive), alone.draw(POLL, parts)

        assert (many.counts[1] == one.counts[0]).all()
        assert (many.sums[1] == one.sums[0]).all()
        assert not many.counts[2].any()
        assert (many.counts[0] != many.counts[1]).any()


def test_what_nobody_gates_changes_nothing_that_a_gate_sees():
    """Tests that look at everything see the same rollout that a batch of thousands draws without it."""
    traffic = replace(DEFAULT, pods=3, dependence=Dependence(outages=Spells(60, 20, 5), clumps=2.0))
    asked = gates("error_rate", "latency_p99", "feedback_negative_rate", "gpu_memory", "output_tokens")
    less, more = (Draws(scene_of(traffic, asked, everything=every), [5]) for every in (False, True))
    for _ in range(5):
        small, large = (draws.advance(POLL, HALVES) for draws in (less, more))
        for role in HALVES:
            for name, count in small[role].counters.items():
                assert (large[role].counters[name] == count).all(), name
            for name, told in small[role].histograms.items():
                assert (large[role].histograms[name].counts == told.counts).all(), name
            assert (large[role].gauges["gpu_memory"] == small[role].gauges["gpu_memory"]).all()
    assert "quality" in large[Role.CANARY].histograms
    assert "quality" not in small[Role.CANARY].histograms


def test_a_seed_gives_the_same_numbers_every_time():
    """And another seed others."""
    first, again = (drawn(DEFAULT, rollouts=2)[0][Role.CANARY].counters["requests"] for _ in range(2))

    assert (first == again).all()
    assert first[0] != first[1]


def test_nothing_is_counted_while_no_time_passes():
    """Two looks at one moment see the same."""
    assert not counters(drawn(DEFAULT, seconds=0.0), Role.BASELINE, "requests").any()
