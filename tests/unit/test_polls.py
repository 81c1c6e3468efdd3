"""The polls that a stage keeps for a gate that appears later: little room, and not a digit lost."""

from __future__ import annotations

import sys

import numpy as np

from pytest_canary.ports import Histogram, Role, Sample
from pytest_canary.verdict.frame import Frame, joined
from pytest_canary.verdict.polls import Polls

BOUNDS = tuple(0.01 * 1.1**step for step in range(100))
NOBODY = np.zeros(1)


def sample(rng: np.random.Generator, replicas: int = 20) -> Sample:
    """What a stable build may have counted from one poll to the next."""

    def part() -> Sample:
        counts = tuple(float(count) for count in rng.poisson(0.1, len(BOUNDS) + 1))
        histogram = Histogram(BOUNDS, counts, float(rng.normal()))
        return Sample(float(rng.random()), {"requests": sum(counts)}, {"latency": histogram}, gauges={"memory": 0.5})

    whole, parts = part(), {f"gw-{nth}": part() for nth in range(replicas)}
    values = {"route": {"/a": part(), "/b": part()}}
    return Sample(whole.at, whole.counters, whole.histograms, parts, whole.gauges, values)


def test_every_poll_comes_back_as_it_was_to_the_last_digit():
    """A gate that appears later must say what it would have said from the start."""
    rng = np.random.default_rng(1)
    samples = [sample(rng, replicas) for replicas in (20, 20, 3, 0, 20)]
    polls = Polls(10)
    for nth, one in enumerate(samples):
        polls.add(NOBODY, NOBODY + nth, {Role.BASELINE: Frame.of(one), Role.CANARY: Frame.of(Sample(0.0))})

    assert [frames[Role.BASELINE].row() for _, _, frames in polls] == samples
    assert [float(at[0]) for _, at, _ in polls] == [0, 1, 2, 3, 4]


def test_only_the_last_ones_are_kept():
    """A stage of days must not fill the memory."""
    polls = Polls(2)
    for nth in range(5):
        polls.add(NOBODY, NOBODY + nth, {})

    assert [float(at[0]) for _, at, _ in polls] == [3, 4]


def test_polls_that_came_all_at_once_come_back_one_by_one():
    """Whoever adds many adds a row for each; they count as many, and as many are kept as if each had come alone."""
    polls, frame = Polls(4), joined(Frame.of(Sample(float(nth), {"requests": float(nth)})) for nth in range(3))
    for first in (0.0, 3.0):
        at = first + np.arange(3.0)
        polls.add(at - 1, at, {Role.CANARY: frame})
    kept = list(polls)

    assert [float(at[0]) for _, at, _ in kept] == [2, 3, 4, 5]
    assert [float(since[0]) for since, _, _ in kept] == [1, 2, 3, 4]
    assert [frames[Role.CANARY].row().counters["requests"] for _, _, frames in kept] == [2, 0, 1, 2]
    assert np.array_equal(polls.last[1], [3, 4, 5])


def test_a_poll_of_many_replicas_takes_a_fraction_of_its_room():
    """Five thousand of them took nearly a gigabyte."""
    rng = np.random.default_rng(1)
    frame = Frame.of(sample(rng))
    polls = Polls(1)
    polls.add(NOBODY, NOBODY, {Role.BASELINE: frame})
    ((_, _, kept),) = polls._kept
    plain = frame.values.nbytes * (1 + len(frame.replicas) + 2)

    assert sys.getsizeof(kept[Role.BASELINE].numbers) < plain / 6
