"""Promise 10: two runs of one rollout cannot overlap."""

from tests.promises.test_5_whatever_ends_the_session import GATE, finish, start


def test_a_second_run_is_refused_while_the_first_holds(project):
    """It says who holds the rollout, and touches nothing."""
    project.write(test_own=GATE.format(body="time.sleep(3)"))
    process = start(project)
    before = project.log.read_text()
    second = project.run(process=True)
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
