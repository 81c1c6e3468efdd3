"""Numbers in another unit than the gate or the other side: one line or no data, and never a pass."""

from dataclasses import replace

import pytest

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates import Gate, Status
from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.spec import gate_from
from pytest_canary.verdict import By, Judge

EMPTY = Sample(0.0, {"requests": 0.0, "errors": 0.0})


def gate(name, **limits) -> Gate:
    """A gate as it would be written."""
    return replace(gate_from(name, limits, "rollout.yaml:4"), alpha=0.01)


def counted(number=1000.0, counters=(), histograms=(), gauges=()):
    """What one role has counted."""
    return Sample(
        0.0, {"requests": number, "errors": 0.0, **dict(counters)}, dict(histograms), gauges=dict(gauges)
    )  # fmt: skip


def verdict(one, captured, canary, baseline):
    """What ``one`` says after a minute that was served well."""
    judge = Judge([one], 2)
    judge.capture(captured)
    before = {
        Role.BASELINE: replace(captured, histograms={}, gauges={}, counters=dict.fromkeys(captured.counters, 0.0))
    }
    before |= {Role.CANARY: before[Role.BASELINE]}
    judge.start_stage(0, 0.0, 0.5, True, 60.0, 100, before)
    judge.observe(before, 40.0)  # slow requests from before are waited for
    judge.observe({Role.CANARY: canary, Role.BASELINE: baseline}, 61.0)
    (said,) = judge.verdicts()
    return said


@pytest.mark.parametrize(
    ("name", "limits", "gauges"),
    [
        ("gpu_memory", {"max": "90%"}, {"gpu_memory": 6e10}),
        ("gpu_utilisation", {"max": "90%"}, {"gpu_utilisation": 55.0}),
        ("quality", {"min": "0.85"}, {"quality": 91.0}),
    ],
)
def test_a_share_above_one_is_refused_where_the_stable_build_has_it(name, limits, gauges):
    """`min: 0.85` of scores up to 100 would pass whatever comes."""
    with pytest.raises(BaselineFailed, match=r"rollout.yaml:4: .* is a share, 0 to 1; let the source count it as 0 to"):
        Judge([gate(name, **limits)], 2).capture(counted(gauges=gauges))


def test_scores_in_per_cent_that_are_counted_are_refused_too():
    """In buckets as well as in a gauge."""
    scores = Histogram((50.0, 90.0, 100.0), (0.0, 500.0, 500.0, 0.0), 90_000.0)
    with pytest.raises(BaselineFailed, match="the stable build is at 90, and it is a share, 0 to 1"):
        Judge([gate("quality", min="0.85")], 2).capture(counted(histograms={"quality": scores}))


@pytest.mark.parametrize("total", [0.0, 300.0])
def test_more_events_than_there_can_be_are_refused(total):
    """Counters that were turned round roll every good build back, as plainly broken."""
    mine = gate("mine", metric={"counter": "calls", "total": "turns"}, better="lower", ratio=2)
    with pytest.raises(BaselineFailed, match=rf"counted 900 events among {total:g} `turns`, and a rate is a part of"):
        Judge([mine], 2).capture(counted(counters={"calls": 900.0, "turns": total}))


def test_a_rate_that_cannot_get_so_many_times_worse_is_said():
    """All probes are refused, by both builds: then nothing is compared."""
    judge = Judge([gate("refusal_rate", ratio=2)], 2)
    judge.capture(counted(counters={"refusals": 600.0}))

    assert judge.notes()[0].startswith("refusal_rate: the stable build is at 60.00% now, so no canary can be more than")


@pytest.mark.parametrize(("name", "top"), [("refusal_rate", "5%"), ("latency_p95", "500ms"), ("output_tokens", 100)])
def test_a_limit_that_the_stable_build_does_not_keep_is_said(name, top):
    """The canary would be blamed for what it does not do."""
    judge = Judge([gate(name, max=top)], 2)
    judge.capture(counted(counters={"refusals": 100.0, "output_tokens": 2e5}, histograms={"latency": SECONDS}))

    assert judge.notes()[0].startswith(f"{name}: the stable build itself is at ")
    assert judge.notes()[0].endswith("a canary that is as good will not pass")


def test_a_ratio_of_two_values_needs_no_unit():
    """Twice as many bytes are twice as many."""
    Judge([gate("gpu_memory", ratio=1.2)], 2).capture(counted(gauges={"gpu_memory": 6e10}))


def test_a_canary_that_counts_in_per_cent_beside_a_stable_build_that_does_not_is_no_data():
    """A hundred times better is another unit, and would be the best build ever."""
    good, bad = counted(gauges={"quality": 0.9}), counted(gauges={"quality": 40.0})
    found = verdict(gate("quality", delta="0.05"), good, bad, good)

    assert found.status is Status.NO_DATA
    assert "canary is at 40, and it is a share, 0 to 1; let the source count it as 0 to 1" in found.sentence


SECONDS = Histogram((0.1, 0.5, 1.0, 5.0), (500.0, 400.0, 90.0, 10.0, 0.0), 300.0)
MILLISECONDS = Histogram((100.0, 500.0, 1000.0, 5000.0), (500.0, 400.0, 90.0, 10.0, 0.0), 300_000.0)
MS = {"latency_sum": 300_000.0, "latency_count": 1000.0}
S = {"latency_sum": 300.0, "latency_count": 1000.0}


def test_a_sum_in_seconds_beside_one_in_milliseconds_is_no_data():
    """Sums have no buckets that would tell; the canary would be a thousand times faster."""
    found = verdict(gate("latency", ratio=1.5), counted(counters=MS), counted(counters=S), counted(counters=MS))

    assert found.status is Status.NO_DATA
    assert "canary is at 0.3 s and the baseline at 300 s, 1,000 times more; is one of them counted in ms?" in (
        found.sentence
    )


def test_a_histogram_in_seconds_beside_one_in_milliseconds_never_passes():
    """Whatever the source is; the Prometheus adapter refuses it before, by the buckets."""
    slow, quick = counted(histograms={"latency": MILLISECONDS}), counted(histograms={"latency": SECONDS})

    for one, other in ((slow, quick), (quick, slow)):
        for limits in ({"ratio": 1.5}, {"ratio": 1.5, "decide": "threshold"}):
            found = verdict(gate("latency_p95", **limits), one, other, one)
            assert found.status is not Status.PASS
            assert found.status is Status.FAIL or not found.harmless


def test_a_build_that_is_much_faster_is_believed():
    """A cache makes a build a hundred times faster."""
    quick = {"latency_sum": 3.0, "latency_count": 1000.0}
    found = verdict(gate("latency", ratio=1.5), counted(counters=S), counted(counters=quick), counted(counters=S))

    assert found.status is not Status.NO_DATA


@pytest.mark.parametrize(("value", "status"), [(0.9, Status.PASS), (0.6, Status.FAIL)])
def test_a_quality_that_is_told_as_a_gauge_is_an_estimate(value, status):
    """The service says its mean; how many scores that are, it does not say."""
    good = counted(gauges={"quality": 0.91})
    found = verdict(gate("quality", min="0.85"), good, counted(gauges={"quality": value}), good)

    assert found.status is status
    assert found.by is By.ESTIMATE
    assert found.sentence.startswith(f"quality[50%]: estimate: canary {value:g}")


def test_scores_that_are_counted_go_before_a_gauge_of_them():
    """They are evidence."""
    scores = Histogram((0.5, 0.9, 1.0), (0.0, 300.0, 700.0, 0.0), 900.0)
    both = counted(histograms={"quality": scores}, gauges={"quality": 0.1})
    found = verdict(gate("quality", min="0.85"), both, both, both)

    assert found.by is not By.ESTIMATE
    assert found.status is not Status.FAIL


def test_a_gauge_of_quality_that_is_gone_is_no_data():
    """NaN is left out by the sources, and so is what no series has any more."""
    good = counted(gauges={"quality": 0.91})
    found = verdict(gate("quality", min="0.85"), good, counted(), good)

    assert found.status is Status.NO_DATA


def test_a_queue_that_is_not_there_is_no_other_unit():
    """With a small share of the traffic nobody waits."""
    stable = {"queue_time_sum": 2000.0, "queue_time_count": 1000.0}
    quick = {"queue_time_sum": 2.0, "queue_time_count": 1000.0}
    found = verdict(
        gate("queue_time", ratio=1.5), counted(counters=stable), counted(counters=quick), counted(counters=stable)
    )

    assert found.status is not Status.NO_DATA
