"""The plain rule, with set counts: what passes, what fails, and when it speaks at all."""

import pytest

from pytest_canary.gates import Decide
from pytest_canary.ports import Histogram
from pytest_canary.verdict import By, Status
from tests.unit.judged import gate, judge, look, sample, start


def _verdict(canary, baseline, at=10.0, captured=None, compared=True, **more):
    more.setdefault("catastrophe", False)
    judged = judge(gate(more.pop("name", "error_rate"), decide=Decide.THRESHOLD, **more), captured=captured)
    start(judged, hold=10, least=100, compared=compared, share=0.1 if compared else 1.0)
    return look(judged, canary, baseline, at=at)


@pytest.mark.parametrize(
    ("errors", "status"),
    [(14, Status.PASS), (15, Status.PASS), (16, Status.FAIL)],
)
def test_equal_passes_and_one_error_more_fails(errors, status):
    """10 in 1,000 on the baseline, ratio 1.5: 15 in 1,000 is the limit itself."""
    verdict = _verdict(sample(1000, errors), sample(1000, 10), ratio=1.5)
    assert (verdict.status, verdict.by) == (status, By.THRESHOLD)
    assert f"canary {errors}/1000" in verdict.sentence


@pytest.mark.parametrize(("baseline", "ratio", "canary"), [(1, 1.1, 11), (2, 1.3, 26), (3, 1.7, 51), (7, 1.2, 84)])
def test_equal_passes_where_floating_point_would_not_have_it(baseline, ratio, canary):
    """``0.007 * 1.2`` is not quite ``0.0084`` in a computer."""
    assert _verdict(sample(10_000, canary), sample(1000, baseline), ratio=ratio).status is Status.PASS
    assert _verdict(sample(10_000, canary + 1), sample(1000, baseline), ratio=ratio).status is Status.FAIL


@pytest.mark.parametrize(("requests", "at"), [(99, 10.0), (1000, 9.9)])
def test_it_speaks_only_once_hold_and_requests_are_served(requests, at):
    """However bad it looks until then."""
    verdict = _verdict(sample(requests, requests), sample(1000, 10), at=at, ratio=1.5)
    assert verdict.status is Status.UNDECIDED
    assert not verdict.harmless


def test_under_a_baseline_without_errors_the_floor_counts():
    """0.1 % unless another floor is given: 1.5 in 1,000 is then the limit."""
    assert _verdict(sample(2000, 3), sample(1000, 0), ratio=1.5).status is Status.PASS
    assert _verdict(sample(2000, 4), sample(1000, 0), ratio=1.5).status is Status.FAIL
    assert _verdict(sample(2000, 4), sample(1000, 0), ratio=1.5, floor=0.01).status is Status.PASS


def test_fewer_than_fifty_baseline_requests_say_nothing():
    """Undecided, and not harmless either: soak cannot pass what was not looked at."""
    verdict = _verdict(sample(1000, 10), sample(49, 0), ratio=1.5)
    assert (verdict.status, verdict.harmless) == (Status.UNDECIDED, False)
    assert "needs 50 baseline requests, has 49" in verdict.sentence
    assert _verdict(sample(1000, 10), sample(50, 1), ratio=1.5).status is Status.PASS


def test_the_captured_window_stands_in_when_asked_for_and_always_at_full_share():
    """10 in 1,000 before the ramp; the concurrent baseline has 40 and would let 20 pass."""
    before = sample(1000, 10)
    now = sample(1000, 40)
    assert _verdict(sample(1000, 20), now, captured=before, ratio=1.5).status is Status.PASS
    captured = _verdict(sample(1000, 20), now, captured=before, ratio=1.5, against="captured")
    assert captured.status is Status.FAIL
    assert "captured baseline 10/1000" in captured.sentence
    full = _verdict(sample(1000, 20), None, captured=before, compared=False, ratio=1.5)
    assert (full.status, full.by) == (Status.FAIL, By.THRESHOLD)


def test_delta_max_and_min_are_plain_comparisons():
    """Equal passes here too."""
    for errors, limits, status in (
        (60, {"delta": 0.05}, Status.PASS),
        (61, {"delta": 0.05}, Status.FAIL),
        (20, {"max": 0.02}, Status.PASS),
        (21, {"max": 0.02}, Status.FAIL),
        (20, {"min": 0.02}, Status.PASS),
        (19, {"min": 0.02}, Status.FAIL),
    ):
        assert _verdict(sample(1000, errors), sample(1000, 10), **limits).status is status, (errors, limits)


def test_no_canary_requests_are_no_data():
    """Whatever the baseline says."""
    assert _verdict(sample(0, 0), sample(1000, 10), ratio=1.5).status is Status.NO_DATA


def test_the_early_lane_stays_on_unless_it_is_turned_off():
    """Without it, the plain rule waits for hold and requests while every request fails."""
    canary, baseline = sample(20, 20), sample(180, 1)
    early = _verdict(canary, baseline, at=1.0, ratio=1.5, catastrophe=True)
    assert (early.status, early.by) == (Status.FAIL, By.CATASTROPHE)
    assert _verdict(canary, baseline, at=1.0, ratio=1.5).status is Status.UNDECIDED


BOUNDS = (0.1, 0.2, 0.4)


def _latency(*counts):
    return sample(sum(counts), 0, Histogram(BOUNDS, counts))


def test_a_quantile_is_interpolated_and_equal_passes():
    """p50: 150 ms on the baseline; 180 ms is 1.2 times as much."""
    normal = _latency(0, 100, 0, 0)
    more = {"name": "latency_p50", "captured": normal, "ratio": 1.2}
    assert _verdict(_latency(20, 100, 5, 0), normal, **more).status is Status.PASS
    at_limit = _latency(0, 100, 60, 0)
    assert at_limit.histograms["latency"].quantile(0.5) == pytest.approx(0.18)
    assert _verdict(at_limit, normal, **more).status is Status.PASS
    assert _verdict(_latency(0, 100, 62, 0), normal, **more).status is Status.FAIL


def test_a_canary_beyond_the_last_boundary_fails_when_that_is_over_the_limit_and_is_open_otherwise():
    """Interpolation saturates there; we do not."""
    normal = _latency(0, 100, 0, 0)
    lost = _latency(0, 10, 0, 190)
    more = {"name": "latency_p50", "captured": normal}
    assert _verdict(lost, normal, ratio=1.2, **more).status is Status.FAIL
    assert _verdict(lost, normal, ratio=4, **more).status is Status.UNDECIDED
