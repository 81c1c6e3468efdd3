"""The guard: what it waits for, whom it lets wait, and what it does about a run that is silent."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from pytest_canary.adapters.clock import SystemClock, VirtualClock
from pytest_canary.adapters.memory import MemoryLedger
from pytest_canary.errors import Busy, NotStarted
from pytest_canary.guard import NAME, Guard, acquire, stand

WATCHES = "import time; print('watching', flush=True); time.sleep(60)"


class Beats(MemoryLedger):
    """Counts the signs of life."""

    beats = 0

    def renew(self) -> None:
        self.beats += 1


def guard(tmp_path: Path, program: str, ledger: MemoryLedger | None = None) -> Guard:
    """A guard that is this program."""
    return Guard([sys.executable, "-c", program], tmp_path / "guard.log", ledger or MemoryLedger())


def test_it_stands_by_until_the_ledger_is_free():
    """However the run has ended: nothing has to be told."""
    clock, ledger = VirtualClock(), MemoryLedger()
    ledger.acquire("run")

    def take() -> bool:
        if clock.now() >= 5:
            ledger.release()
        try:
            ledger.acquire(f"{NAME}1")
        except Busy:
            return False
        return True

    stand(take, lambda: clock.now(), lambda _: pytest.fail("the run is heard of all the time"), 1.0, clock)

    assert ledger.holder() == f"{NAME}1"
    assert 5 <= clock.now() < 5.5


@pytest.mark.parametrize(("succeeds_after", "times"), [(1, 1), (3, 3)])
def test_a_run_that_is_silent_is_spoken_up_about_until_that_has_succeeded(succeeds_after, times):
    """A stopped process holds its ledger and watches nobody."""
    clock, spoken = VirtualClock(), list[float]()

    def speak(_: float) -> bool:
        spoken.append(clock.now())
        return len(spoken) >= succeeds_after

    def heard() -> float:
        return clock.now() if clock.now() < 10 or clock.now() > 40 else 10.0

    stand(lambda: clock.now() >= 60, heard, speak, 20.0, clock)

    assert len(spoken) == times
    assert 29 <= min(spoken) <= max(spoken) <= 31


def test_the_next_run_waits_for_a_guard_and_for_nobody_else():
    """A guard is done in a moment; another run may take an hour."""
    clock, ledger, said = VirtualClock(), MemoryLedger(), list[str]()
    ledger.acquire(f"{NAME}1")

    def tick(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            ledger.release()

    acquire(ledger, "run", clock, 60.0, tick)

    assert ledger.holder() == "run"
    assert "put right what a dead run left" in said[0]
    with pytest.raises(Busy):
        acquire(ledger, "another", clock, 60.0, lambda _: pytest.fail("waits for a run"))


def test_a_guard_that_is_never_done_is_not_waited_for_without_end():
    """The line says who holds it."""
    clock, ledger = VirtualClock(), MemoryLedger()
    ledger.acquire(f"{NAME}1")
    with pytest.raises(Busy, match=f"{NAME}1"):
        acquire(ledger, "run", clock, 30.0, lambda _: None)

    assert 30 <= clock.now() < 31


def test_it_watches_says_that_the_run_lives_and_ends_with_it(tmp_path):
    """A process of its own, which no signal to ours reaches."""
    ledger = Beats()
    one = guard(tmp_path, WATCHES, ledger)
    one.start()
    one.must_watch(SystemClock())
    pid, until = one.pid, time.monotonic() + 10
    while not ledger.beats:
        assert time.monotonic() < until
        time.sleep(0.05)
    one.end()
    one.end()

    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()


def test_a_run_that_nobody_would_see_die_does_not_start(tmp_path):
    """What the guard said stands in the line."""
    one = guard(tmp_path, "import sys; sys.exit('no such file')")
    one.start()
    with pytest.raises(NotStarted, match="does not watch: no such file"):
        one.must_watch(SystemClock())
    one.end()


def test_a_machine_that_starts_no_guard_starts_no_rollout(tmp_path):
    """The line says why."""
    one = Guard([str(tmp_path / "nothing")], tmp_path / "guard.log", MemoryLedger())
    with pytest.raises(NotStarted, match=r"cannot be started: .*nothing"):
        one.start()
    one.end()


def test_a_run_that_could_not_put_things_right_leaves_that_to_its_guard(tmp_path):
    """A disk that was full may have room a moment later; the exit code says that a human must look all the same."""
    one = guard(tmp_path, "import time; print('watching', flush=True); time.sleep(0.5)")
    one.start()
    one.must_watch(SystemClock())
    pid = one.pid
    one.end(settled=False)

    assert pid is not None
    assert Path(f"/proc/{pid}").exists()
    assert os.waitpid(pid, 0) == (pid, 0)
