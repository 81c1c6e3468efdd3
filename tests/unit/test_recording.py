"""A recording is written line by line, and read back as it was, also after a kill."""

from __future__ import annotations

import gzip
import json
import random
from math import isnan
from pathlib import Path

import pytest

from pytest_canary.errors import UsageError
from pytest_canary.gates import Gate, Kind, Limits, Metric
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Change, Histogram, Role, Sample
from pytest_canary.recording import Event, Notice, Poll, Recorded, Recording, read

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
    recording.begin(PLAN, "run-1", 100.0, 1_700_000_000.0)
    return recording


def lines(recording):
    """What stands in the file."""
    return [json.loads(line) for line in recording.path.read_text().splitlines()]


def test_the_header_says_what_was_recorded(recording):
    """Whoever replays it needs no rollout.yaml to know."""
    header, rest = read(recording.path)

    assert (header.version, header.service, header.target, header.image) == (3, "gateway", "memory", "gateway:v2")
    assert [stage["weight"] for stage in header.stages] == [0.05, 1.0]
    assert [gate["name"] for gate in header.gates] == ["error_rate"]
    assert "1.5" in header.gates[0]["limits"]
    assert header.plan["baseline"] == {"window": 60.0, "min_requests": 100}
    assert list(rest) == []


def test_the_time_of_day_of_a_poll_is_known(recording):
    """To be looked up in what else was going on."""
    header, _ = read(recording.path)

    assert (header.run, header.wall_of(160.0)) == ("run-1", 1_700_000_060.0)


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


def test_a_poll_says_what_it_was_for(recording):
    """Gates never saw what only looked at the split."""
    recording.write_sample(1.0, -1, {}, Poll.BASELINE)
    recording.write_event(2.0, "stage", index=0, weight=0.05)
    recording.write_sample(2.0, 0, {}, Poll.BEFORE)
    recording.write_sample(2.1, 0, {}, Poll.CHECK)
    recording.write_sample(3.0, 0, {})

    polls = [line for line in read(recording.path)[1] if isinstance(line, Recorded)]
    assert [(one.stage, one.poll) for one in polls] == [
        (-1, Poll.BASELINE), (0, Poll.BEFORE), (0, Poll.CHECK), (0, Poll.LOOK),
    ]  # fmt: skip


def test_a_poll_without_data_is_recorded_too(recording):
    """An outage is part of the run."""
    recording.write_sample(1.0, 0, {})

    assert list(read(recording.path)[1]) == [Recorded(1.0, 0, {})]


def test_bounds_stand_once_for_each_histogram(recording):
    """Hundreds of buckets at every poll would be most of the file."""
    for at in range(5):
        recording.write_sample(at, 0, {Role.BASELINE: sample(at, 95), Role.CANARY: sample(at, 5)})

    assert [line["le"] for line in lines(recording) if "bounds" in line] == [list(BOUNDS)]


def test_only_what_has_changed_is_written(recording):
    """Most buckets, replicas and counters are as they were."""
    quiet = sample(1.0, 3)
    recording.write_sample(1.0, 0, {Role.CANARY: sample(1.0, 5, a=quiet, b=quiet)})
    busy = Sample(2.0, quiet.counters, quiet.histograms)
    recording.write_sample(2.0, 0, {Role.CANARY: sample(2.0, 7, a=busy, b=sample(2.0, 4))})

    second = lines(recording)[-1]
    assert second["canary"] == {
        "c": {"requests": 7},
        "h": {"latency": {"n": {"1": 7}, "s": 7 * 0.15}},
        "r": {"b": {"c": {"requests": 4}, "h": {"latency": {"n": {"1": 4}, "s": 0.6}}}},
    }


def random_samples(seed: int) -> list[dict[Role, Sample]]:
    """Fifty polls in which everything may grow, stand still, begin anew, come and go."""
    chance = random.Random(seed)

    def part(at: float, depth: int) -> Sample:
        names = [name for name in ("requests", "errors", "x") if chance.random() < 0.8]
        counters = {name: chance.choice([0.0, 1.0, 2.5, 1e15, float("inf")]) for name in names}
        histograms = {}
        for name in ("latency", "ttft"):
            bounds = chance.choice([BOUNDS, (1.0, 2.0)])
            counts = tuple(chance.choice([0.0, 0.0, 3.0]) for _ in range(len(bounds) + 1))
            if chance.random() < 0.7:
                counts = counts if chance.random() < 0.8 else ()
                histograms[name] = Histogram(bounds, counts, chance.choice([0.0, 1.5]))
        gauges = {"memory": chance.choice([0.5, 0.7])} if chance.random() < 0.5 else {}
        if not depth:
            return Sample(at, counters, histograms, gauges=gauges)
        own = {name: part(at - chance.choice([0, 0, 0.1, at]), depth - 1) for name in "abc" if chance.random() < 0.7}
        values = {value: part(at, 0) for value in ("a", "b") if chance.random() < 0.7}
        return Sample(at, counters, histograms, own, gauges, {"route": values} if chance.random() < 0.7 else {})

    kept: dict[Role, Sample] = {}
    polls = []
    for poll in range(50):
        told = [role for role in Role if chance.random() < 0.8]
        for role in told:
            if role not in kept or chance.random() < 0.7:
                kept[role] = part(poll - chance.choice([0, 0.2]), 2)
        polls.append({role: kept[role] for role in told})
    return polls


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_to_counters_is_read_back_as_it_was(recording, seed):
    """What is not written must be what the reader believes anyway."""
    polls = random_samples(seed)
    for at, samples in enumerate(polls):
        recording.write_sample(float(at), 0, samples)

    assert [line.samples for line in read(recording.path)[1]] == polls


def test_bounds_that_change_are_written_again(recording):
    """A source that restarted may have others."""
    both = [{Role.CANARY: sample(1.0, 5)}, {Role.CANARY: sample(2.0, 5, bounds=(1.0, 2.0))}]
    for at, samples in enumerate(both):
        recording.write_sample(float(at), 0, samples)

    assert [recorded.samples for recorded in read(recording.path)[1]] == both


def test_what_is_no_number_is_written_in_words(recording):
    """Every JSON reader can read the file, whatever a source has divided by zero."""
    recording.write_sample(1.0, 0, {Role.CANARY: Sample(1.0, {"requests": float("nan")})})
    recording.write_event(2.0, "held", evidence=float("inf"))

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for text in recording.path.read_text().splitlines():
        json.loads(text, parse_constant=refuse)
    poll, event = read(recording.path)[1]
    assert isnan(poll.samples[Role.CANARY].counters["requests"])
    assert event.data == {"evidence": "inf"}


def test_half_a_last_line_is_passed_over(recording):
    """A kill leaves it."""
    recording.write_event(1.0, "weights")
    with recording.path.open("a") as file:
        file.write('{"t":1,"pol')

    assert [event.kind for event in read(recording.path)[1]] == ["weights"]


def test_every_line_is_in_the_file_before_the_next_begins(recording):
    """Whoever kills the run loses nothing that was written."""
    recording.write_event(1.0, "weights")

    assert recording.path.read_bytes().endswith(b"}\n")
    assert len(lines(recording)) == 2


def test_what_could_not_be_written_is_written_with_the_next_poll(recording):
    """A disk that was full for a moment must not leave a file that says less than it seems to."""
    first, second = sample(1.0, 5), sample(2.0, 5)
    recording.write_sample(1.0, 0, {Role.CANARY: first})
    path, recording.path = recording.path, recording.path.parent  # a folder cannot be written to
    with pytest.raises(OSError, match="Is a directory"):
        recording.write_sample(2.0, 1, {Role.CANARY: sample(2.0, 9), Role.BASELINE: second})
    recording.path = path
    recording.write_sample(3.0, 1, {Role.CANARY: sample(3.0, 9), Role.BASELINE: second})

    last = list(read(path)[1])[-1]
    assert last == Recorded(3.0, 1, {Role.CANARY: sample(3.0, 9), Role.BASELINE: second})


def test_an_event_holds_whatever_there_is_to_say(recording):
    """A path must not stop the way back."""
    recording.write_event(1.0, "step", where=recording.path)

    assert next(iter(read(recording.path)[1])).data == {"where": str(recording.path)}


HEADER = '{"recording":2,"service":"gateway"}\n'


@pytest.mark.parametrize(
    "text",
    ["", "not a recording\n", '{"recording":99}\n', '{"event":"cut","t":1}\n', "[1]\n", '{"recording":2,"t":"x"}\n'],
)
def test_what_is_no_recording_is_named_in_one_line(tmp_path, text):
    """With what was found and what was expected."""
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"other\.jsonl:1: found [^\n]*$"):
        read(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            gzip.compress(b'{"recording":3}'),
            "found a file packed by gzip, expected a recording as it was written; type",
        ),
        (b"\x00\xff\x80\x00", "found no text, expected the header of a recording"),
        (b"[" * 100_000, "found '[[[[[["),
        (b'{"recording":3', "found '{\"recording\":3', expected the header of a recording"),
        (b'{"recording":3,"t":NaN}', "found t nan, expected seconds in the header"),
        (b'{"recording":true}', "found a recording of version true, expected version 3"),
    ],
)
def test_a_file_of_another_kind_is_named_in_one_line(tmp_path, data, said):
    """A folder of recordings may hold whatever somebody has put there."""
    path = tmp_path / "other.jsonl"
    path.write_bytes(data)
    with pytest.raises(UsageError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:1: found ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_recording_of_the_second_version_is_read(tmp_path):
    """It lacks nothing but the numbers of its lines."""
    path = tmp_path / "old.jsonl"
    path.write_text('{"recording":2,"service":"gateway"}\n{"t":1,"canary":{}}\n')
    header, rest = read(path)

    assert (header.version, [poll.at for poll in rest]) == (2, [1])


def test_a_recording_of_the_first_version_is_refused_with_what_to_do(tmp_path):
    """It lacks what a replay needs, so nobody should wonder about the result."""
    path = tmp_path / "old.jsonl"
    path.write_text('{"line":"header","version":1,"service":"gateway"}\n')
    with pytest.raises(UsageError, match=r"old\.jsonl:1: found a recording of version 1, expected version 3; record"):
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
    with pytest.raises(UsageError, match=r"run-1\.jsonl:2: found 'broken', .*head -n 1"):
        list(read(recording.path)[1])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"t":"noon","canary":{}}', "'noon', expected a number"),
        ('{"canary":{}}', "no 't'"),
        ('{"t":"nan","canary":{}}', "t 'nan', expected seconds"),
        ('{"t":1e999,"event":"cut"}', "t inf, expected seconds"),
        ('{"t":1,"event":"stage","data":[5]}', "data [5], expected such as {'weight': 0.05}"),
        ('{"t":1,"canary":{},"n":"two"}', 'n "two", expected the number of the line'),
        ('{"t":1,"stable":{}}', "'stable', expected t, poll, stage or a role: baseline, control, canary"),
        ('{"t":1,"poll":"glance"}', "poll 'glance', expected one of baseline, before, check, look"),
        ('{"t":1,"canary":5}', "'5', expected what was counted, such as"),
        ('{"t":1,"canary":{"at":"inf"}}', "at 'inf', expected seconds"),
        ('{"t":1,"canary":{"counters":{}}}', "'counters' among"),
        ('{"t":1,"canary":{"c":{"requests":"many"}}}', "'many', expected a number"),
        ('{"t":1,"canary":{"h":{"latency":{"n":{"0":1}}}}}', "latency without bounds"),
        ('{"t":1,"canary":{"h":{"latency":{"b":7}}}}', "bounds 7 of latency, expected the number of a bounds line"),
        ('{"t":1,"canary":{"h":{"latency":{"le":[2,1],"n":[1,1,1]}}}}', "expected numbers that rise"),
        ('{"t":1,"canary":{"h":{"latency":{"le":["nan",1],"n":[1,1,1]}}}}', "expected numbers that rise"),
        ('{"t":1,"canary":{"h":{"latency":{"le":["-inf",1],"n":[1,1,1]}}}}', "expected numbers that rise"),
        ('{"t":1,"canary":{"h":{"latency":{"le":[1,2],"n":[1,1]}}}}', "2 counts of latency, expected 3"),
        ('{"t":1,"canary":{"h":{"latency":{"le":[1],"n":{"2":1}}}}}', "bucket 2 of latency, expected 0 to 1"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path, line, said):
    """Whoever writes recordings by a script finds his mistake."""
    path = tmp_path / "own.jsonl"
    path.write_text(f"{HEADER}{line}\n")
    with pytest.raises(UsageError) as error:
        list(read(path)[1])
    assert str(error.value).startswith(f"{path}:2: found ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_lines_of_a_script_need_no_more_than_time_and_counters(tmp_path):
    """What comes before the first stage is the baseline, what comes after is what gates look at."""
    path = tmp_path / "own.jsonl"
    path.write_text(
        HEADER
        + '{"t":0,"baseline":{"c":{"requests":10}}}\n'
        + '{"t":60,"event":"stage","data":{"weight":0.5}}\n'
        + '{"t":120,"canary":{"c":{"requests":4},"h":{"latency":{"le":[0.1],"n":[3,1],"s":0.5}}}}'
    )
    before, stage, look = read(path)[1]

    assert before == Recorded(0, -1, {Role.BASELINE: Sample(0, {"requests": 10})}, Poll.BASELINE)
    assert stage == Event(60, "stage", {"weight": 0.5, "index": 0})
    latency = Histogram((0.1,), (3, 1), 0.5)
    assert look == Recorded(120, 0, {Role.CANARY: Sample(120, {"requests": 4}, {"latency": latency})})


def test_reading_ends_where_time_goes_back(tmp_path):
    """Lines that were reordered, or of another clock, cannot be told from each other."""
    path = tmp_path / "own.jsonl"
    path.write_text(HEADER + "".join(f'{{"t":{at},"baseline":{{}}}}\n' for at in (0, 60, 30, 90)))

    *polls, notice = read(path)[1]
    assert [poll.at for poll in polls] == [0, 60]
    assert notice == Notice(4, "time goes back here, from 60 s to 30 s; sort the lines by `t`")


def test_reading_ends_where_a_stage_began_before_the_last_poll(tmp_path):
    """Whoever wrote the stages had another clock than who wrote the polls."""
    path = tmp_path / "own.jsonl"
    path.write_text(f'{HEADER}{{"t":1700000000,"baseline":{{}}}}\n{{"t":60,"event":"stage"}}\n')

    _, notice = read(path)[1]
    assert notice == Notice(3, "time goes back here, from 1700000000 s to 60 s; sort the lines by `t`")


def many(recording, polls: int = 5) -> list[str]:
    """The lines of a recording with so many polls and an event among them."""
    for at in range(polls):
        recording.write_sample(float(at), 0, {Role.CANARY: sample(at, 5.0 * at)})
        if at == polls // 2:
            recording.write_event(float(at), "weights")
    return recording.path.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (2, 2, "a line is missing here (`n` goes from 1 to 3)"),
        (4, 4, "a line is missing here (`n` goes from 3 to 5)"),
        (5, 5, "a line is missing here (`n` goes from 4 to 6)"),
        (3, 6, "4 lines are missing here (`n` goes from 2 to 7)"),
    ],
)
def test_reading_ends_where_a_line_is_missing(recording, first, last, said):
    """Lines only say what has changed, so nobody knows what the next ones mean."""
    whole = many(recording)
    recording.path.write_text("".join([*whole[: first - 1], *whole[last:]]))

    *_, notice = read(recording.path)[1]
    assert (notice.line, notice.text.startswith(said)) == (first, True), notice


def test_reading_ends_where_lines_have_changed_places(recording):
    """Also where both are of one time."""
    whole = many(recording)
    recording.path.write_text("".join([*whole[:4], whole[5], whole[4], *whole[6:]]))

    *_, notice = read(recording.path)[1]
    assert notice.line == 5
    assert "`n` goes from 4 to 6" in notice.text


def test_lines_that_somebody_has_added_need_no_number(recording):
    """What happened is often known only later."""
    whole = many(recording)
    whole.insert(4, '{"t":1,"event":"pager"}\n')
    recording.path.write_text("".join(whole))

    assert not [line for line in read(recording.path)[1] if isinstance(line, Notice)]


def test_a_line_that_stands_twice_is_read_once_and_counted(recording):
    """Somebody has put a file together from pieces; the bounds, a poll and an event."""
    whole = many(recording)
    recording.path.write_text("".join(line for line in whole for _ in range(2)))
    once = "".join(whole)
    twice = list(read(recording.path)[1])
    recording.path.write_text(once)

    assert twice == list(read(recording.path)[1])
    assert sum(line.twice for line in twice if isinstance(line, Recorded)) == len(whole) - 1  # the last is the last


def test_what_could_not_be_written_leaves_no_gap_in_the_numbers(recording):
    """It was never a line of the file."""
    recording.write_sample(1.0, 0, {})
    path, recording.path = recording.path, recording.path.parent
    with pytest.raises(OSError, match="Is a directory"):
        recording.write_sample(2.0, 0, {})
    recording.path = path
    recording.write_sample(3.0, 0, {})

    assert [line.at for line in read(path)[1]] == [1.0, 3.0]


def test_who_reads_hears_how_far_reading_has_come(recording):
    """For a line of progress over gigabytes."""
    many(recording, 100)
    heard = list[int]()
    list(read(recording.path, heard.append)[1])

    assert heard == sorted(heard)
    assert 0 < heard[0] < heard[-1] <= recording.path.stat().st_size


def test_reading_ends_where_another_run_begins(recording):
    """Two files in one have two clocks."""
    recording.write_sample(1.0, 0, {})
    recording.begin(PLAN)
    recording.write_sample(0.0, 0, {})

    poll, notice = read(recording.path)[1]
    assert poll.at == 1.0
    assert notice.line == 3
    assert "another run begins here" in notice.text


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    """Somebody names a disk image."""
    monkeypatch.setattr("pytest_canary.recording.reading.LONGEST", 1000)
    path = tmp_path / "disk.img"
    path.write_bytes(HEADER.encode() + b"x" * 5000)
    with pytest.raises(UsageError, match=r"disk\.img:2: found 'x"):
        list(read(path)[1])
