"""Who puts things right after a run has died or halted: its guard, `recover`, the next run, or it itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.local.killed import (
    deadly_site,
    guard_log,
    wait_for_guard,
)
from tests.local.main_job import (
    ENDLESS,
    HASTY,
    SHORT,
    Asking,
    address_in,
    builds_that_answer,
    guard_of,
    killed,
    serving,
    until_asked,
    until_gone,
    watched,
)

KEPT = ("--set", "keep=true")


@pytest.fixture
def site(tmp_path):
    """The example in a folder of its own."""
    yield from watched(tmp_path)


def test_recover_takes_a_killed_run_back_and_nobody_is_dropped(site):
    """Kill -9 leaves a canary with users; one command gives all of them to the stable build, which never stops."""
    address = killed(site, keep="true")
    stable = serving(site)["v1"]
    with Asking(address) as users:
        until_asked(users, 20)
        code, said = site.canary("recover", *KEPT)
        until_asked(users, 20)

    assert code == 0, said
    assert "had not ended" in said
    assert users.builds["v2"] > 0
    assert users.lost == []
    assert builds_that_answer(address) == {"v1"}
    assert serving(site) == {"v1": stable}
    assert "serving with inference-gateway:v1" in site.canary("status", *KEPT)[1]
    assert "nothing to recover" in site.canary("recover", *KEPT)[1]
    assert site.canary("down", *KEPT)[0] == 0
    assert not site.alive()


def test_recover_keeps_the_process_that_serves_however_the_command_was_typed(site):
    """`python -m pytest` and the installed command may name one interpreter by two links; the build is the same."""
    address = killed(site, keep="true")
    stable = serving(site)["v1"]
    names = [Path(sys.executable).with_name(name) for name in ("python", "python3")]
    other = next(name for name in names if name.exists() and str(name) != sys.executable)
    words = [str(other), "-m", "pytest_canary.command", "recover", *KEPT]
    done = subprocess.run(words, cwd=site.folder, env=site.env, capture_output=True, text=True, timeout=60, check=False)
    served = serving(site)
    down = site.canary("down", *KEPT)

    assert down[0] == 0
    assert not site.alive()
    assert done.returncode == 0, done.stdout + done.stderr
    assert served == {"v1": stable}, f"{address}: {done.stdout}"


def test_recover_ends_the_world_of_a_killed_run_that_was_not_to_be_kept(site):
    """A rehearsal leaves nothing behind, however it ends."""
    killed(site)
    code, said = site.canary("recover")

    assert code == 0, said
    assert "had not ended" in said
    assert not site.alive()


def test_a_killed_run_is_healed_by_the_next_run(site):
    """Who only ever types pytest is safe too."""
    killed(site)
    run = site.run(**SHORT)

    assert run.exit == 0, run.out
    assert "had not ended" in run.texts["recover"]
    assert run.report["users"]["dropped"] == 0


def test_the_next_run_heals_a_kept_world_even_if_its_own_build_is_bad(site):
    """The users of the killed canary are not left to the fate of the next one."""
    address = killed(site, keep="true")
    with Asking(address) as users:
        run = site.run(build="v2-model8", keep="true", **HASTY)

    assert run.exit == 1, run.out
    assert "had not ended" in run.texts["recover"]
    assert "demo-llm@8" in run.texts["baseline"]
    assert users.lost == []
    assert builds_that_answer(address) == {"v1"}
    assert list(serving(site)) == ["v1"]
    assert site.canary("down", *KEPT)[0] == 0
    assert not site.alive()


def test_the_next_run_waits_for_the_guard_of_a_dead_one(site):
    """Who types the command again at once is not turned away."""
    killed(site, guard=True)
    run = site.run(**SHORT)

    assert run.exit == 0, run.out
    assert "recover" not in run.rows
    assert "put right by the guard" in run.out
    assert run.report["users"]["dropped"] == 0
    assert site.alive() == []


def test_recovery_itself_may_be_killed_and_repeated(tmp_path):
    """The run dies, its guard dies while it restores, recover dies while it restores; recover is typed again."""
    site = deadly_site(
        tmp_path,
        "run router.set_weights#2 after;guard router.set_weights#1 after;recover platform.remove#1 before",
    )
    address = killed_by_itself(site)
    with Asking(address) as users:
        wait_for_guard(site)
        first = site.canary("recover", *KEPT)[0]
        site.more["KILL"] = ""
        second, said = site.canary("recover", *KEPT)
        until_asked(users, 20)
    builds = serving(site)
    down = site.canary("down", *KEPT)[0]
    left = site.alive()
    site.end()

    assert (first, second, down) == (-9, 0, 0), said
    assert "had not ended" in said
    assert list(builds) == ["v1"]
    assert users.lost == []
    assert left == []


def killed_by_itself(site):
    """Run until it is killed; where its users ask."""
    process = site.start(**{**HASTY, **ENDLESS, "keep": "true"})
    said = process.communicate(timeout=60)[0]
    assert process.returncode == -signal.SIGKILL, said
    return address_in(said)


def test_a_guard_that_dies_is_replaced(site):
    """A run is never alone."""
    process = site.start(**{**HASTY, "hold": "4s"})
    site.wait_for("ramp[50%]", process)
    first = guard_of(site)
    os.kill(first, signal.SIGKILL)
    until = time.monotonic() + 10
    while (second := guard_of(site)) in (first, 0):
        assert time.monotonic() < until
        time.sleep(0.05)
    run = site.ended(process)

    assert run.exit == 0, run.out
    assert second != first
    assert site.alive() == []


def test_a_run_that_is_stopped_loses_its_traffic_and_rolls_back_when_it_wakes_up(site):
    """Ctrl-Z, a frozen container: nobody watches the canary, so its guard takes the traffic away."""
    # The hold is over when it wakes up: nobody has looked meanwhile, so it must not go on to the next stage.
    process = site.start(**{**HASTY, "hold": "10s", "deadline": "120s", "keep": "true"})
    said = site.wait_for("ramp[50%]", process)
    address = address_in(said)
    assert builds_that_answer(address) == {"v1", "v2"}
    os.kill(process.pid, signal.SIGSTOP)
    with Asking(address) as users:
        until = time.monotonic() + 40
        while "asked it to roll back" not in guard_log(site):
            assert time.monotonic() < until
            time.sleep(0.2)
        alone, met = builds_that_answer(address), users.builds["v2"]
        os.kill(process.pid, signal.SIGCONT)
        run = site.ended(process)
    after = builds_that_answer(address)
    assert site.canary("down", *KEPT)[0] == 0

    assert alone == after == {"v1"}
    assert run.exit == 1, run.out
    assert "heard nothing of the run" in run.report["why"]
    assert users.builds["v2"] == met
    assert users.lost == []
    assert site.alive() == []


def test_a_kept_world_comes_back_from_a_machine_that_went_down(site):
    """Everything that served is gone at once; the next run starts from the build that was promoted last."""
    first = site.run(**HASTY, keep="true")
    for pid in site.alive():
        os.kill(pid, signal.SIGKILL)
    until_gone(site)
    status = site.canary("status", *KEPT)[1]
    again = site.run(**HASTY, keep="true")
    assert site.canary("down", *KEPT)[0] == 0

    assert first.exit == 0, first.out
    assert "serving with inference-gateway:v2" in status
    assert again.exit == 0, again.out
    assert again.report["end"] == "already stable"
    assert site.alive() == []


def halved(state):
    """Break the first fact in two."""
    ledger = state / "ledger.jsonl"
    ledger.write_text(ledger.read_text()[:40] + "\n{")


EMPTIED = {
    "ledger": lambda state: (state / "ledger.jsonl").write_bytes(b""),
    "half a ledger": halved,
    "pid files": lambda state: [path.write_bytes(b"") for path in state.rglob("*.pid")],
    "state folder": shutil.rmtree,
}


@pytest.mark.parametrize("what", EMPTIED)
def test_a_guard_puts_right_what_a_run_left_whose_files_are_gone_too(site, what):
    """`git clean -fdx` in the middle of a rollout: the guard remembers the facts, and processes bear a mark."""
    state = site.folder / ".pytest_canary" / "inference-gateway" / "local"

    def destroy(_: str) -> None:
        time.sleep(1.0)  # the guard reads the ledger twice a second
        EMPTIED[what](state)

    killed(site, guard=True, before=destroy)

    until_gone(site)


def test_a_lock_that_is_deleted_lets_nobody_touch_a_run_that_is_alive(site):
    """The guard asks the kernel whether the run's process has ended, not only a file."""
    process = site.start(**{**HASTY, "hold": "3s"})
    site.wait_for("ramp[50%]", process)
    (site.folder / ".pytest_canary" / "inference-gateway" / "local" / "lock").unlink()
    run = site.ended(process)

    assert run.exit == 0, run.out
    assert run.report["users"]["dropped"] == 0
    assert site.alive() == []


FORKS = """
import os, time
def pytest_canary_row(row):
    if row.name == "ramp[50%]" and os.fork() == 0:
        os.setsid()
        for name in os.listdir("/proc/self/fd"):
            try:
                kept = os.readlink(f"/proc/self/fd/{name}").endswith("/lock")
                kept or os.close(int(name))
            except OSError:
                pass
        time.sleep(60)
        os._exit(0)
"""


@pytest.mark.parametrize("dies", [True, False], ids=["the run is killed", "the run ends well"])
def test_what_a_run_has_forked_does_not_hold_its_rollout(site, dies):
    """A worker of somebody's fixture inherits the lock, and may outlive the run."""
    (site.folder / "rollouts" / "inference_gateway" / "conftest.py").write_text(FORKS)
    if dies:
        killed(site, guard=True, before=lambda _: time.sleep(0.5))
        until = time.monotonic() + 15
        while "put right by the guard" not in site.canary("status")[1]:
            assert time.monotonic() < until, guard_log(site)
            time.sleep(0.3)
    else:
        assert site.run(**HASTY).exit == 0
    (site.folder / "rollouts" / "inference_gateway" / "conftest.py").unlink()
    until = time.monotonic() + 30
    while len(site.alive()) > 1 and time.monotonic() < until:  # the guard, and what it is stopping
        time.sleep(0.1)
    forked = site.alive()
    again = site.run(build="v2-model8", **HASTY)
    for pid in forked:
        with suppress(ProcessLookupError):  # a guard that was just ending is among them
            os.kill(pid, signal.SIGKILL)
    until_gone(site)

    assert len(forked) == 1
    assert again.report["end"] == "not started"
    assert again.rows["baseline"] == "failure"


STOPS = """
import os, pytest, signal
@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    if nextitem is None:
        os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_run_that_wakes_up_just_before_it_would_promote_follows_the_guards_wish(site):
    """Every gate has passed; but its canary has lost its traffic since, and nobody has looked."""
    (site.folder / "rollouts" / "inference_gateway" / "conftest.py").write_text(STOPS)
    process = site.start(**HASTY, keep="true")
    address = address_in(site.wait_for("canary target", process))
    until = time.monotonic() + 60
    while "asked it to roll back" not in guard_log(site):
        assert time.monotonic() < until
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGCONT)
    run = site.ended(process)
    answers = builds_that_answer(address)
    assert site.canary("down", *KEPT)[0] == 0

    assert run.exit == 1, run.out
    assert run.report["end"] == "rolled back"
    assert answers == {"v1"}
    assert site.alive() == []


def test_recover_goes_back_to_the_build_that_served_whatever_the_file_says_now(site):
    """Somebody edits `stable:` between the kill and the command: that build was never proven."""
    address = killed(site, keep="true")
    stable = serving(site)["v1"]
    file = site.folder / "rollouts" / "inference_gateway" / "rollout.yaml"
    file.write_text(file.read_text().replace("stable: v1", "stable: v2-errors"))
    code, said = site.canary("recover", *KEPT)
    answers, builds = builds_that_answer(address), serving(site)
    assert site.canary("down", *KEPT)[0] == 0

    assert code == 0, said
    assert answers == {"v1"}
    assert builds == {"v1": stable}
