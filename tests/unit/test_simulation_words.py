"""What was typed for a simulation is read as it was meant, and what a recording tells is what was recorded."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_canary.adapters.simulated.played import told
from pytest_canary.errors import UsageError
from pytest_canary.gates import Gate, Kind, Limits, Metric, metric
from pytest_canary.ports import Role
from pytest_canary.simulation.defaults import DEFAULT
from pytest_canary.simulation.draws import Draws, Part
from pytest_canary.simulation.fit import fitted
from pytest_canary.simulation.injection import parse
from pytest_canary.simulation.layout import Layout
from pytest_canary.simulation.scene import scene_of, too_late, unseen
from pytest_canary.simulation.spells import Trouble
from pytest_canary.simulation.spread import bounds_of, mean, middles, quantile, shares
from pytest_canary.simulation.traffic import Dependence, Lognormal, Score, Spells

OWN = Metric("tool_errors", Kind.RATE, "ratio", events="tool_errors", total="tool_calls")
PARTS = {Role.BASELINE: Part(0.8), Role.CANARY: Part(0.2)}


def gate(name, **limits):
    """A gate of this name."""
    return Gate(name, metric(name), Limits(**limits or {"ratio": 1.2}))


@pytest.mark.parametrize(
    ("text", "kind", "amount", "share", "name"),
    [
        ("error_rate x3", "times", 3, 0, "error_rate"),
        ("error_rate *3", "times", 3, 0, "error_rate"),
        ("error_rate  x 2.5 ", "times", 2.5, 0, "error_rate"),
        ("latency_p99 x1.5 from 25%", "times", 1.5, 0.25, "latency_p99"),
        ("latency_p99 x1.5 at 0.5", "times", 1.5, 0.005, "latency_p99"),
        ("cost +25%", "times", 1.25, 0, "cost_per_request"),
        ("tokens -10%", "times", 0.9, 0, "output_tokens"),
        ("quality -0.05", "plus", -0.05, 0, "quality"),
        ("ttft_p95 +200ms", "plus", 0.2, 0, "ttft_p95"),
        ("refusals x2", "times", 2, 0, "refusal_rate"),
        ("tool_errors x2", "times", 2, 0, "tool_errors"),
    ],
)
def test_an_injection_is_a_metric_and_what_becomes_of_it(text, kind, amount, share, name):
    """Names of gates, of their counters, and those that people use."""
    (found,) = parse([text], {"tool_errors": OWN})

    assert (found.kind, found.metric.name) == (kind, name)
    assert found.amount == pytest.approx(amount)
    assert found.share == pytest.approx(share)


def test_commas_and_repetition_both_part_injections():
    """As a list, or one option for each."""
    assert [str(one) for one in parse(["error_rate x3, crash at 50%", "cold 200"])] == [
        "error_rate x3",
        "crash at 50%",
        "cold 200",
    ]
    assert parse([" , "]) == ()


@pytest.mark.parametrize(
    "text", ["error_rate", "x3", "error_rate x", "error_rate x-3", "cold", "crash x3", "cold 1.5", "a b"]
)
def test_what_is_no_injection_is_refused_with_examples(text):
    """One line with what would be right."""
    with pytest.raises(UsageError, match="expected 'error_rate x3'"):
        parse([text])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("error_rate x1", "changes nothing; leave it out"),
        ("output_tokens +0%", "changes nothing"),
        ("quality +0", "changes nothing"),
        ("cold 0", "changes nothing"),
        ("latency_p99 x0", "leaves nothing of latency_p99, expected a factor such as x0.5"),
        ("latency_p99 -100%", "leaves nothing of latency_p99"),
        ("error_rate -150%", "leaves nothing of error_rate"),
        ("latency_p99 +200", "is a time, expected its unit, such as 'latency_p99 +200ms'"),
        ("error_rate +5ms", "error_rate is no time, expected no unit or %, found 'ms'"),
        ("error_rate +5", "is a share from 0 to 1, expected a difference such as 'error_rate +0.05'"),
        ("error_rate -5", "or in per cent of what it is: 'error_rate -5%'"),
        ("error_rate x3, error_rate x2", "found 'error_rate x3' too, and both change the same"),
        ("crash at 5%, crash at 5%", "found 'crash at 5%' too"),
        ("error_rate 3x", "did you mean 'error_rate x3'?"),
        ("ERROR_RATE X3", "did you mean error_rate?"),
        ("Error_Rate x3", "did you mean error_rate?"),
        ("error_rate x3 error_rate x2", "several are parted by commas"),
        ("error_rate x3 from 200%", "found a share of 200%, expected 0 to 100"),
        ("crash at 300%", "found a share of 300%"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(text, says):
    """A slip of the finger is not simulated as if it were meant: 5 is no 5 %, and 200 are no milliseconds."""
    with pytest.raises(UsageError) as error:
        parse([text])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_build_may_get_worse_in_steps():
    """The same metric again, from another share on."""
    assert len(parse(["error_rate x3 from 5%, error_rate x2 from 25%"])) == 2
    assert parse(["error_rate x0"])[0].amount == 0


@pytest.mark.parametrize(
    ("text", "holdback", "says"),
    [
        ("latency_p99 x3", 0.0, ""),
        ("latency_p99 x3 from 25%", 0.0, ""),
        ("latency_p99 x3 from 26%", 0.0, "shows at 100% only, where there is nothing left to compare with"),
        ("crash at 100%", 0.0, "write `from 25%`, or keep some users on the stable build with `holdback: 5`"),
        ("crash at 90%", 0.05, ""),
    ],
)
def test_what_shows_too_late_to_be_compared_is_said(text, holdback, says):
    """At 100 % nobody is left on the stable build."""
    told = " ".join(too_late(parse([text]), [0.05, 0.25, 1.0], holdback))
    assert says in told
    assert bool(says) == bool(told)


def test_what_never_shows_is_refused():
    """With a holdback nobody has everything."""
    with pytest.raises(UsageError, match="the build has 98% at most; write `from 98%`"):
        list(too_late(parse(["crash at 100%"]), [0.05, 1.0], 0.02))


@pytest.mark.parametrize(
    ("inject", "seen_by"),
    [
        ("error_rate x3", "error_or_refusal_rate"),
        ("latency_p50 x2", "latency_p99"),
        ("latency x2", "latency"),
        ("crash at 50%", "error_rate"),
        ("cold 100", "ttft_p95"),
        ("output_tokens x2", "output_tokens_p99"),
    ],
)
def test_a_gate_sees_what_changes_the_numbers_it_reads(inject, seen_by):
    """Another quantile of the same histogram does, another counter does not."""
    assert not unseen(parse([inject]), [gate(seen_by)])
    assert unseen(parse([inject]), [gate("cache_hit_rate"), gate("probe_error_rate")])


@pytest.mark.parametrize("ratio", [1.05, 1.2, 1.3, 1.5, 2.0])
def test_buckets_resolve_the_gates_that_are_there(ratio):
    """From every boundary that may be the quantile to one just so many times as high."""
    spread = Lognormal(0.25, 0.5)
    bounds = np.array(bounds_of(spread, ratio=ratio))
    near = bounds[(bounds > quantile(spread, 0.4)) & (bounds < quantile(spread, 0.995))]

    assert all(np.abs(bounds / (low * ratio) - 1).min() < 1e-4 for low in near)
    assert len(bounds) < 120


def test_a_limit_in_numbers_is_a_boundary_itself():
    """`max: 800ms` is judged at 800 ms."""
    layout = Layout(DEFAULT, [gate("latency_p99", max=0.8)])

    assert 0.8 in next(one for one in layout.families if one.name == "latency").bounds


@pytest.mark.parametrize("spread", [Lognormal(3.0, 1.2), Score(0.7, 0.2), Score(0.95, 0.1)])
def test_buckets_have_the_shares_and_the_means_of_their_values(spread):
    """Held against a million values."""
    values = np.random.default_rng(1).standard_normal(1_000_000)
    if isinstance(spread, Lognormal):
        values = spread.median * np.exp(values * spread.sigma)
    else:
        values = np.clip(spread.mean + values * spread.sd, 0, 1)
    bounds = bounds_of(spread, ratio=1.5)
    place = np.searchsorted(bounds, values)
    counts = np.bincount(place, minlength=len(bounds) + 1)
    many = counts > 2000

    assert shares(spread, bounds) == pytest.approx(counts / counts.sum(), abs=0.002)
    found = np.bincount(place, values, minlength=len(bounds) + 1)[many] / counts[many]
    assert middles(spread, bounds)[many] == pytest.approx(found, rel=0.02)
    assert shares(spread, bounds) @ middles(spread, bounds) == pytest.approx(values.mean(), rel=0.01)
    assert mean(Lognormal(1.0, 0.5)) == pytest.approx(np.exp(0.125))


def test_spells_are_on_for_the_share_of_the_time_that_is_theirs():
    """However long the polls: one minus the chance that none has begun in the last so many seconds."""
    wanted = 1 - np.exp(-30 / 200)
    for poll in (1.0, 30.0, 300.0):
        trouble = Trouble(Spells(200, 30), 20, np.random.default_rng(3))
        shares_on = np.array([trouble.share(poll) for _ in range(int(60_000 / poll))])

        assert shares_on.mean() == pytest.approx(wanted, rel=0.05), poll
        assert shares_on.min() >= 0
        assert shares_on.max() <= 1 + 1e-9


def recorded(traffic, polls=200, seconds=5.0):
    """What a metric source would have told of ``traffic``."""
    draws = Draws(scene_of(traffic, [gate("latency_p99")], everything=True), [11])
    counted, lines = draws.nothing(), []
    for poll in range(polls):
        lines.append({role: told(draws.layout, counted, role, poll * seconds) for role in PARTS})
        counted.add(draws.draw(seconds, PARTS))
    return lines


def test_a_recording_gives_back_the_traffic_that_made_it():
    """Rate, shares, values, gauges and pods."""
    traffic = replace(DEFAULT, rate=70.0, pods=3, outcomes={**DEFAULT.outcomes, "errors": 0.03})
    slow = replace(traffic.values["latency"], spread=Lognormal(1.0, 0.8))
    traffic = replace(traffic, values={**traffic.values, "latency": slow})
    found = fitted(recorded(traffic))

    assert found.rate == pytest.approx(70, rel=0.02)
    assert found.pods == 3
    assert found.outcomes["errors"] == pytest.approx(0.03, rel=0.06)
    assert found.parts["feedback_negative"].share == pytest.approx(0.1, rel=0.2)
    assert found.values["latency"].spread.median == pytest.approx(1.0, rel=0.03)
    assert found.values["latency"].spread.sigma == pytest.approx(0.8, rel=0.05)
    assert found.values["quality"].spread.mean == pytest.approx(0.85, rel=0.01)
    assert found.values["quality"].among == pytest.approx(0.1, rel=0.05)
    assert found.gauges["gpu_memory"] == pytest.approx(0.8, rel=0.02)
    assert found.dependence.clumps == 1.0


def test_errors_that_come_together_are_told_by_a_recording():
    """As clumps of about the size they had."""
    found = fitted(recorded(replace(DEFAULT, dependence=Dependence(clumps=8.0)), polls=1000))

    assert found.dependence.clumps == pytest.approx(8, rel=0.3)


def test_counters_that_begin_anew_cost_one_reading():
    """A pod that restarted is no negative traffic."""
    lines = recorded(DEFAULT)
    found = fitted([*lines[:100], *recorded(DEFAULT, polls=100)])

    assert found.rate == pytest.approx(100, rel=0.03)


@pytest.mark.parametrize(
    "lines", [[], recorded(DEFAULT, polls=5), [{Role.CANARY: one[Role.CANARY]} for one in recorded(DEFAULT, 20)]]
)
def test_too_short_a_recording_is_refused(lines):
    """Ten readings of the stable build, or nobody knows how it goes on."""
    with pytest.raises(ValueError, match="expected at least 10"):
        fitted(lines)


def test_one_rollout_is_told_as_it_is_read_in_a_batch():
    """The quick way to plain numbers and the arrays say the same, pods included."""
    traffic = replace(DEFAULT, pods=3)
    draws = Draws(scene_of(traffic, [gate("latency_p99")], everything=True), [4])
    drawn = draws.draw(60.0, PARTS)
    for role, counts in draws.read(drawn, PARTS).items():
        sample = told(draws.layout, drawn, role, 60.0)

        assert sample.counters == pytest.approx({name: count[0] for name, count in counts.counters.items()})
        assert sample.gauges == pytest.approx({name: value[0] for name, value in counts.gauges.items()})
        for name, one in counts.histograms.items():
            assert sample.histograms[name].counts == pytest.approx(one.counts[0])
            assert sample.histograms[name].total == pytest.approx(one.total[0])
        running = [pod for pod in counts.pods if pod.counters["requests"][0]]
        assert [one.counters["errors"] for one in sample.replicas.values()] == [
            pod.counters["errors"][0] for pod in running
        ]
        assert [one.histograms["latency"].counts for one in sample.replicas.values()] == [
            tuple(pod.histograms["latency"].counts[0]) for pod in running
        ]
