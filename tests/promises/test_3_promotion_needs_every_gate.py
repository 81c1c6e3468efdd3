"""Promise 3: promotion needs a pass from every required gate at every stage; a narrowed run never promotes."""

import pytest


@pytest.mark.parametrize(
    "narrowing",
    [
        ["-k", "error_rate"],
        ["-m", "gate"],
        ["--deselect", "rollouts/gateway/test_own.py::test_own[5%]"],
        ["--ignore", "rollouts/gateway/test_own.py"],
    ],
)
def test_a_narrowed_run_never_promotes(project, narrowing):
    """What was left out has not passed."""
    run = project.write(
        test_own="import pytest\n@pytest.mark.gate('ttft_p99', ratio=2)\ndef test_own(stage): pass"
    ).run(*narrowing)

    assert run.exit == 1
    assert not run.did("promote")


def test_last_failed_never_promotes(project):
    """--lf drops whole files without telling anybody."""
    project.write(test_own="import os\ndef test_own(stage): assert os.path.exists('now')")
    plugins = ("-o", "cache_dir=.cache", "-p", "cacheprovider")
    first = project.run(*plugins, process=True)
    (project.pytester.path / "now").touch()
    second = project.run(*plugins, "--lf", process=True)

    assert first.exit == 1
    assert second.exit == 1
    assert not second.did("promote")


def test_one_node_id_never_promotes(project):
    """Trying one gate by hand is not a rollout."""
    project.write()
    result = project.pytester.runpytest_inprocess(
        "rollouts/gateway/rollout.yaml::error_rate[100%]",
        "--image=gateway:v2",
    )

    assert result.ret == 1
    assert "promote v2" not in project.log.read_text()


@pytest.mark.parametrize("body", ["pytest.skip('not today')", "pytest.xfail('known')"])
def test_a_required_gate_that_is_skipped_or_xfailed_is_not_a_pass(project, body):
    """Silence is not consent."""
    run = project.write(test_own=f"import pytest\ndef test_own(stage): {body}").run()

    assert run.exit == 1
    assert not run.did("promote")
    assert "test_own" in run.messages["rollback"] + run.out


def test_an_advisory_test_reports_and_never_rolls_back(project):
    """Some numbers are for people."""
    run = project.write(
        test_own="""
        import pytest
        @pytest.mark.advisory
        def test_own(stage): assert stage.canary.rate('errors') > 0.5, 'few'
        """
    ).run()

    assert run.exit == 0
    assert run.did("promote")
    assert "advisory" in run.messages["test_own[5%]"]


def test_an_alert_gate_reports_and_never_rolls_back(project):
    """`action: alert`."""
    run = project.write(
        replace={"latency_p99: {ratio: 1.2}": "client_error_rate: {max: 0.5%, action: alert}"},
        metrics="client_error_rate: {v2: 0.2}",
    ).run()

    assert run.exit == 0
    assert run.rows["client_error_rate[5%]"] == "skipped"
    assert "alert: client_error_rate[5%]" in run.messages["client_error_rate[5%]"]


def test_an_alert_gate_that_has_not_decided_says_so_and_raises_no_alarm(project):
    """Some sign of harm is not enough to convict: the row must not read like that of a gate that has failed."""
    run = project.write(
        replace={"latency_p99: {ratio: 1.2}": "client_error_rate: {ratio: 1.5, action: alert}"},
        metrics="client_error_rate: {v1: 0.02, v2: 0.055}",
    ).run()

    assert run.exit == 0, run.out
    doubted, convicted = (run.messages[f"client_error_rate[{stage}]"] for stage in ("25%", "50%"))
    assert doubted.startswith("undecided (only alerts): client_error_rate[25%]: canary "), doubted
    assert convicted.startswith("alert: client_error_rate[50%]: canary "), convicted


def test_leaving_with_status_0_is_not_a_pass(project):
    """`pytest.exit(returncode=0)` ends the session with an exit status of success."""
    run = project.write(test_own="import pytest\ndef test_own(stage): pytest.exit('x', returncode=0)").run()

    assert run.exit == 1
    assert not run.did("promote")


def test_a_failure_anywhere_in_the_session_holds_back_promotion(project):
    """A teardown error after the last gate is still a failure."""
    run = project.write(
        test_own="""
        import pytest
        @pytest.fixture(scope="session")
        def thing():
            yield
            raise RuntimeError("too late")
        def test_own(stage, thing): pass
        """
    ).run()

    assert run.exit == 1
    assert not run.did("promote")


def test_the_report_says_how_each_gate_passed(project):
    """By proof, or because nothing bad was seen for long enough: not the same."""
    run = project.write().run()

    assert "soak" in run.out or "proof" in run.out
    assert "not compared" in run.out


def test_a_no_longer_narrowed_run_promotes(project):
    """Naming the folder of the rollout narrows nothing."""
    project.write()
    result = project.pytester.runpytest_inprocess("rollouts/gateway", "--image=gateway:v2")

    assert result.ret == 0
