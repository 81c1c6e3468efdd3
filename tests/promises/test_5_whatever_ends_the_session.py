"""Promise 5: whatever ends the session rolls back; a killed run is healed by the next one."""

import os
import signal
import subprocess
import sys
import time

import pytest

GATE = """
import os, pathlib, time
MARK = pathlib.Path(__file__).parent / "inside"
def test_own(stage):
    if stage.index == 1:
        MARK.touch()
        {body}
"""


def start(project, *args, image="gateway:v2"):
    """Start pytest in a process of its own; returns once a gate of the second stage runs."""
    env = dict(os.environ, PYTHONPATH=os.getcwd())
    process = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
            ),
            *("-p", "no:cacheprovider", "rollouts", f"--image={image}", "--junitxml=out.xml", *args),
        ],
        cwd=project.pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        start_new_session=True,
    )
    mark = project.pytester.path / "rollouts/gateway/inside"
    for _ in range(600):
        if mark.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    else:
        process.kill()
        raise AssertionError(process.communicate()[0])
    return process


def finish(project, process):
    """Wait for the process and read what it did."""
    out = process.communicate(timeout=60)[0]
    return project.read(process.returncode, out)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_rolls_back_and_exits_with_2(project, name):
    """CI cancels jobs with signals."""
    project.write(test_own=GATE.format(body="time.sleep(60)"))
    process = start(project)
    process.send_signal(getattr(signal, name))
    run = finish(project, process)

    assert run.exit == 2
    assert run.shifts[-1] == 0.0
    assert run.did("remove v2")
    assert name in run.messages["rollback"] + run.out
    assert "test_own[25%]" in run.rows


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_who_ends_the_wait_for_a_canary_is_not_told_to_mend_the_build(project, name):
    """Nothing was said against it: the same command ships it after all."""
    project.write(clock="system", platform="not_ready: [v2]")
    (project.pytester.path / "conftest.py").write_text(
        "import os, signal, threading\n"
        "def pytest_canary_row(row):\n"
        "    if row.name == 'verify image':\n"
        f"        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.{name})).start()\n"
    )
    run = project.run("--canary-target=memory", "--canary-set", "hold=9s", process=True)

    assert run.exit == 2, run.out
    assert "mend the build" not in run.out
    assert "mend what is named" not in run.out
    assert "ready_timeout" not in run.out
    assert (
        "nobody has to act now; to ship it after all: "
        "pytest rollouts/gateway --image=gateway:v2 --canary-target=memory --canary-set hold=9s\n"
    ) in run.out


@pytest.mark.parametrize("swallow", ["Exception", "BaseException"])
def test_a_gate_that_swallows_the_signal_does_not_save_the_canary(project, swallow):
    """Retry loops catch everything."""
    body = f"""
        for _ in range(100):
            try:
                time.sleep(0.05)
            except {swallow}:
                pass
    """
    project.write(test_own=GATE.format(body=body))
    process = start(project)
    process.send_signal(signal.SIGTERM)
    run = finish(project, process)

    assert run.exit == 2
    assert not run.did("promote")
    assert run.did("remove v2")


def test_a_second_and_third_ctrl_c_do_not_stop_the_way_back(project):
    """People press it again."""
    project.write(
        clock="system", platform="slow: {remove: 1.0}", test_own=GATE.format(body="time.sleep(60)"), replace=QUICK
    )
    process = start(project)
    for _ in range(3):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    run = finish(project, process)

    assert run.exit == 2
    assert run.did("remove v2")
    assert "rollback" in run.rows


QUICK = {
    "hold: 10s": "hold: 0.3s",
    "min_requests: 20": "min_requests: 1",
    "poll: 1s": "poll: 0.1s",
    "window: 5s, min_requests: 50": "window: 0.5s, min_requests: 5",
}


@pytest.mark.parametrize(
    ("hook", "exit_code"),
    [
        (
            "def pytest_runtest_logreport(report):\n    if '25%' in report.nodeid: raise RuntimeError('broken plugin')",
            3,
        ),
        ("def pytest_sessionfinish(session): raise RuntimeError('broken plugin')", 1),
    ],
)
def test_another_plugin_that_breaks_rolls_back_or_comes_too_late(project, hook, exit_code):
    """An internal error is exit 3; after our settlement the crash is pytest's to report."""
    project.write()
    (project.pytester.path / "conftest.py").write_text(hook)
    run = project.run(process=True)

    assert run.exit == exit_code
    assert run.shifts[-1] == 0.0
    assert run.did("remove v2") != run.did("promote v2")


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_stopping_at_the_first_failure_still_rolls_back(project, option):
    """`-x` ends the session early."""
    run = project.write().run(option, image="gateway:v2-errors")

    assert run.exit == 1
    assert run.did("remove v2-errors")


def test_a_closed_stdout_does_not_stop_the_way_back(project):
    """`pytest | head` closes the pipe."""
    project.write(clock="system", replace=QUICK)
    command = (
        f"{sys.executable} -m pytest -p no:cacheprovider rollouts"
        " --image=gateway:v2-errors --junitxml=out.xml | head -14"
    )
    subprocess.run(
        command,
        shell=True,
        cwd=project.pytester.path,
        env=dict(os.environ, PYTHONPATH=os.getcwd()),
        check=False,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    run = project.read(0, "")

    assert run.shifts[-1] == 0.0
    assert run.did("remove v2-errors")


def test_a_killed_run_is_healed_by_the_next(project):
    """Nothing runs after kill -9: the ledger and the next run put it right."""
    project.write(test_own=GATE.format(body="time.sleep(60)"))
    process = start(project)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = project.read(process.returncode, "")
    (project.pytester.path / "rollouts/gateway/test_own.py").unlink()
    run = project.run()

    assert killed.shifts[-1] == 0.25
    assert run.rows["recover"] == "passed"
    assert run.shifts[0] == 0.0
    assert run.exit == 0


def test_a_test_that_ends_the_process_is_healed_by_the_next_run(project):
    """`os._exit` runs nothing either."""
    project.write(test_own=GATE.format(body="os._exit(1)"))
    project.run(process=True)
    (project.pytester.path / "rollouts/gateway/test_own.py").unlink()
    run = project.run()

    assert run.rows["recover"] == "passed"
    assert run.exit == 0
