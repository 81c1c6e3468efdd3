"""Promise 2: with --image, exit 0 means promoted, and every other number says why not."""

import pytest

DYING = """
from pytest_canary import MemoryPlatform, Readiness

class Dying(MemoryPlatform):
    def ready(self, revision):
        if revision.tag == "v1" and self._world.state.shares.get("baseline", 1.0) == 1.0 and self.deployed:
            return Readiness(False, "it is gone", hopeless=True)
        return super().ready(revision)

    deployed = False

    def deploy(self, revision):
        super().deploy(revision)
        self.deployed = self.deployed or revision.tag != "v1"

def pytest_canary_platform(name, options, shared):
    return Dying(MemoryPlatform.Options(store="world.json", log="world.log"), shared) if name == "dying" else None
"""


def test_0_means_promoted_and_the_outcome_names_the_target(project):
    """A pipeline that rehearses must not believe it shipped."""
    run = project.write().run()

    assert run.exit == 0
    assert "promoted on memory" in run.out
    assert run.shifts == [0.0, 0.05, 0.25, 0.5, 1.0, 0.0]
    assert run.did("promote")


def test_1_means_rolled_back(project):
    """A failed gate."""
    run = project.write().run(image="gateway:v2-errors")

    assert run.exit == 1
    assert "rolled back on memory" in run.out
    assert not run.did("promote")


@pytest.mark.parametrize(
    ("platform", "image", "reason"),
    [
        ("", "gateway:missing", "missing"),
        ("not_ready: [v2]", "gateway:v2", "v2"),
        ("models: {v2: '8'}", "gateway:v2", "8"),
    ],
)
def test_1_means_not_started_too(project, platform, image, reason):
    """No build behind the image, a build that never becomes ready, another model: no user meets it."""
    run = project.write(platform=platform, replace={"deadline: 120s": "deadline: 120s\nready_timeout: 5s"}).run(
        image=image
    )

    assert run.exit == 1
    assert "not started on memory" in run.out
    assert reason in run.out
    assert set(run.shifts) <= {0.0}


def test_a_wrong_tag_is_told_by_its_step_and_in_the_report_and_not_again(project):
    """Nobody reads one long sentence five times; JUnit has it in every row that needs it."""
    run = project.write().run(image="gateway:missing")
    # The line that begins with FAILED is pytest's own; where the variable CI is set it is told whole.
    ours = [each for each in run.out.splitlines() if not each.startswith("FAILED ")]
    told = [each for each in ours if "no build with the tag" in each]

    assert [each.split()[:3] for each in told] == [["canary", "verify", "image"], ["why", "gateway:missing:", "no"]]
    assert "not started on memory: verify image failed\n" in run.out
    assert "FAILED rollouts/gateway/rollout.yaml::verify image" in run.out
    assert "no build with the tag 'missing'" in run.messages["rollback"]


def test_4_means_usage(project):
    """An unknown target."""
    run = project.write().run("--canary-target=nowhere")

    assert run.exit == 4
    assert "memory" in run.out


def test_4_means_an_image_that_fits_several_rollouts_with_the_commands_to_choose_one(project):
    """They name the target and what was set, as typed."""
    project.write().write(folder="rollouts/other")
    run = project.run("--canary-target=memory", "--canary-set", "hold=9s")

    assert run.exit == 4
    more = "--image=gateway:v2 --canary-target=memory --canary-set hold=9s"
    assert f"pytest rollouts/gateway/ {more}; pytest rollouts/other/ {more}" in run.out


def test_5_means_nothing_collected(project):
    """Pytest's own."""
    assert project.write().run("-k", "nothing_like_this").exit == 5


def test_70_means_a_human_must_look(project):
    """When the way back fails, no other number may hide it."""
    run = project.write(platform="fail: {remove: it will not go}").run(image="gateway:v2-errors")

    assert run.exit == 70
    assert "it will not go" in run.out
    assert run.rows["rollback"] == "failed"


def test_what_was_not_restored_is_put_right_by_the_next_run(project):
    """It had ended, and was not settled."""
    project.write(platform="fail: {remove: it will not go}").run(image="gateway:v2-errors")
    run = project.write().run()

    assert run.exit == 0
    assert run.rows["recover"] == "passed"
    assert run.did("remove v2-errors")


def test_a_stable_build_that_cannot_answer_is_no_known_good_state(project):
    """It has all the traffic: whoever reads the exit status must look."""
    (project.pytester.path / "conftest.py").write_text(DYING)
    run = project.write(
        replace={"platform: {memory: {store: world.json, log: world.log }}": "platform: {dying: {}}"}
    ).run(image="gateway:v2-errors")

    assert run.exit == 70
    assert "has all the traffic and cannot answer: it is gone" in run.messages["rollback"]


def test_a_build_that_is_already_stable_is_said_in_one_line(project):
    """Shipping the same thing twice is not an error."""
    run = project.write().run(image="gateway:v1")

    assert run.exit == 0
    assert run.rows["promote"] == "passed"
    assert "already stable" in run.out
    assert not run.did("deploy")


def test_again_rolls_out_a_stable_build_as_an_a_a_test(project):
    """Whether the gates are quiet on the same build is worth knowing."""
    run = project.write().run("--canary-again", image="gateway:v1")

    assert run.exit == 0
    assert run.shifts[:3] == [0.0, 0.05, 0.25]


def test_a_build_that_was_rolled_back_before_is_named_with_its_report(project):
    """The second attempt should know of the first."""
    project.write().run(image="gateway:v2-errors")
    run = project.run(image="gateway:v2-errors")

    assert "was rolled back before" in run.out
    assert ".md" in run.out


def test_a_build_that_was_rolled_back_before_can_be_refused(project):
    """`refuse_rejected: true`."""
    project.write(replace={"poll: 1s": "poll: 1s\nrefuse_rejected: true"}).run(image="gateway:v2-errors")
    run = project.run(image="gateway:v2-errors")

    assert run.exit == 1
    assert not run.did("deploy")


def test_a_build_whose_run_was_merely_cancelled_is_not_refused(project):
    """Nothing spoke against it."""
    project.write(
        test_own="def test_own(stage):\n    if stage.index: raise KeyboardInterrupt",
        replace={"poll: 1s": "poll: 1s\nrefuse_rejected: true"},
    )
    project.run(process=True)
    project.write(test_own="", replace={"poll: 1s": "poll: 1s\nrefuse_rejected: true"})

    assert project.run().exit == 0
