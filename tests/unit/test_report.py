"""What a finished rollout leaves, judged by what a person on call needs from it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from pytest_canary import report
from pytest_canary.errors import UsageError
from pytest_canary.identity import Identity, Pinned, Said, Source
from pytest_canary.outcome import Cut, End, Outcome, Row
from pytest_canary.ports import Change, Revision, Seen
from pytest_canary.report.words import count, duration, shortened
from pytest_canary.steps.rollback import Drained
from pytest_canary.verdict import By, Counted, Status, Verdict

V1 = Revision("inference-gateway:v1", "d1")
BAD = Revision("inference-gateway:v2-errors", "d2", Change(env=(("TOKEN", "secret"),), model="m@7"))
GOOD = Revision("inference-gateway:v2", "d3")

CONVICTED = Verdict(
    "error_rate",
    0,
    Status.FAIL,
    By.EVIDENCE,
    Counted(61, 22, 22 / 61),
    Counted(540, 1, 1 / 540),
    "ratio <= 1.5",
    195.0,
    (51.0, math.inf),
    4.1e6,
    0.999,
    0.01,
    False,
    sentence="error_rate[10%]: canary 22/61 (36.07%) against baseline 1/540 (0.19%): 195x worse, limit 1.5x",
)
PROVED = Verdict("error_rate", 0, Status.PASS, By.PROOF, Counted(310, 3), Counted(900, 9), "ratio <= 1.5")
SOAKED = replace(PROVED, gate="latency_p99", by=By.SOAK, needed=1234.5)

UNDONE = Outcome(
    run="20260131-140509-77",
    service="inference-gateway",
    target="local",
    image="inference-gateway:v2-errors",
    end=End.ROLLED_BACK,
    why=CONVICTED.sentence,
    began_at=1_769_868_309.0,
    ended_at=1_769_868_341.5,
    stable=V1,
    canary=BAD,
    rows=(
        Row("deploy", True, "ready", 0.81),
        Row("ramp[10%]", True, "9.8% of 61 requests seen", 1.1),
        Row("rollback", True, "rolled back", 0.75),
    ),
    verdicts=(CONVICTED,),
    cut=Cut("error_rate", "10%", at=1000.58, seconds=0.058, first_bad_at=1000.18),
    drained=Drained(3, 0.21, 0),
    exposed=61,
    seen=Seen(sent=5312, answered=5312, failed=23, bad={BAD.pin: 22, V1.pin: 1}, served={BAD.pin: 61}),
    overrides=("stages=10,100",),
    warnings=("only error_rate is gated",),
    runbook="docs/runbooks/inference-api-debugging.md",
    recording="/root/.pytest_canary/inference-gateway/local/recordings/r.jsonl",
    rollout="rollouts/inference_gateway/rollout.yaml",
    unload_seconds=0.4,
)
SHIPPED = replace(
    UNDONE,
    image="inference-gateway:v2",
    end=End.PROMOTED,
    why="every required gate passed at every stage",
    stable=GOOD,
    canary=GOOD,
    previous=V1,
    rows=(Row("ramp[10%]", True, "", 1.0), Row("ramp[100%]", True, "", 1.0), Row("promote", True, "promoted", 0.5)),
    verdicts=(PROVED, SOAKED, replace(PROVED, stage=1), replace(SOAKED, stage=1, by=By.NOT_COMPARED, needed=None)),
    cut=None,
)


def line(text: str, label: str) -> str:
    """What stands beside ``label``, the lines it goes on in included."""
    starts = [n for n, each in enumerate(text.splitlines()) if each.strip().startswith(label + " ")]
    assert len(starts) == 1, (label, text)
    rest = text.splitlines()[starts[0] :]
    more = [each.strip() for each in rest[1:]]
    until = next((n for n, each in enumerate(rest[1:]) if not each.startswith("    ")), len(more))
    return " ".join([rest[0].strip().removeprefix(label).strip(), *more[:until]])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 ms"),
        (0.058, "58 ms"),
        (0.0996, "0.1 s"),
        (0.42, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min 0 s"),
        (72.2, "1 min 12 s"),
        (3599.9, "1 h 0 min"),
        (7380.0, "2 h 3 min"),
        (-0.2, "0 ms"),
    ],
)
def test_a_duration_has_the_digits_that_matter(seconds, words):
    """Nobody reads `72.193847 s` at night, and nothing ever takes 60 s of a minute."""
    assert duration(seconds) == words


def test_large_counts_are_grouped():
    """A request more or less in a million is seen at a glance."""
    assert count(1234567) == "1,234,567"


def test_a_shortened_text_ends_at_a_word():
    """Half a word may be another word."""
    assert shortened("one two three", 10) == "one two..."
    assert shortened("one two", 10) == "one two"


def test_the_first_line_of_a_rollback_says_what_where_and_who_serves_now():
    """It is what a notification shows."""
    first = report.text(UNDONE).splitlines()[0]

    assert first == report.last_line(UNDONE)
    assert first.startswith("rolled back on local at 10%: inference-gateway:v2-errors")
    assert "failed error_rate" in first
    assert first.endswith(f"{V1} has all the traffic")


def test_a_rollback_tells_all_that_a_person_on_call_asks():
    """Gate with both sides, users exposed, how fast, what was in flight, what was dropped, the runbook."""
    text = report.text(UNDONE, {"report": "/r/run.md", "metrics": "/r/out.metrics.jsonl"})

    assert "canary 22/61 (36.07%) against baseline 1/540 (0.19%)" in " ".join(text.split())
    assert line(text, "exposed") == "61 of 5,312 requests of users answered by the canary, 22 of them badly"
    assert line(text, "weight 0") == "0.4 s after the first bad answer; the shift itself took 58 ms"
    assert line(text, "drain") == "0.2 s, 3 requests were in flight, none had to be cut; unload 0.4 s"
    assert line(text, "dropped") == "0 requests of users without a whole answer"
    assert line(text, "steps") == "deploy 0.8 s, ramp[10%] 1.1 s, rollback 0.8 s"
    assert line(text, "override") == "stages=10,100"
    assert line(text, "runbook") == "docs/runbooks/inference-api-debugging.md"
    assert line(text, "report") == "/r/run.md"
    assert line(text, "metrics") == "/r/out.metrics.jsonl"
    assert line(text, "next").endswith(
        "mend the build, then: pytest rollouts/inference_gateway --image=inference-gateway:NEW --canary-target=local "
        "--canary-set stages=10,100"
    )


def test_a_gate_is_not_told_twice():
    """The reason of a rollback is the gate's own sentence already."""
    assert "why" not in report.text(UNDONE)
    assert line(report.text(replace(UNDONE, why="SIGTERM")), "why") == "SIGTERM"


def test_a_report_stays_on_one_screen():
    """Thirty gates may fail at once; the file has them all."""
    worst = replace(
        UNDONE,
        verdicts=(CONVICTED,) * 30,
        trouble=("cannot reach the router",) * 30,
        warnings=("careful",) * 30,
        rows=UNDONE.rows * 4,
    )
    text = report.text(worst)

    assert len(text.splitlines()) <= 40
    assert "and 26 more, in the report" in text
    assert len(report.text(UNDONE).splitlines()) <= 20


def test_no_line_is_wider_than_a_terminal_except_what_is_pasted():
    """A path or a command that is broken over two lines cannot be pasted."""
    long = replace(UNDONE, why="because " * 60, recording="/" + "deep/" * 60 + "r.jsonl")
    wide = [each for each in report.text(long).splitlines() if len(each) > 118]

    assert {each.split()[0] for each in wide[1:] or wide} <= {"metrics", "next"}


def test_a_rollback_without_a_bad_answer_says_so():
    """A cancelled run has nothing to blame on the build."""
    text = report.text(replace(UNDONE, cut=replace(UNDONE.cut, first_bad_at=None), verdicts=(), why="SIGINT"))

    assert line(text, "weight 0").startswith("no answer of it had failed")
    assert "SIGINT" in text.splitlines()[0]


def test_dropped_requests_are_named_with_their_reasons():
    """Zero is a promise; anything else must be found."""
    text = report.text(replace(UNDONE, seen=Seen(sent=9, dropped=3, dropped_why={"reset": 2, "truncated": 1})))

    assert line(text, "dropped") == "3 requests of users without a whole answer (2 reset, 1 truncated)"


def test_a_world_with_real_users_claims_nothing_about_dropped_requests():
    """Nobody stood at the users' side of the router."""
    assert "dropped" not in report.text(replace(UNDONE, seen=None))


def test_a_load_that_left_late_makes_the_run_invalid():
    """Its latencies measure this machine, not the build."""
    assert "not to be trusted" in report.text(replace(UNDONE, seen=Seen(lag_p99_seconds=0.012)))
    assert "not to be trusted" not in report.text(replace(UNDONE, seen=Seen(lag_p99_seconds=0.004)))


def test_requests_that_could_not_leave_make_the_run_invalid():
    """The builds were tried with another load than the one that was asked for."""
    text = report.text(replace(UNDONE, seen=Seen(sent=900, unsent=100)))

    assert line(text, "invalid").startswith("100 requests of 1,000 could not leave, too many under way")


def test_a_promotion_has_a_line_for_every_stage_by_proof_or_by_soak():
    """Passed is worth as much as the ground it stands on."""
    text = report.text(SHIPPED)

    assert text.splitlines()[0] == f"promoted on local: {GOOD} has all the traffic, instead of {V1}"
    assert line(text, "stage 10%") == (
        "310 canary requests; error_rate by proof; latency_p99 by soak (proof would take about 1,234 more requests)"
    )
    assert line(text, "stage 100%") == "310 canary requests; error_rate by proof; latency_p99 not compared"


def test_the_requests_of_a_stage_are_requests_and_not_their_tokens():
    """A mean over tokens has thirty values a request, and would have told of 9,300 requests."""
    tokens = replace(SOAKED, gate="inter_token_latency", canary=Counted(9300, 0), needed=None, of="values")
    text = report.text(replace(SHIPPED, verdicts=(PROVED, tokens)))

    assert line(text, "stage 10%") == "310 canary requests; error_rate by proof; inter_token_latency by soak"


def test_many_gates_that_passed_alike_are_counted_and_the_report_names_each():
    """Eight names at four stages hide the one that stands on something else."""
    at_10 = [verdict for verdict in SHIPPED.verdicts if verdict.stage == 0]
    soaked = [replace(at_10[1], gate=f"gate_{number}") for number in range(5)]
    text = report.text(replace(SHIPPED, verdicts=(at_10[0], *soaked)))

    assert line(text, "stage 10%") == "310 canary requests; error_rate by proof; 5 gates by soak"


def test_the_stages_passed_before_a_rollback_are_named():
    """How far it came tells how small the harm can have been."""
    late = replace(
        UNDONE,
        rows=SHIPPED.rows,
        verdicts=(PROVED, replace(CONVICTED, stage=1)),
        cut=replace(UNDONE.cut, stage="100%"),
    )

    assert line(report.text(late), "passed") == "10%"


def test_a_kept_world_says_how_to_stop_it_and_how_to_go_back():
    """It goes on serving after the command has ended."""
    text = report.text(replace(SHIPPED, keep=True, overrides=()))

    assert "pytest-canary revert inference-gateway rollouts/inference_gateway/rollout.yaml --target local" in text
    assert text.splitlines()[-1].endswith("pytest-canary down rollouts/inference_gateway/rollout.yaml --target local")


def test_not_restored_asks_for_a_human_before_anything_else():
    """The first line, what went wrong, then the command that puts it back."""
    lost = replace(UNDONE, end=End.NOT_RESTORED, trouble=("the canary's weight could not be set to 0: 503",))
    lost = replace(lost, overrides=())
    text = report.text(lost)

    assert text.splitlines()[0].startswith("NOT RESTORED on local: a human must look now")
    assert text.splitlines()[1].split(maxsplit=1) == ["trouble", "the canary's weight could not be set to 0: 503"]
    assert text.splitlines()[-1].endswith(
        "pytest-canary recover rollouts/inference_gateway/rollout.yaml --target local"
    )


def test_a_state_folder_of_ones_own_stands_in_the_commands():
    """A command without it would find nothing to recover, and say so."""
    moved = replace(UNDONE, end=End.NOT_RESTORED, recording="/var/lib/my state/gateway/local/recordings/r.jsonl")

    said = report.text(moved).splitlines()[-1]
    assert said.endswith("--target local --state '/var/lib/my state' --set stages=10,100")
    assert "--canary-state '/var/lib/my state'" in report.text(replace(moved, end=End.ROLLED_BACK))


def test_what_was_typed_stands_in_every_command_that_is_printed():
    """A command that is pasted is to mean the same run: `--canary-set` of pytest is `--set` of the others."""
    typed = replace(UNDONE, overrides=("stages=10,100", "runbook=a b"))
    kept = replace(SHIPPED, keep=True, overrides=typed.overrides)
    given = "--set stages=10,100 --set 'runbook=a b'"

    for outcome in (replace(typed, end=End.NOT_RESTORED), kept):
        commands = [each for each in report.text(outcome).splitlines() if "pytest-canary " in each]
        assert len(commands) == 2
        assert all(each.endswith(f"--target local {given}") for each in commands)
    for end in (End.ROLLED_BACK, End.NOT_STARTED):
        text = line(report.text(replace(typed, end=end)), "next")
        assert text.endswith("--canary-target=local --canary-set stages=10,100 --canary-set 'runbook=a b'")


def test_a_command_names_the_folder_as_it_is_reached_from_where_pytest_was_typed():
    """The root of pytest may be another folder."""
    text = report.text(replace(UNDONE, folder="inference_gateway"))

    assert "pytest inference_gateway --image=" in text


def test_another_target_is_not_given_what_was_set_for_this_one():
    """A rehearsal's short stages are no rollout for users."""
    assert report.text(SHIPPED).splitlines()[-1].endswith("--image=inference-gateway:v2 --canary-target=NAME")


@pytest.mark.parametrize("end", [End.ROLLED_BACK, End.NOT_STARTED])
def test_a_run_that_somebody_ended_asks_nobody_to_mend_the_build(end):
    """Nothing was said against it."""
    text = line(report.text(replace(UNDONE, end=end, why="SIGINT", verdicts=(), interrupted=True)), "next")

    assert "mend" not in text
    assert text.startswith("nobody has to act now; to ship it after all: pytest rollouts/inference_gateway ")
    assert "--image=inference-gateway:v2-errors" in text


SIMULATED = replace(UNDONE, simulated="seed 1, 100 requests/s", recording="", image="inference-gateway:simulated")
POWER = ("power", "--gate", "error_rate", "--sizes", "3")


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (
            replace(SIMULATED, how_often=POWER),
            "such a build is stopped; see that a good one passes: pytest rollouts/inference_gateway --canary-simulate "
            "--canary-target=local --canary-set stages=10,100",
        ),
        (
            SIMULATED,
            "a build like the stable one was rolled back; learn how often: pytest-canary power "
            "rollouts/inference_gateway/rollout.yaml --target local --set stages=10,100",
        ),
        (
            replace(SIMULATED, verdicts=(), why="a test failed"),
            "mend what is named above, then see that a good one passes: pytest rollouts/inference_gateway "
            "--canary-simulate --canary-target=local --canary-set stages=10,100",
        ),
        (
            replace(SIMULATED, end=End.NOT_STARTED, how_often=POWER),
            "mend what is named above, then see that a good one passes: pytest rollouts/inference_gateway "
            "--canary-simulate --canary-target=local --canary-set stages=10,100",
        ),
    ],
    ids=["stopped", "good", "a test", "not started"],
)
def test_after_a_simulation_that_did_not_pass_no_build_is_to_be_mended_or_shipped(outcome, says):
    """There was none: what comes next is about the gates."""
    assert line(report.text(outcome), "next") == says


def test_a_simulation_that_somebody_ended_asks_for_nothing():
    """It took a second, and told nothing."""
    assert "next" not in report.text(replace(SIMULATED, why="SIGINT", verdicts=(), interrupted=True))


def test_not_started_says_that_no_user_met_it():
    """There is nothing to apologise for."""
    early = replace(
        UNDONE, end=End.NOT_STARTED, why="smoke: status 500", verdicts=(), cut=None, drained=None, exposed=0
    )
    text = report.text(early)

    assert "met no user" in text.splitlines()[0]
    assert line(text, "why") == "smoke: status 500"
    assert "exposed" not in text


def test_an_unchanged_build_is_said_to_be_stable_already():
    """Nothing happened, and that is good."""
    same = replace(SHIPPED, end=End.UNCHANGED, rows=(), verdicts=(), seen=None, drained=None)

    assert report.last_line(same) == f"already stable on local: {GOOD}; nothing was deployed"
    assert "--canary-again" in report.text(same)


def test_an_alert_is_reported_and_blames_nobody():
    """It does not change how a rollout ends."""
    alert = replace(CONVICTED, alert=True)
    text = report.text(replace(SHIPPED, verdicts=(PROVED, alert)))

    assert "195x worse" in " ".join(text.split())
    assert line(text, "stage 10%") == "310 canary requests; error_rate by proof"


@pytest.mark.parametrize("outcome", [UNDONE, SHIPPED, replace(UNDONE, stable=None, canary=None, rows=(), verdicts=())])
def test_every_outcome_has_the_same_json_keys(outcome):
    """A program that reads one report can read them all."""
    data = report.to_json(outcome)

    assert data.keys() == report.to_json(UNDONE).keys()
    assert data["schema"] == 1
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_the_json_keys_are_those_that_are_documented(request):
    """Renaming one breaks somebody's pipeline."""
    page = (request.config.rootpath / "docs/commands.md").read_text()
    data = report.to_json(UNDONE)
    nested = [data["steps"][0], data["verdicts"][0], data["cut"], data["drained"], data["users"], data["canary"]]

    assert {key for part in (data, *nested) for key in part if f"`{key}`" not in page} == set()


def test_numbers_without_an_end_are_null_in_json():
    """JSON has no infinity, and programs choke on it."""
    assert report.to_json(UNDONE)["verdicts"][0]["interval"] == [51.0, None]


def test_the_values_of_a_builds_environment_never_leave_in_a_report():
    """Reports travel to places where tokens must not go."""
    assert report.to_json(UNDONE)["canary"]["env"] == ["TOKEN"]
    for said in (json.dumps(report.to_json(UNDONE)), report.text(UNDONE), report.markdown(UNDONE)):
        assert "secret" not in said


def test_markdown_has_every_verdict_and_every_step():
    """The page is what stays when the terminal is gone."""
    page = report.markdown(UNDONE)

    assert page.startswith("# rolled back on local at 10%")
    assert "| 10% | error_rate | fail by evidence | 22/61 | 1/540 | ratio &lt;= 1.5 |" in page
    assert "| deploy | ok | 0.8 s | ready |" in page
    assert "2026-01-31 14:05:09 UTC, 32 s" in page


def test_nothing_can_break_out_of_a_markdown_table():
    """An error text may hold anything."""
    page = report.markdown(replace(UNDONE, why="a | b\n# c <script>"))
    row = next(each for each in page.splitlines() if each.startswith("| **why**"))

    assert row == "| **why** | a \\| b # c &lt;script> |"


@pytest.mark.parametrize("suffix", [".md", ".json"])
def test_a_report_is_written_by_the_suffix_of_its_name(tmp_path, suffix):
    """Folders on the way are made; nothing else is left beside it."""
    path = tmp_path / "new folder" / f"report{suffix}"
    report.write(UNDONE, path)

    assert path.read_text().startswith({".md": "# rolled back", ".json": "{"}[suffix])
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["report.html", "report"])
def test_another_suffix_is_one_clear_error(tmp_path, name):
    """It is found before anything is deployed."""
    with pytest.raises(UsageError, match=r"expected \.md or \.json"):
        report.check_suffix(tmp_path / name)
    with pytest.raises(UsageError):
        report.write(UNDONE, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def pinned(image, **more):
    """A build with its model and policy."""
    said = (Said(Source.MODELS, "llama", "3"), Said(Source.ANSWERS, "llama", "fp_1"))
    return Pinned(Revision(image, f"sha256:{'ab' * 32}"), Identity(said), **more)


def test_what_serves_now_and_what_was_shipped_are_told_with_all_they_are_pinned_by():
    """Image, model and who says so, policy; in the text, in Markdown and for programs."""
    pins = {"stable": pinned("gw:v1", policy="p6"), "canary": pinned("gw:v2")}
    text, page = report.text(replace(UNDONE, pins=pins)), report.markdown(replace(UNDONE, pins=pins))
    data = report.to_json(replace(UNDONE, pins=pins))["pins"]

    assert "pin now" in text
    assert "sha256:abababababab, model llama@3 (/v1/models, response body), policy p6" in page
    assert data["stable"]["policy"] == "p6"
    assert data["canary"]["policy"] is None
    assert data["canary"]["model_said_by"] == {"/v1/models": "llama@3", "response body": "llama@fp_1"}
    json.dumps(data)


def test_a_promoted_build_is_told_once():
    """It is the canary, and what serves now."""
    pins = {"stable": pinned("gw:v2"), "canary": pinned("gw:v2"), "previous": pinned("gw:v1")}
    labels = [line.split("  ")[1] for line in report.text(replace(UNDONE, pins=pins)).splitlines() if "  pin " in line]

    assert labels == ["pin now", "pin before"]
