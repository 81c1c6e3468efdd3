"""The ledger in a folder: what survives a kill, a full disk, and somebody else's hands."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys

import pytest

from pytest_canary.adapters.ledger import OFFERS, FileLedger
from pytest_canary.adapters.memory import MemoryLedger
from pytest_canary.errors import Busy, LedgerError
from pytest_canary.ports import Fact
from tests.adapters.contracts import LedgerContract


class TestFileLedger(LedgerContract):
    """One folder is one rollout."""

    @pytest.fixture
    def ledger(self, tmp_path):
        """In a folder that is not there yet."""
        ledger = OFFERS["file"](tmp_path / ".pytest_canary" / "gateway" / "local")
        yield ledger
        ledger.release()

    def other(self, ledger):
        """Another object on the same folder opens files of its own, as another process does."""
        return FileLedger(ledger.folder)


class TestMemoryLedger(LedgerContract):
    """One object is one rollout."""

    @pytest.fixture
    def ledger(self):
        """Held by nobody."""
        return MemoryLedger()

    def other(self, ledger):
        """There is no other process in memory."""
        return ledger


@pytest.fixture
def ledger(tmp_path):
    """A ledger that a run holds."""
    ledger = FileLedger(tmp_path / ".pytest_canary" / "gateway" / "local")
    ledger.acquire("run-1")
    yield ledger
    ledger.release()


def kinds(ledger):
    """What happened, in order."""
    return [fact.kind for fact in ledger.read()]


def test_looking_makes_nothing(tmp_path):
    """`pytest-canary status` on a rollout that never ran."""
    ledger = FileLedger(tmp_path / ".pytest_canary" / "gateway" / "local")

    assert list(ledger.read()) == []
    assert ledger.holder() is None
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_its_users_own_and_no_part_of_the_repository(ledger, tmp_path):
    """Prompts and addresses stand in it."""
    folder = ledger.folder
    while folder != tmp_path:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        folder = folder.parent

    assert (tmp_path / ".pytest_canary" / ".gitignore").read_text() == "*\n"


def test_a_folder_that_somebody_else_made_is_left_as_it_is(tmp_path):
    """`--canary-state` may name any."""
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    ledger = FileLedger(state / "gateway" / "local")
    ledger.acquire("run-1")
    ledger.release()

    assert stat.S_IMODE(state.stat().st_mode) == 0o755
    assert list(tmp_path.rglob(".gitignore")) == []


def test_who_is_refused_is_told_whom_to_wait_for(ledger):
    """Run, process, time, and both ways on, in one line."""
    with pytest.raises(Busy) as refused:
        FileLedger(ledger.folder).acquire("run-2")

    assert re.fullmatch(
        rf"{re.escape(str(ledger.folder))} is held by run run-1, pid {os.getpid()}, since \d\d:\d\d:\d\d; "
        "wait for it, or `pytest-canary abort`",
        str(refused.value),
    )


def test_asking_who_holds_it_takes_nothing(ledger):
    """The run goes on, and the next one is not refused by a look."""
    holder = FileLedger(ledger.folder).holder()
    ledger.release()

    assert (holder.run, holder.pid) == ("run-1", os.getpid())
    assert str(holder).startswith(f"run run-1, pid {os.getpid()}, since ")
    assert ledger.holder() is None
    ledger.acquire("run-2")
    assert ledger.holder().run == "run-2"


def test_a_killed_process_holds_nothing(tmp_path):
    """The kernel lets go for it, and its facts are there."""
    code = (
        "import os, pathlib, signal, sys\n"
        "from pytest_canary.adapters.ledger import FileLedger\n"
        "from pytest_canary.ports import Fact\n"
        "ledger = FileLedger(pathlib.Path(sys.argv[1]))\n"
        "ledger.acquire('dead')\n"
        "ledger.append(Fact('run', 1.0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)
    ledger = FileLedger(tmp_path)

    assert ended.returncode == -signal.SIGKILL
    assert ledger.holder() is None
    assert kinds(ledger) == ["run"]
    ledger.acquire("alive")
    ledger.release()


def test_programs_that_a_run_starts_do_not_hold_it_after_its_end(ledger):
    """Builds outlive their run."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        ledger.release()
        other = FileLedger(ledger.folder)
        other.acquire("run-2")
        other.release()
        child.communicate(b"\n")


def test_half_a_last_line_is_passed_over_and_the_next_fact_does_not_end_in_it(ledger):
    """A kill or a full disk leaves it."""
    ledger.append(Fact("run", 1.0))
    with ledger.path.open("a") as file:
        file.write('{"kind":"weigh')

    assert kinds(ledger) == ["run"]
    ledger.append(Fact("settled", 2.0))
    assert kinds(ledger) == ["run", "settled"]


@pytest.mark.parametrize("line", ["not a fact", "{}", "[1]", '{"kind":"x","at":"noon","data":{}}', ""])
def test_a_broken_line_in_the_middle_is_named(ledger, line):
    """It must not be read as if nothing had happened."""
    ledger.append(Fact("run", 1.0))
    with ledger.path.open("a") as file:
        file.write(f"{line}\n")
    ledger.append(Fact("settled", 2.0))

    with pytest.raises(LedgerError, match=rf"{re.escape(str(ledger.path))}:2: "):
        ledger.read()


def test_closed_chapters_are_history_in_the_order_of_their_numbers(ledger):
    """What happened last week can be read."""
    for kind in ("first", "second"):
        ledger.append(Fact(kind, 1.0))
        ledger.close_chapter()

    history = ledger.folder / "history"
    assert sorted(file.name for file in history.iterdir()) == ["0001.jsonl", "0002.jsonl"]
    assert '"second"' in (history / "0002.jsonl").read_text()


def test_nothing_but_ledger_lock_and_history_is_left_in_the_folder(ledger):
    """Files that were written aside are gone."""
    ledger.append(Fact("run", 1.0))
    ledger.close_chapter([Fact("process", 1.0)])

    assert sorted(file.name for file in ledger.folder.iterdir()) == ["history", "ledger.jsonl", "lock"]


def test_facts_hold_whatever_the_way_back_has_to_say(ledger):
    """A path in a fact must not be what stops it."""
    ledger.append(Fact("cut", 1.0, {"where": ledger.folder, "seen": {"a", "b"} & {"a"}}))

    assert ledger.read()[0].data["where"] == str(ledger.folder)


@pytest.mark.parametrize("act", [lambda ledger: ledger.append(Fact("run", 1.0)), lambda ledger: ledger.close_chapter()])
def test_a_full_disk_is_one_line_with_both_ways_on(ledger, monkeypatch, act):
    """No stack trace at three in the morning."""

    def full(_handle: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ledger.append(Fact("before", 1.0))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(LedgerError) as failed:
        act(ledger)
    monkeypatch.undo()

    assert str(failed.value) == (
        f"cannot write {ledger.path}: No space left on device; free space, or choose another folder with --canary-state"
    )
    assert kinds(ledger) == ["before"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    """A file stands where a folder should."""
    (tmp_path / "state").write_text("")
    ledger = FileLedger(tmp_path / "state" / "gateway")

    for act in (lambda: ledger.acquire("run-1"), lambda: ledger.append(Fact("run", 1.0))):
        with pytest.raises(LedgerError, match=r"^cannot write .*--canary-state$"):
            act()


def test_a_ledger_that_cannot_be_read_is_one_line(tmp_path):
    """Not an empty one."""
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(LedgerError, match=r"^cannot read .*ledger\.jsonl"):
        FileLedger(tmp_path).read()
