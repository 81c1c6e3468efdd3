"""Promise 1: only --image deploys; looking, mistakes and broken files deploy nothing."""

import pytest


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan", "--fixtures", "--markers"])
def test_looking_deploys_nothing(project, option):
    """Whoever explores a project must be able to do so with the real command line."""
    run = project.write().run(option)

    assert run.exit == 0
    assert not run.acts


def test_without_an_image_preflight_runs_and_gates_are_skipped(project):
    """The file can be checked on every commit; the last line says that nothing was deployed."""
    run = project.write(test_pre="def test_names_are_unique(): pass\ndef test_gate(stage): pass").run(image=None)

    assert run.exit == 0
    assert run.rows["test_names_are_unique"] == "passed"
    assert run.rows["error_rate[5%]"] == "skipped"
    assert "nothing was deployed: add --image=" in run.out
    assert not run.acts


def test_the_plan_is_printed(project):
    """What will be done is read before it is done."""
    run = project.write().run(image=None)

    assert "5%" in run.out
    assert "error_rate" in run.out


def test_an_empty_image_is_a_usage_error(project):
    """A CI variable that is not set must not look like a rollout."""
    run = project.write().run(image="")

    assert run.exit == 4
    assert not run.acts


def test_setup_only_is_refused(project):
    """It would run fixtures, and so deploy, and then decide nothing."""
    run = project.write().run("--setup-only")

    assert run.exit == 4
    assert not run.acts


def test_a_broken_file_deploys_nothing_and_names_the_line(project):
    """One clear line with the place, no traceback."""
    run = project.write(replace={"min_requests: 20": "min_request: 20"}).run()

    assert run.exit == 4
    assert "rollout.yaml:5" in run.out
    assert "min_requests" in run.out
    assert "Traceback" not in run.out
    assert not run.acts


def test_a_collection_error_beside_it_deploys_nothing(project):
    """A gate that cannot be imported is a gate that would not be asked."""
    run = project.write(test_broken="import nothing_like_this").run()

    assert run.exit == 2
    assert not run.acts


def test_a_failing_preflight_test_deploys_nothing(project):
    """Tests that ask for none of our fixtures run before anything is deployed."""
    run = project.write(test_pre="def test_no(): assert False").run()

    assert run.exit == 1
    assert not run.did("deploy")
    assert run.rows["error_rate[5%]"] == "skipped"


def test_an_image_without_a_rollout_is_a_usage_error(pytester):
    """`pytest tests/ --image=...` by mistake must not end as a success."""
    pytester.makepyfile("def test_one(): pass")
    result = pytester.runpytest_inprocess("--image=gateway:v2")

    assert result.ret == 4
