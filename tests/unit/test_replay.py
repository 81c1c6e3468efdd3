"""Recordings replayed: the same rules, whatever has happened to the file or to who wrote it."""

from __future__ import annotations

import json
import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_canary.errors import UsageError
from pytest_canary.plan import make_plan
from pytest_canary.replay import Now, marked, play
from pytest_canary.spec import load

ROLLOUT = """
service: gateway
stages: [5, 50, 100]
hold: 60s
min_requests: 20
gates:
  error_rate: {ratio: 1.5}
targets:
  here: {platform: {memory: {}}, router: {memory: {}}, metrics: {memory: {}}, clock: {virtual: {}}}
"""
HEADER = {"recording": 2, "service": "gateway"}


@pytest.fixture
def plan(tmp_path):
    """Today's gates."""
    return plan_of(tmp_path)


def plan_of(folder: Path, *overrides: str):
    """The plan of a rollout.yaml with ``overrides``."""
    (folder / "rollout.yaml").write_text(ROLLOUT)
    spec = load(folder / "rollout.yaml", overrides=overrides, environ={})
    return make_plan(spec, rollout="rollout.yaml", image=None)


def script(*, bad: float = 0.01, weights=(0.05, 0.5), polls: int = 30, pace: float = 10.0) -> list[dict]:
    """The lines that a shell script might write: 100 requests a second, 1 % errors, on the canary ``bad``."""
    lines, at = [dict(HEADER)], 0.0
    counted = {"baseline": [0.0, 0.0], "canary": [0.0, 0.0]}

    def poll(share: float) -> None:
        nonlocal at
        at += pace
        for role, part, rate in (("baseline", 1 - share, 0.01), ("canary", share, bad)):
            counted[role][0] += 100 * pace * part
            counted[role][1] += 100 * pace * part * rate
        told = {role: {"c": {"requests": int(n), "errors": int(e)}} for role, (n, e) in counted.items()}
        lines.append({"t": at, **(told if share else {"baseline": told["baseline"]})})

    for _ in range(12):
        poll(0.0)
    for weight in weights:
        lines.append({"t": at, "event": "stage", "data": {"weight": weight}})
        for _ in range(polls):
            poll(weight)
    return lines


def replayed(folder: Path, lines: list[dict], plan):
    """What a replay of ``lines`` says."""
    path = folder / "own.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return play(path, plan)


def polls_of(lines: list[dict]) -> list[dict]:
    """The lines with counters of both sides."""
    return [line for line in lines if "canary" in line]


# -- what is replayed ------------------------------------------------------------------------------------------------


def test_a_good_canary_passes_at_every_stage_that_was_recorded(tmp_path, plan):
    """There is nobody to promote, so this only says what would have been."""
    played = replayed(tmp_path, script(), plan)

    assert played.now is Now.PROMOTED, played.line
    assert {verdict.stage for verdict in played.verdicts} == {0, 1}
    assert played.line.startswith("own: then no outcome, last at 50%; now promoted: every gate passed at every stage")


def test_a_bad_canary_is_cut_at_the_poll_that_convicts_it(tmp_path, plan):
    """And not where the recording ends."""
    played = replayed(tmp_path, script(bad=0.1), plan)

    assert played.now is Now.ROLLED_BACK, played.line
    assert (played.stage, played.blamed) == ("5%", ("error_rate",))
    assert 0 < played.looks < 10
    assert "error_rate[5%]: canary" in played.line


def test_what_happened_is_told_beside_what_would_happen_now(tmp_path, plan):
    """That is what one replays for."""
    outcome = {"t": 1e4, "event": "outcome", "data": {"end": "promoted", "why": "a person said so"}}
    played = replayed(tmp_path, [*script(bad=0.1), outcome], plan)

    assert played.line.startswith("own: then promoted; now rolled back at 5% after ")
    assert not played.same


def test_the_stages_are_the_recorded_ones_and_the_gates_are_todays(tmp_path):
    """Traffic that was split in one way cannot be split again."""
    plan = plan_of(tmp_path, "stages=1,100", "gates.error_rate.ratio=20")
    played = replayed(tmp_path, script(bad=0.03), plan)

    assert played.now is Now.PROMOTED, played.line
    assert "[replayed at the recorded stages 5%, 50%, not at today's 1%, 100%: traffic cannot be split again]" in (
        played.line
    )


def test_a_limit_of_one_stage_goes_with_its_weight(tmp_path):
    """Where the ladder was another, the 50 % stage is the second of the one and the third of the other."""
    here = "stages=[{weight: 5}, {weight: 25}, {weight: 50, gates: {error_rate: {ratio: 1.5}}}, {weight: 100}]"
    plan = plan_of(tmp_path, here, "gates.error_rate.ratio=20")
    played = replayed(tmp_path, script(bad=0.06), plan)

    assert (played.now, played.stage) == (Now.ROLLED_BACK, "50%"), played.line


def test_a_gate_that_nobody_counted_then_is_not_asked_now(tmp_path):
    """It is newer than the recording."""
    played = replayed(tmp_path, script(), plan_of(tmp_path, "gates.latency_p99.ratio=1.2"))

    assert played.now is Now.PROMOTED, played.line
    assert "[not counted then, so not asked now: latency_p99]" in played.line


def test_a_recording_that_answers_no_gate_is_refused_in_one_line(tmp_path, plan):
    """With what it holds instead."""
    lines = [json.loads(json.dumps(line).replace("errors", "oops")) for line in script()]
    with pytest.raises(
        UsageError, match=r"own\.jsonl: found counts of requests, oops, expected .* error_rate asks for"
    ):
        replayed(tmp_path, lines, plan)


def test_without_a_window_before_the_ramp_normal_is_what_the_stable_build_does_beside_the_canary(tmp_path, plan):
    """Other systems know no such window."""
    lines = [line for line in script() if "canary" in line or "event" in line or "recording" in line]
    lines.insert(1, {"t": 119.0, "baseline": {"c": {"requests": 12000, "errors": 120}}})

    assert replayed(tmp_path, lines, plan).now is Now.PROMOTED


def test_a_share_that_is_not_told_is_that_of_the_requests(tmp_path, plan):
    """A script may not know it."""
    lines = script(weights=(0.05,))
    del next(line for line in lines if "event" in line)["data"]

    assert replayed(tmp_path, lines, plan).stage == "5%"


def test_a_share_that_requests_do_not_follow_ends_the_replay_as_it_ends_a_run(tmp_path, plan):
    """Nothing could be compared."""
    lines = script(weights=(0.5,))
    next(line for line in lines if "event" in line)["data"]["weight"] = 0.05
    played = replayed(tmp_path, lines, plan)

    assert played.now is not Now.PROMOTED
    assert "told 5.0% for the canary and accepted it, but 50.0% of" in played.line


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([HEADER], "found no stage with a poll in it"),
        ([HEADER, {"t": 0, "event": "stage", "data": {"weight": 0.05}}], "found no stage with a poll in it"),
        (
            [HEADER, {"t": 0, "event": "stage", "data": {"weight": 5}}, {"t": 1, "baseline": {}, "canary": {}}],
            ":2: found weight 5, expected 0..1; 0.05 is 5 %",
        ),
        (
            [HEADER, {"t": 0, "event": "stage", "data": {"weight": 0.05}}, {"t": 1, "canary": {"c": {"requests": 1}}}],
            "found no counts of the stable build",
        ),
    ],
)
def test_a_script_that_forgot_something_is_told_what(tmp_path, plan, lines, said):
    """In one line."""
    with pytest.raises(UsageError) as error:
        replayed(tmp_path, lines, plan)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


# -- what may have happened to it ------------------------------------------------------------------------------------


def test_counters_that_begin_anew_convict_nobody_and_are_told(tmp_path, plan):
    """A pod was restarted; what was counted between the last poll and that is lost."""
    lines = script()
    lost = dict(polls_of(lines)[9]["canary"]["c"])
    for line in polls_of(lines)[10:]:
        line["canary"]["c"] = {name: value - lost[name] for name, value in line["canary"]["c"].items()}
    played = replayed(tmp_path, lines, plan)

    assert played.now is Now.PROMOTED, played.line
    assert "[counters of the canary began anew once (line 25): such a poll counts for nobody]" in played.line


def test_a_replica_that_comes_and_goes_counts_while_it_is_there(tmp_path, plan):
    """Autoscalers do that all day."""
    lines = script()
    for number, line in enumerate(polls_of(lines)):
        part = {"c": {"requests": number * 10, "errors": 0}}
        line["baseline"]["r"] = {"gw-1": None if 10 <= number < 20 else part, "gw-2": part}
    played = replayed(tmp_path, lines, plan)

    assert played.now is Now.PROMOTED, played.line
    assert "[replica gw-1 of the baseline went (line 25), 1 came back: each counts while it is there]" in played.line


def test_a_gap_of_an_hour_is_told_and_counts_as_one_poll(tmp_path, plan):
    """The machine slept; what was counted meanwhile is told by the counters."""
    lines = script()
    for line in polls_of(lines)[10:]:
        line["t"] += 3600
    for line in lines[-31:]:
        line["t"] += 0 if "canary" in line else 3600
    played = replayed(tmp_path, lines, plan)

    assert played.now is Now.PROMOTED, played.line
    assert "[a gap of 60 min (up to line 25): what was counted then is one poll]" in played.line


def test_time_that_goes_back_ends_the_replay_there_and_is_told(tmp_path, plan):
    """Lines of two clocks cannot be told from lines in a wrong order."""
    lines = script()
    for line in lines[-20:]:
        line["t"] -= 300
    played = replayed(tmp_path, lines, plan)

    assert played.now is Now.PROMOTED, played.line
    assert "[replayed up to line 56: time goes back here, from 520 s to 230 s; sort the lines by `t`]" in played.line


def test_a_second_run_in_the_file_is_not_replayed_and_is_told(tmp_path, plan):
    """Somebody has put two files into one; the second is a bad canary."""
    played = replayed(tmp_path, [*script(), *script(bad=0.5)], plan)

    assert played.now is Now.PROMOTED, played.line
    assert "[replayed up to line 76: another run begins here, and its clock is another one; put it into" in played.line


@pytest.mark.parametrize("seed", range(10))
def test_lines_in_any_order_are_replayed_as_far_as_they_make_sense_or_refused(tmp_path, plan, seed):
    """Never with a stack trace, and never beyond the first line out of order."""
    header, *rest = script()
    random.Random(seed).shuffle(rest)
    with suppress(UsageError):  # no poll of a stage comes before time goes back
        assert "time goes back here" in replayed(tmp_path, [header, *rest], plan).line


@pytest.mark.parametrize("kept", [0.4, 0.6, 0.8, 0.99])
def test_a_recording_that_was_cut_is_replayed_as_far_as_it_goes(tmp_path, plan, kept):
    """Half a line at its end is the rule after a kill."""
    path = tmp_path / "own.jsonl"
    text = "".join(f"{json.dumps(line)}\n" for line in script())
    whole, _, half = text[: int(len(text) * kept)].rpartition("\n")
    path.write_text(f"{whole}\n{half}")
    played = play(path, plan)

    assert played.now is Now.PROMOTED
    assert played.then.looks == whole.count('"canary"') > 10


def test_a_recording_of_the_stable_build_alone_says_what_it_is_for(tmp_path, plan):
    """It lies in the same folder as those of runs."""
    header, *rest = ours()
    rest = [line for line in rest if line.get("poll") == "baseline"]
    played = replayed(tmp_path, [{**header, "run": "record"}, *rest[:5]], plan)

    assert played.now is Now.NOT_DECIDED
    assert "the stable build alone, as `pytest-canary record` writes it; type `pytest-canary calibrate" in played.line


def test_a_recording_of_another_version_is_refused_with_what_to_do(tmp_path, plan):
    """It would be read wrong."""
    with pytest.raises(UsageError, match=r"own\.jsonl:1: found a recording of version 4, expected version 3; "):
        replayed(tmp_path, [{**HEADER, "recording": 4}], plan)


def test_a_broken_line_is_named_whenever_it_is_reached(tmp_path, plan):
    """Also when the gates have long decided: what happened is read to the end."""
    lines = script(bad=0.5)
    path = tmp_path / "own.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "oops\n")
    with pytest.raises(UsageError, match=rf"own\.jsonl:{len(lines) + 1}: found 'oops', expected a line of a recording"):
        play(path, plan)


def test_a_stage_that_was_left_before_todays_gates_decide_is_told(tmp_path):
    """A stricter gate needs more users than were there; the next stage has them."""
    plan = plan_of(tmp_path, 'gates.error_rate={max: "0.9%"}', "gates.error_rate.ratio=50")
    played = replayed(tmp_path, script(bad=0.013, polls=6), plan)

    assert played.now in (Now.ROLLED_BACK, Now.NOT_DECIDED), played.line
    assert "the recording goes on before today's gates decide; error_rate in doubt" in played.line


# -- marks of a run that are missing -----------------------------------------------------------------------------------


def ours(weights=(0.05, 0.5), polls: int = 30) -> list[dict]:
    """The lines of a run of ours, of version 2: nobody can tell from numbers that one is missing."""
    stages = [{"weight": weight, "hold": (polls - 2) * 10.0, "min_requests": 20} for weight in weights]
    plan = {"stages": stages, "poll": 10.0, "baseline": {"window": 100.0, "min_requests": 50}}
    made, index, looks = list[dict](), -1, 0
    for line in script(weights=weights, polls=polls):
        if "recording" in line:
            made.append({**line, "run": "run-1", "plan": plan})
        elif "event" in line:
            before = next(one for one in reversed(made) if "baseline" in one)
            sides = {"canary": {"c": {"requests": 0, "errors": 0}}, **before}
            index, looks = index + 1, 0
            made.append({**line, "data": {**line["data"], "index": index, "stage": f"{weights[index] * 100:g}%"}})
            made.append({**sides, "t": line["t"], "poll": "before"})
        elif index < 0:
            made.append({**line, "poll": "baseline"})
        else:
            looks += 1
            made.append({**line, "poll": "check" if looks == 1 else "look"})
            if looks == 1:
                made.append({"t": line["t"], "event": "split", "data": {}})
            if looks == polls:
                made.append({"t": line["t"], "event": "held", "data": {"index": index}})
    return made


def test_the_lines_of_a_run_of_ours_pass(tmp_path, plan):
    """What follows takes one away."""
    assert replayed(tmp_path, ours(), plan).line == "own: then no outcome, last at 50%; now promoted: " + (
        "every gate passed at every stage [replayed at the recorded stages 5%, 50%, not at today's 5%, 50%, 100%: "
        "traffic cannot be split again]"
    )


@pytest.mark.parametrize("nth", [0, 1])
@pytest.mark.parametrize("kind", ["stage", "before", "check", "split", "held"])
def test_a_mark_of_a_run_that_is_missing_never_speaks_against_the_canary(tmp_path, plan, kind, nth):
    """What was counted at the next stage would be taken for the split of this one."""
    lines = ours()
    del lines[[at for at, line in enumerate(lines) if kind in (line.get("event"), line.get("poll"))][nth]]

    assert replayed(tmp_path, lines, plan).now is Now.NOT_DECIDED


@pytest.mark.parametrize("kind", ["stage", "before", "check", "split", "held", "look"])
def test_a_mark_of_a_run_that_stands_twice_changes_nothing(tmp_path, plan, kind):
    """It is told."""
    lines = ours()
    at = next(at for at, line in enumerate(lines) if kind in (line.get("event"), line.get("poll")))
    played = replayed(tmp_path, [*lines[:at], lines[at], *lines[at:]], plan)

    assert played.now is Now.PROMOTED, played.line
    assert "[a line stands twice (up to line " in played.line


# -- plans and marks that make no sense --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan_told", "said"),
    [
        ({}, "a run whose plan has no stages"),
        ({"stages": 5}, "stages 5, expected a list such as [{'weight': 0.05}]"),
        ({"stages": [5]}, "stages [5], expected a list"),
        ({"stages": [{}]}, "stage 1 without a weight, expected 0..1"),
        ({"stages": [{"weight": "much"}]}, "weight 'much', expected a number"),
        ({"stages": [{"weight": 5}]}, "weight 5, expected 0 to 1"),
        ({"stages": [{"weight": 0.05, "hold": -1}]}, "hold -1, expected 0 to 1e+09"),
        ({"stages": [{"weight": 0.05, "min_requests": "nan"}]}, "min_requests nan, expected 0 to 1e+09"),
        ({"stages": [{"weight": 0.05, "allowance": 1e308}]}, "allowance 1e+308, expected 0 to 1000"),
        ({"stages": [{"weight": 0.05}], "baseline": 7}, "baseline 7, expected such as {'window': 600"),
        ({"stages": [{"weight": 0.05}], "poll": [1]}, "poll [1], expected a number"),
    ],
)
def test_a_plan_that_makes_no_sense_is_named_with_its_line(tmp_path, plan, plan_told, said):
    """Somebody has changed the header by hand."""
    with pytest.raises(UsageError) as error:
        replayed(tmp_path, [{**HEADER, "run": "run-1", "plan": plan_told}, *ours()[1:]], plan)
    assert str(error.value).startswith(f"{tmp_path}/own.jsonl:1: found ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("key", "value"), [("hold", "long"), ("min_requests", -1), ("deadline", [])])
def test_a_stage_of_a_script_that_makes_no_sense_is_named_with_its_line(tmp_path, plan, key, value):
    """The line is that of the stage, not of the header."""
    lines = script()
    lines[13]["data"][key] = value
    with pytest.raises(UsageError, match=rf"own\.jsonl:14: found {key} "):
        replayed(tmp_path, lines, plan)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "builds", "data": {"baseline": 5, "canary": {"image": "gateway:v2"}}},
        {"event": "builds", "data": {"baseline": {"image": "gateway:v1", "digest": [], "change": {"env": 1}}}},
        {"event": "held", "data": {"verdicts": [5, {"gate": [], "status": {}}]}},
        {"event": "held", "data": {"verdicts": 5}},
    ],
)
def test_what_a_replay_only_shows_may_be_anything(tmp_path, plan, event):
    """No verdict hangs on it."""
    header, *rest = ours()
    rest = [{**line, **event} if line.get("event") == event["event"] else line for line in rest]

    assert replayed(tmp_path, [header, {"t": 0.0, **event}, *rest], plan).now is Now.PROMOTED


def test_a_canary_that_counts_what_is_no_number_is_not_taken_for_a_good_one(tmp_path, plan):
    """Its source has divided by zero."""
    lines = script()
    for line in polls_of(lines):
        line["canary"]["c"]["requests"] = "nan"

    assert replayed(tmp_path, lines, plan).now is not Now.PROMOTED


def test_a_window_of_hours_is_thinned_and_says_the_same(tmp_path, plan, monkeypatch):
    """A day of the stable build, poll by poll, would fill the memory; its counts are those of all polls."""
    header, *rest = script(bad=0.1)
    first = {"t": -3000.0, "baseline": {"c": {"requests": 0, "errors": 0}}}
    early = [
        {"t": -3000.0 + 10 * nth, "baseline": {"c": {"requests": 10 * nth, "errors": nth // 10}}}
        for nth in range(1, 300)
    ]
    for line in rest:
        for part in line.values():
            if isinstance(part, dict) and "c" in part and line.get("t", 0) > 0 and part is line.get("baseline"):
                part["c"] = {"requests": part["c"]["requests"] + 3000, "errors": part["c"]["errors"] + 30}
    lines = [header, first, *early, *rest]
    whole = replayed(tmp_path, lines, plan)
    monkeypatch.setattr(sys.modules["pytest_canary.replay.marked"], "MOST", 20)
    polls = [line for line in marked(tmp_path / "own.jsonl").lines() if getattr(line, "poll", "") == "baseline"]
    thinned = play(tmp_path / "own.jsonl", plan)

    assert len(polls) <= 22
    assert (polls[0].at, polls[-1].at) == (-3000.0, 120.0)
    assert (thinned.now, thinned.looks) == (whole.now, whole.looks) == (Now.ROLLED_BACK, whole.looks)
    assert thinned.verdicts[0].baseline == whole.verdicts[0].baseline


def test_counters_that_began_anew_in_a_long_window_are_still_seen(tmp_path, plan, monkeypatch):
    """What was counted before and after must not be taken for one."""
    lines = script()
    lines[7:7] = [{"t": 65.0, "baseline": {"c": {"requests": 3, "errors": 0}}}]
    monkeypatch.setattr(sys.modules["pytest_canary.replay.marked"], "MOST", 2)

    assert "counters of the baseline began anew once" in replayed(tmp_path, lines, plan).line
