"""Promise 6: order cannot be shuffled, and a gate cannot be rerun, repeated into a pass, or timed out."""

import pytest

RAMP = [0.0, 0.05, 0.25, 0.5, 1.0, 0.0]
SECOND = """
import pytest
@pytest.fixture(scope="session", params=["a", "b"])
def other(request): return request.param
def test_b(stage, other): pass
def test_a(stage): pass
"""


@pytest.mark.parametrize(
    "options",
    [
        ["-p", "pytest_randomly"],
        ["-p", "cacheprovider", "--nf"],
        ["-p", "cacheprovider", "--ff"],
        ["--count=2", "--repeat-scope=session"],
    ],
    ids=["randomly", "new first", "failed first", "repeat"],
)
def test_the_ramp_only_grows_whatever_another_plugin_shuffles(project, options):
    """25 % before 5 % would be no canary."""
    run = project.write(test_own=SECOND).run(*options, process=True)

    assert run.exit == 0, run.out
    assert run.shifts == RAMP


def test_a_conftest_that_reverses_the_items_changes_nothing(project):
    """We sort last."""
    project.write(test_own=SECOND)
    (project.pytester.path / "conftest.py").write_text(
        "import pytest\n@pytest.hookimpl(trylast=True)\ndef pytest_collection_modifyitems(items): items.reverse()"
    )
    run = project.run(process=True)

    assert run.exit == 0
    assert run.shifts == RAMP


def test_a_conftest_that_reorders_after_us_is_refused(project):
    """Rather no rollout than one in the wrong order."""
    project.write(test_own=SECOND)
    (project.pytester.path / "conftest.py").write_text("def pytest_collection_finish(session): session.items.reverse()")
    run = project.run(process=True)

    assert run.exit == 4
    assert not run.acts


def test_a_gate_that_would_pass_on_a_rerun_fails(project):
    """A rerun would hide a failing canary."""
    run = project.write(
        test_own="""
        import pathlib
        MARK = pathlib.Path(__file__).parent / "ran"
        def test_own(stage):
            first = not MARK.exists()
            MARK.touch()
            assert not first
        """
    ).run("--reruns=2", process=True)

    assert run.exit == 1
    assert not run.did("promote")


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_a_timeout_plugin_does_not_end_a_hold(project, method):
    """Holds have deadlines of their own; the thread method would end the process without a rollback."""
    run = project.write(test_own="import time\ndef test_own(stage): time.sleep(0.3)").run(
        "--timeout=0.1", f"--timeout-method={method}", process=True
    )

    assert run.exit == 0


@pytest.mark.parametrize("option", ["-n2", "-n1"])
def test_several_processes_are_refused(project, option):
    """Two workers would ship twice."""
    run = project.write().run(option, process=True)

    assert run.exit == 4
    assert "-n 0" in run.out
    assert not run.acts


def test_no_processes_are_fine(project):
    """`-n 0` is one process."""
    assert project.write().run("-n0", process=True).exit == 0
