"""Promise 10: two runs of one rollout cannot overlap."""

import time

from tests.promises.test_5_whatever_ends_the_session import GATE, finish, start

UNTIL_DONE = "any(MARK.with_name('done').exists() or time.sleep(0.1) for _ in range(600))"
"""Holds the rollout as long as the other run takes, and no longer than a minute."""


def test_a_second_run_is_refused_while_the_first_holds(project):
    """It says who holds the rollout, and touches nothing."""
    project.write(test_own=GATE.format(body=UNTIL_DONE))
    process = start(project)
    before = project.log.read_text()
    second = project.run(process=True)
    (project.pytester.path / "rollouts/gateway/done").touch()
    first = finish(project, process)

    assert second.exit == 4
    assert str(process.pid) in second.out
    assert second.acts == [] or before
    assert first.exit == 0


def test_the_same_rollout_in_another_target_is_another_rollout(project):
    """A rehearsal does not block production."""
    project.write(
        test_own=GATE.format(body="time.sleep(3)"),
        replace={
            "targets:": "default_target: memory\ntargets:\n  other: {clock: {virtual: {}}, platform: {memory: {}},"
            " router: {memory: {}}, metrics: {memory: {rate: 100}}, probe: {memory: {}}}"
        },
    )
    process = start(project)
    second = project.run("--canary-target=other", "--deselect=x", process=True)
    first = finish(project, process)

    assert second.exit == 1
    assert first.exit == 0


def test_two_runs_of_one_second_in_one_process_leave_two_recordings(project, monkeypatch):
    """Written into one file, the second would be read as the first."""
    project.write()
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began)
    for image in ("gateway:v2", "gateway:v2-errors"):
        project.run(image=image)
    found = sorted((project.pytester.path / ".pytest_canary").rglob("recordings/*.jsonl"))

    assert len(found) == 2
    assert [path.read_text().count('"recording":3') for path in found] == [1, 1]
