"""`pytest-canary convert kayenta`: metric sets of another system become a recording that can be replayed."""

from __future__ import annotations

import json

import pytest

from pytest_canary.command import main
from pytest_canary.plan import make_plan
from pytest_canary.ports import Role
from pytest_canary.recording import Event, Recorded, read
from pytest_canary.replay import Now, play
from pytest_canary.spec import load

START = 1_793_527_200_000


def pair(name, control, experiment, step=60_000, start=START, **tags):
    """A metric set pair as Kayenta writes it."""
    scope = {"startTimeIso": "2026-11-01T10:00:00Z", "startTimeMillis": start, "stepMillis": step}
    return {
        "name": name, "id": name, "tags": tags, "attributes": {"control": {}, "experiment": {}},
        "values": {"control": control, "experiment": experiment},
        "scopes": {"control": scope, "experiment": scope},
    }  # fmt: skip


@pytest.fixture
def convert(tmp_path, capsys):
    """Type the command for these pairs; the exit code, what was said, and the recording."""

    def typed(pairs, *words):
        source, out = tmp_path / "pairs.json", tmp_path / "out.jsonl"
        source.write_text(pairs if isinstance(pairs, str) else json.dumps(pairs))
        code = main(["convert", "kayenta", str(source), "-o", str(out), *words])
        said = capsys.readouterr()
        return code, said.out + said.err, out

    return typed


def polls(path):
    """What is in a recording besides events."""
    return [line for line in read(path)[1] if isinstance(line, Recorded)]


def test_what_was_counted_step_by_step_becomes_what_was_counted_until_then(convert):
    """Counters of a recording only grow, and a step ends where the next one begins."""
    code, said, out = convert([pair("requests", [900, 950], [50, 55]), pair("errors", [9, 10], [1, 0])])

    assert code == 0, said
    header, _ = read(out)
    assert header.wall_of(header.at) == START / 1000
    *_, last = polls(out)
    assert last.at == START / 1000 + 120
    assert last.samples[Role.BASELINE].counters == {"requests": 1850, "errors": 19}
    assert last.samples[Role.CANARY].counters == {"requests": 105, "errors": 1}
    assert "2 polls; counters errors, requests" in said
    assert f"next: pytest rollouts/ --canary-replay={out}" in said


def test_the_share_of_the_canary_is_that_of_its_requests(convert):
    """Kayenta does not keep it."""
    _, _, out = convert([pair("requests", [950], [50])])
    stage = next(line for line in read(out)[1] if isinstance(line, Event))

    assert stage.data["weight"] == 0.05


def test_a_share_can_be_told(convert):
    """Control and experiment may be of the same size beside a production that is in neither."""
    _, _, out = convert([pair("requests", [50], [50])], "--weight=50")

    assert next(line for line in read(out)[1] if isinstance(line, Event)).data["weight"] == 0.5


def test_metrics_get_the_names_that_gates_know(convert):
    """Counts, rates and gauges."""
    pairs = [pair("rps", [10], [1]), pair("http 5xx", [2], [1]), pair("rss", [0.5], [0.6])]
    code, said, out = convert(pairs, "--as=rps=requests/s", "--as=http 5xx=errors", "--as=rss=gauge:memory")

    assert code == 0, said
    *_, last = polls(out)
    assert last.samples[Role.BASELINE].counters == {"requests": 600, "errors": 2}
    assert last.samples[Role.CANARY].gauges == {"memory": 0.6}


def test_a_metric_that_nobody_named_is_a_gauge_of_its_name_and_tags(convert):
    """Nothing is lost, and nothing is counted that may be no count."""
    *_, last = polls(convert([pair("requests", [9], [1]), pair("cpu", [0.5], [0.6], zone="a")])[2])

    assert last.samples[Role.BASELINE].gauges == {"cpu{zone=a}": 0.5}


def test_steps_without_a_value_add_nothing(convert):
    """Kayenta writes NaN for them, in quotes or not."""
    text = json.dumps([pair("requests", [10, None, 10], [1, "NaN", float("nan")])])
    *_, last = polls(convert(text)[2])

    assert last.samples[Role.BASELINE].counters["requests"] == 20
    assert last.samples[Role.CANARY].counters["requests"] == 1


def test_metrics_of_different_steps_are_laid_side_by_side(convert):
    """Each at its own times."""
    _, _, out = convert([pair("requests", [60] * 4, [6] * 4), pair("errors", [1, 1], [0, 0], step=120_000)])

    assert [poll.at - START / 1000 for poll in polls(out)] == [0, 60, 120, 180, 240]


def test_a_converted_recording_is_replayed(convert, tmp_path):
    """That is what it is for."""
    pairs = [pair("requests", [950] * 20, [50] * 20), pair("errors", [5] * 20, [5] * 20)]
    _, _, out = convert(pairs, "--service=gateway")
    (tmp_path / "rollout.yaml").write_text(
        "service: gateway\nstages: [5, 100]\ngates: {error_rate: {ratio: 2}}\ntargets:\n  here: {platform: {memory: "
        "{}}, router: {memory: {}}, metrics: {memory: {}}}\n"
    )
    plan = make_plan(load(tmp_path / "rollout.yaml", environ={}), rollout="rollout.yaml", image=None)
    played = play(out, plan)

    assert (played.now, played.blamed) == (Now.ROLLED_BACK, ("error_rate",)), played.line


@pytest.mark.parametrize(
    ("pairs", "words", "said"),
    [
        ("{", (), "pairs.json:1: found no JSON"),
        ("[]", (), "pairs.json: found no pairs, expected a list"),
        ("[1]", (), 'pair 1: found \'1\', expected "name" and "values"'),
        ([{**pair("requests", [1], [1]), "values": {"control": [1]}}], (), "found no values of experiment"),
        ([pair("requests", [1], ["x"])], (), "pair 1 (requests): found the value 'x', expected a number or NaN"),
        ([pair("requests", [1], [1], step=0)], (), "found startTimeMillis 1793527200000 and stepMillis 0 of the"),
        ([{**pair("requests", [1], [1]), "scopes": [1]}], (), "found scopes [1], expected startTimeMillis and"),
        ([{**pair("requests", [1], [1]), "tags": "a"}], (), "found tags a, expected such as"),
        ([{**pair("requests", [1], [1]), "name": {}}], (), 'expected "name" and "values"'),
        ([pair("requests", [1], [1], start=float("nan"))], (), "found startTimeMillis nan and stepMillis 60000"),
        ([pair("requests", [1], [1], step=float("inf"))], (), "and stepMillis inf of the experiment, expected"),
        ([pair("requests", [None], ["NaN"])], (), "found no values at all"),
        ([pair("requests", [1], [1])], ("--as=errors",), "--as: found 'errors', expected METRIC=NAME"),
        (
            [pair("requests", [1], [1])],
            ("--as=5xx=errors",),
            "found '5xx', expected one of the metrics in the files: req",
        ),
        ([pair("requests", [1], [1])], ("--weight=0",), "--weight: found 0, expected the canary's share in per cent"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_line(convert, pairs, words, said):
    """And nothing is written."""
    code, out, path = convert(pairs, *words)

    assert code == 4
    assert said in out
    assert out.count("\n") == 1
    assert not path.exists()


def test_values_that_do_not_count_as_they_stand_are_told(convert):
    """A metric that was cut short, or is no count."""
    code, said, out = convert([pair("requests", [90, 90], [10]), pair("errors", [1, -5], [0, 1])])

    assert code == 0, said
    assert "requests: 2 values of control and 1 of experiment; those missing add nothing\n" in said
    assert "errors: 1 values below 0, counted as 0; if it is no count, write --as '...=gauge:NAME'\n" in said
    assert polls(out)[-1].samples[Role.BASELINE].counters == {"requests": 180, "errors": 1}


def test_what_is_read_is_not_written_over(tmp_path, capsys):
    """It may be the only copy."""
    source = tmp_path / "pairs.json"
    source.write_text(json.dumps([pair("requests", [1], [1])]))
    before = source.read_text()

    assert main(["convert", "kayenta", str(source), "-o", f"{tmp_path}/./pairs.json"]) == 4
    assert "which is to be read; name another file" in capsys.readouterr().err
    assert source.read_text() == before


def test_a_place_that_cannot_be_written_to_is_named(tmp_path, capsys):
    """In one line."""
    source = tmp_path / "pairs.json"
    source.write_text(json.dumps([pair("requests", [1], [1])]))

    assert main(["convert", "kayenta", str(source), "-o", str(tmp_path / "no" / "out.jsonl")]) == 4
    assert "out.jsonl cannot be written: No such file or directory" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    """Mistyped."""
    code = main(["convert", "kayenta", str(tmp_path / "no.json"), "-o", str(tmp_path / "out.jsonl")])

    assert code == 4
    assert "no.json: cannot be read: No such file" in capsys.readouterr().err
