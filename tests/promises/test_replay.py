"""`pytest rollouts/ --canary-replay FILE`: today's gates over what was recorded, by the plugin itself."""

from __future__ import annotations

import gzip
import os

import pytest

OWN = """
    def test_errors(stage):
        assert stage.canary.rate("errors") <= 0.25

    def test_clients(stage):
        if stage.index == 1:
            stage.check("client_error_rate", ratio=3)

    def test_normal(baseline):
        assert baseline.rate("errors") < 0.5

    def test_ask(canary):
        assert canary.ask("hello").status == 200
"""


LEFT: dict[str, bytes] = {}
"""What the two runs have left, by name: they are the same for every test."""


@pytest.fixture
def shipped(project):
    """A project in which a good build was shipped, and then a bad one."""
    project.write(test_own=OWN)
    here = project.pytester.path
    if not LEFT:
        assert project.run(image="gateway:v2").exit == 0
        assert project.run(image="gateway:v2-errors").exit == 1
        LEFT.update({str(path.relative_to(here)): data for path, data in state(project).items()})
    for name, data in LEFT.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(data)
    return project


def state(project):
    """Everything below the state folder and the world, with its content."""
    files = [*project.pytester.path.rglob(".pytest_canary/**/*"), *project.pytester.path.rglob("world.*")]
    return {path: path.read_bytes() for path in files if path.is_file()}


def lines(run):
    """One for each recording."""
    return [line for line in run.out.splitlines() if line.startswith("canary replay")]


def test_a_folder_of_recordings_is_replayed_with_one_line_each(shipped):
    """What happened, what would happen now, why."""
    run = shipped.run("--canary-replay=.pytest_canary", "--canary-replay-expect=same", image=None)
    good, bad = lines(run)

    assert run.exit == 0, run.out
    assert "then promoted; now promoted: every gate passed at every stage" in good
    assert "then rolled back at 5% after " in bad
    assert "by error_rate; now the same, at the same poll: error_rate[5%]: canary " in bad


def test_nothing_is_touched_by_a_replay(shipped):
    """Neither the target, nor its ledger, nor its history, nor its recordings."""
    before = state(shipped)
    shipped.run("--canary-replay=.pytest_canary", image=None)

    assert len(before) > 5
    assert state(shipped) == before


def test_every_recording_has_a_row_in_junit(shipped):
    """So that CI shows which one differs."""
    run = shipped.run("--canary-replay=.pytest_canary", "--canary-replay-expect=promoted", image=None)

    assert run.exit == 1
    assert sorted(run.rows.values()) == ["failed", "passed"]
    assert all(name.startswith("replay[") for name in run.rows)
    assert "expected promoted: " in run.out


def test_stricter_gates_of_today_stop_what_was_promoted(shipped):
    """The question that a replay answers."""
    run = shipped.run("--canary-replay=.pytest_canary", "--canary-set", "gates.error_rate={max: 0.002}", image=None)

    assert run.exit == 0
    assert "then promoted; now rolled back at " in lines(run)[0]


def test_looser_gates_of_today_find_the_recording_too_short(shipped):
    """Where the run was cut nobody knows what would have come."""
    run = shipped.run(
        "--canary-replay=.pytest_canary", "--canary-set", "gates.error_rate.action=alert",
        "--canary-replay-expect=rolled-back", image=None,
    )  # fmt: skip

    assert run.exit == 1
    assert "now not decided at 5%: the recording ends here, because the run was cut: error_rate[5%]: " in lines(run)[1]


def test_tests_at_stages_are_asked_too(shipped):
    """A gate of one's own runs unchanged; `stage` is the recorded one."""
    own = shipped.pytester.path / "rollouts/gateway/test_own.py"
    own.write_text(own.read_text().replace("<= 0.25", "<= 0.001"))
    good, _ = lines(shipped.run("--canary-replay=.pytest_canary", image=None))

    assert "then promoted; now rolled back at " in good
    assert "%] failed: AssertionError: assert 0.01" in good


def test_tests_that_ask_the_canary_itself_are_left_out_and_named(shipped):
    """Nobody is there who could answer."""
    own = shipped.pytester.path / "rollouts/gateway/test_own.py"
    own.write_text("def test_ask(stage, canary):\n    assert canary.ask('hello').status == 200\n")
    good, _ = lines(shipped.run("--canary-replay=.pytest_canary", image=None))

    assert "[test_ask asks the canary itself and was left out]" in good


def test_a_test_that_wants_more_of_a_stage_than_was_recorded_is_left_out_there(shipped):
    """Nobody knows what would have come, so it speaks neither for nor against the canary."""
    own = shipped.pytester.path / "rollouts/gateway/test_own.py"
    own.write_text("def test_long(stage):\n    stage.wait(3600)\n")
    good, _ = lines(shipped.run("--canary-replay=.pytest_canary", image=None))

    assert "now promoted" in good
    assert "[test_long asks for more of a stage than was recorded, and was left out there]" in good


def test_other_stages_of_today_are_named_and_not_replayed(shipped):
    """Traffic cannot be split again."""
    run = shipped.run("--canary-replay=.pytest_canary", "--canary-set", "stages=1,50,100", image=None)

    assert "[replayed at the recorded stages 5%, 25%, 50%, 100%, not at today's 1%, 50%, 100%: traffic" in run.out


def test_a_file_that_is_no_recording_is_named_and_the_others_are_replayed(shipped):
    """In one line, and the exit code is that of bad input."""
    folder = next((shipped.pytester.path / ".pytest_canary").rglob("recordings"))
    (folder / "0.jsonl").write_text("no recording\n")
    run = shipped.run("--canary-replay=.pytest_canary", image=None)

    assert run.exit == 4
    assert "recordings/0.jsonl:1: found 'no recording', expected the header of a recording" in lines(run)[0]
    assert len(lines(run)) == 3


def test_whatever_lies_in_a_folder_is_named_in_one_line_and_the_recordings_are_replayed(shipped):
    """A pipe must not be waited for; a line that is missing is said, not guessed."""
    state_folder = next((shipped.pytester.path / ".pytest_canary").rglob("recordings"))
    good, _ = sorted(state_folder.glob("*.jsonl"), key=lambda path: path.stem)  # two runs of one second
    folder = shipped.pytester.path / "incidents"
    (folder / "folder.jsonl").mkdir(parents=True)
    os.mkfifo(folder / "pipe.jsonl")
    whole = good.read_bytes()
    (folder / "good.jsonl").write_bytes(whole)
    (folder / "packed.jsonl").write_bytes(gzip.compress(whole))
    (folder / "missing.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:39] + whole.splitlines(True)[40:]))
    (folder / "notes.txt").write_text("what happened that night")
    run = shipped.run("--canary-replay=incidents", image=None)
    said = {line.partition("replay ")[2].partition(":")[0]: line for line in lines(run)}

    assert run.exit == 4
    assert "found a folder, expected a recording" in said["incidents/folder.jsonl"]
    assert "now promoted" in said["good"]
    assert "[replayed up to line 40: a line is missing here (`n` goes from 39 to 41)" in said["missing"]
    assert "found a file packed by gzip" in said["incidents/packed.jsonl"]
    assert "found no plain file, expected a recording" in said["incidents/pipe.jsonl"]
    assert "Traceback" not in run.out
    assert len(said) == 5


def test_the_folder_of_a_target_is_its_recordings(shipped):
    """Ledger and outcomes lie beside them, and are none."""
    run = shipped.run("--canary-replay=.pytest_canary/gateway/memory", image=None)

    assert run.exit == 0, run.out
    assert len(lines(run)) == 2


def test_ctrl_c_ends_a_replay_with_a_line_and_the_status_of_an_interrupt(shipped):
    """A large recording takes its time, and nothing is there to be put right."""
    own = shipped.pytester.path / "rollouts/gateway/test_own.py"
    own.write_text("def test_patience(stage):\n    raise KeyboardInterrupt\n")
    run = shipped.run("--canary-replay=.pytest_canary", image=None, process=True)

    assert run.exit == 2
    (line,) = lines(run)
    assert "ended by Ctrl-C at " in line
    assert line.endswith("; 1 more were not replayed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--canary-replay=nowhere.jsonl",), "--canary-replay: found no file nowhere.jsonl"),
        (("--canary-replay=rollouts",), "--canary-replay: rollouts holds no recording"),
        (("--canary-replay=x", "--image=gateway:v2"), "--canary-replay ships nothing: drop --image"),
    ],
)
def test_what_was_mistyped_is_said_before_anything_is_read(project, words, said):
    """With what was expected."""
    run = project.write().run(*words, image=None)

    assert run.exit == 4
    assert said in run.out


def test_a_replay_without_a_rollout_is_refused(project):
    """Nobody's gates would be asked."""
    (project.pytester.path / "rollouts").mkdir()
    (project.pytester.path / "rollouts/test_other.py").write_text("def test_it():\n    pass\n")
    run = project.run("--canary-replay=x.jsonl", image=None)

    assert run.exit == 4
    assert "--canary-replay: no rollout.yaml was found beside the collected tests" in run.out


def test_a_recording_of_another_service_is_refused(shipped):
    """Its gates are others."""
    file = shipped.pytester.path / "rollouts/gateway/rollout.yaml"
    file.write_text(file.read_text().replace("service: gateway", "service: shop"))
    run = shipped.run("--canary-replay=.pytest_canary", image=None)

    assert run.exit == 4
    assert ":1: found a recording of gateway, and rollouts of shop; name the folder of the one you mean" in run.out


def test_a_recording_of_another_target_is_asked_that_targets_gates(shipped):
    """A rehearsal has other gates than production."""
    file = shipped.pytester.path / "rollouts/gateway/rollout.yaml"
    text = file.read_text().replace("service: gateway", "service: gateway\ndefault_target: cloud")
    cloud = "  cloud:\n    platform: {memory: {}}\n    router: {memory: {}}\n    metrics: {memory: {}}\n"
    file.write_text(text + cloud + "    gates: {error_rate: {max: 0.002}}\n")
    _, bad = lines(shipped.run("--canary-replay=.pytest_canary", image=None))
    _, other = lines(shipped.run("--canary-replay=.pytest_canary", "--canary-target=cloud", image=None))

    assert "now the same, at the same poll" in bad
    assert "s earlier: error_rate[5%]: " in other


def test_a_promotion_that_starts_pods_is_replayed_up_to_the_return_of_the_traffic(project):
    """What the gates said on the way out is what a replay is about."""
    project.write(platform="rebuilds: true")
    assert project.run().exit == 0
    run = project.run("--canary-replay=.pytest_canary", "--canary-replay-expect=same", image=None)

    assert run.exit == 0, run.out
    assert "then promoted; now promoted" in run.out


def test_what_a_killed_run_has_left_is_replayed_as_far_as_it_goes(shipped):
    """Killed in the baseline window, at the first stage, at the third, and in the middle of a line."""
    found = (shipped.pytester.path / ".pytest_canary").rglob("recordings/*.jsonl")
    whole = min(found, key=lambda path: path.stem).read_text()
    folder = shipped.pytester.path / "killed"
    folder.mkdir()
    for part in (0.2, 0.35, 0.6, 0.9):
        (folder / f"{part}.jsonl").write_text(whole[: int(len(whole) * part)])
    run = shipped.run("--canary-replay=killed", "--canary-replay-expect=same", image=None)

    assert run.exit == 0, run.out
    assert len(lines(run)) == 4
    assert all("then no outcome" in line and "now not decided" in line for line in lines(run))


def test_a_control_is_replayed_too(project):
    """It has a role of its own in the recording."""
    project.write(replace={"warmup: 0s": "warmup: 0s\ncontrol: true"})
    assert project.run().exit == 0
    run = project.run("--canary-replay=.pytest_canary", "--canary-replay-expect=same", image=None)

    assert run.exit == 0, run.out


def test_an_outage_of_the_source_is_replayed_as_one(project):
    """No data is not good news, then as now."""
    project.write(metrics="outage: {after: 12, for: 5}")
    first = project.run()
    run = project.run("--canary-replay=.pytest_canary", "--canary-replay-expect=same", image=None)

    assert first.exit == run.exit == 0, run.out
