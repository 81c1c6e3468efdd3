"""From cumulative samples to what each replica counted, step by step."""

import numpy as np
import pytest

from pytest_canary.play import Buckets, History, of_samples, together
from pytest_canary.ports import Histogram, Sample


def counted(at, **requests):
    """A sample in which each replica has so many requests, a tenth of them errors."""
    parts = {name: Sample(at, {"requests": n, "errors": n / 10}) for name, n in requests.items()}
    return Sample(at, {"requests": sum(requests.values())}, replicas=parts)


def test_increments_are_taken_replica_by_replica():
    """What a pseudo-canary counts is what its replicas counted in that time, and nothing from before."""
    found = of_samples([counted(0, a=100, b=50), counted(5, a=110, b=70), counted(10, a=140, b=70)])

    assert found.step_seconds == 5
    assert found.requests.tolist() == [[10, 20], [30, 0]]
    assert found.counters["errors"].tolist() == [[1, 2], [3, 0]]


def test_a_replica_whose_counters_began_anew_is_left_out_once():
    """A restart must not look like a million requests, nor like less than none."""
    found = of_samples([counted(0, a=100, b=50), counted(5, a=3, b=60), counted(10, a=13, b=70)])

    assert found.requests.tolist() == [[0, 10], [10, 10]]


def test_a_replica_that_comes_when_another_goes_takes_its_place():
    """A rolling update of a day makes no history of fifty replicas that were all nearly idle."""
    found = of_samples(
        [
            counted(0, a=1, b=1),
            counted(5, a=2, b=2),
            counted(10, b=3, c=1),
            counted(15, b=4, c=2),
            counted(20, b=5, c=3),
        ]
    )

    assert found.replicas == 2
    assert found.requests.tolist() == [[1, 1], [0, 1], [1, 1], [1, 1]]


def test_samples_out_of_order_are_passed_over():
    """Two machines wrote into one file; the second clock's samples are no time of their own."""
    found = of_samples([counted(0, a=1), counted(5, a=2), counted(3, a=99), counted(10, a=4)])

    assert found.requests.ravel().tolist() == [1, 2]


def test_nothing_is_played_across_a_gap():
    """In an hour without samples anything may have happened."""
    times = [0, 5, 10, 15, 3615, 3620, 3625, 3630, 3635]
    found = of_samples([counted(at, a=at) for at in times])

    assert found.steps == 7  # the step of an hour is none
    assert found.starts(3).tolist() == [0, 3, 4]
    assert found.starts(5).size == 0


def test_a_coarser_history_adds_up_whole_steps_only():
    """A plan that looks every 15 s plays steps of 15 s; what a gap cuts off is let go."""
    fine = History(5.0, {"requests": np.arange(7.0)[:, None]}, follows=np.array([0, 1, 1, 0, 1, 1, 1], dtype=bool))
    coarse = fine.coarser(3)

    assert coarse.step_seconds == 15
    assert coarse.requests.ravel().tolist() == [0 + 1 + 2, 3 + 4 + 5]
    assert coarse.starts(2).size == 0


def test_histograms_are_counted_too_and_other_buckets_left_out():
    """A build that was given other buckets in the night cannot be added to the one before."""

    def sample(at, counts, bounds=(0.1, 0.2)):
        one = Sample(at, {"requests": sum(counts)}, {"latency": Histogram(bounds, counts, 0.1 * sum(counts))})
        return Sample(at, replicas={"a": one})

    found = of_samples([sample(0, (1, 0, 0)), sample(5, (3, 1, 0)), sample(10, (3, 1, 2))])
    assert found.histograms["latency"].counts[:, 0].tolist() == [[2, 1, 0], [0, 0, 2]]
    assert found.histograms["latency"].totals[:, 0] == pytest.approx([0.3, 0.2])

    changed = of_samples(
        [sample(0, (1, 0, 0)), sample(5, (3, 1, 0)), sample(10, (3, 1), (0.1,)), sample(15, (4, 1), (0.1,))]
    )
    assert changed.histograms["latency"].counts.sum() == 3


def test_several_recordings_are_one_history_with_gaps_between():
    """Yesterday's and today's."""
    one = History(5.0, {"requests": np.ones((4, 2))}, {"latency": Buckets((0.1,), np.ones((4, 2, 2)), np.ones((4, 2)))})
    other = History(5.0, {"requests": np.ones((3, 3)), "errors": np.ones((3, 3))})
    both = together([one, other])

    assert both.requests.shape == (7, 3)
    assert both.requests[:4, 2].sum() == 0
    assert both.counters["errors"][:4].sum() == 0
    assert both.histograms["latency"].counts.sum() == 16
    assert both.starts(4).tolist() == [0]


def test_no_samples_are_no_history():
    """And no error of their own: who asks says what is missing."""
    assert of_samples([]).replicas == 0
    assert of_samples([counted(0, a=1)]).steps == 0


def test_what_a_stretch_counted_is_told_as_a_source_would():
    """The noise of replicas is read by the same functions as live."""
    found = of_samples([counted(0, a=0, b=0), counted(5, a=10, b=20), counted(10, a=30, b=30)]).sample(0, 2)

    assert found.counters["requests"] == 60
    assert {name: one.counters["requests"] for name, one in found.replicas.items()} == {"0": 30, "1": 30}
