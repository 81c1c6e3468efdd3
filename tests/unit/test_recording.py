"""A recording is written line by line, and read back as it was, also after a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_canary.errors import UsageError
from pytest_canary.gates import Gate, Kind, Limits, Metric
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Change, Histogram, Role, Sample
from pytest_canary.recording import Event, Recorded, Recording, read

ERRORS = Gate("error_rate", Metric("error_rate", Kind.RATE, "ratio", events="errors"), Limits(ratio=1.5))
PLAN = Plan(
    rollout="rollouts/gateway/rollout.yaml",
    service="gateway",
    target="memory",
    folder=Path(),
    image="gateway:v2",
    change=Change(),
    stages=(Stage("rollout.yaml", 0, 0.05, 10, 20, 120), Stage("rollout.yaml", 1, 1.0, 10, 20, None)),
    gates=(ERRORS,),
)
BOUNDS = (0.1, 0.2, 0.5)


def sample(at: float, requests: float, bounds: tuple[float, ...] = BOUNDS, **replicas: Sample) -> Sample:
    """All requests in the second bucket."""
    histogram = Histogram(bounds, (0.0, requests, *[0.0] * (len(bounds) - 1)), requests * 0.15)
    return Sample(at, {"requests": requests, "errors": 1.0}, {"latency": histogram}, replicas)


@pytest.fixture
def recording(tmp_path):
    """In a folder that is not there yet."""
    recording = Recording(tmp_path / "recordings" / "run-1.jsonl")
    recording.begin(PLAN)
    return recording


def lines(recording):
    """What stands in the file."""
    return [json.loads(line) for line in recording.path.read_text().splitlines()]


def test_the_header_says_what_was_recorded(recording):
    """Whoever replays it needs no rollout.yaml to know."""
    header, rest = read(recording.path)

    assert (header.version, header.service, header.target, header.image) == (1, "gateway", "memory", "gateway:v2")
    assert [stage["weight"] for stage in header.stages] == [0.05, 1.0]
    assert [gate["name"] for gate in header.gates] == ["error_rate"]
    assert "1.5" in header.gates[0]["limits"]
    assert list(rest) == []


def test_samples_and_events_are_read_back_as_they_were(recording):
    """In order, replicas included."""
    first = {Role.BASELINE: sample(1.0, 95, a=sample(1.0, 40)), Role.CANARY: sample(1.0, 5)}
    second = {Role.BASELINE: sample(2.0, 190)}
    recording.write_sample(1.1, 0, first)
    recording.write_event(1.5, "cut", stage="5%", why="error_rate")
    recording.write_sample(2.1, 1, second)

    assert list(read(recording.path)[1]) == [
        Recorded(1.1, 0, first),
        Event(1.5, "cut", {"stage": "5%", "why": "error_rate"}),
        Recorded(2.1, 1, second),
    ]


def test_a_poll_without_data_is_recorded_too(recording):
    """An outage is part of the run."""
    recording.write_sample(1.0, 0, {})

    assert list(read(recording.path)[1]) == [Recorded(1.0, 0, {})]


def test_bounds_stand_once_for_each_histogram(recording):
    """Hundreds of buckets at every poll would be most of the file."""
    for at in range(5):
        recording.write_sample(at, 0, {Role.BASELINE: sample(at, 95), Role.CANARY: sample(at, 5)})

    assert [line["bounds"] for line in lines(recording) if line["line"] == "bounds"] == [list(BOUNDS)]


def test_only_buckets_that_are_not_empty_are_written(recording):
    """Most are."""
    recording.write_sample(1.0, 0, {Role.CANARY: sample(1.0, 5)})

    assert lines(recording)[-1]["roles"]["canary"]["histograms"]["latency"]["counts"] == {"1": 5.0}


def test_bounds_that_change_are_written_again(recording):
    """A source that restarted may have others."""
    both = [{Role.CANARY: sample(1.0, 5)}, {Role.CANARY: sample(2.0, 5, bounds=(1.0, 2.0))}]
    for samples in both:
        recording.write_sample(1.0, 0, samples)

    assert [recorded.samples for recorded in read(recording.path)[1]] == both


def test_half_a_last_line_is_passed_over(recording):
    """A kill leaves it."""
    recording.write_event(1.0, "weights")
    with recording.path.open("a") as file:
        file.write('{"line":"sam')

    assert [event.kind for event in read(recording.path)[1]] == ["weights"]


def test_every_line_is_in_the_file_before_the_next_begins(recording):
    """Whoever kills the run loses nothing that was written."""
    recording.write_event(1.0, "weights")

    assert recording.path.read_bytes().endswith(b"}\n")
    assert len(lines(recording)) == 2


def test_an_event_holds_whatever_there_is_to_say(recording):
    """A path must not stop the way back."""
    recording.write_event(1.0, "step", where=recording.path)

    assert next(iter(read(recording.path)[1])).data == {"where": str(recording.path)}


@pytest.mark.parametrize(
    "text", ["", "not a recording\n", '{"line":"header","version":99}\n', '{"line":"event"}\n', "[1]\n"]
)
def test_what_is_no_recording_is_named_in_one_line(tmp_path, text):
    """With what was found and what was expected."""
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"other\.jsonl:1: [^\n]*$"):
        read(path)


def test_a_recording_that_is_not_there_is_named(tmp_path):
    """Mistyped."""
    with pytest.raises(UsageError, match=r"nowhere\.jsonl: cannot be read: No such file"):
        read(tmp_path / "nowhere.jsonl")


def test_a_broken_line_in_the_middle_is_named(recording):
    """It must not be read as if nothing had happened."""
    with recording.path.open("a") as file:
        file.write("broken\n")
    recording.write_event(1.0, "weights")
    with pytest.raises(UsageError, match=r"run-1\.jsonl:2: "):
        list(read(recording.path)[1])
