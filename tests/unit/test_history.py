"""How earlier rollouts ended, and what follows from it for the next."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from pytest_canary.errors import LedgerError
from pytest_canary.outcome import End, Outcome
from pytest_canary.ports import Change, Revision
from pytest_canary.report.history import REVERTED, Remembered, add, before, good, read, rejected, remember
from pytest_canary.verdict import By, Counted, Status, Verdict

V1, V2, V3 = (Revision(f"gateway:v{n}", f"d{n}") for n in (1, 2, 3))
FAILED = Verdict("error_rate", 0, Status.FAIL, By.EVIDENCE, Counted(9, 9), Counted(9, 0), "ratio <= 1.5")


def ended(end: End, canary: Revision, stable: Revision, *, why: str = "", at: float = 0.0, run: str = "r") -> Outcome:
    """An outcome: ``stable`` was stable before."""
    promoted = end is End.PROMOTED
    return Outcome(
        run=run, service="gateway", target="local", image=canary.image, end=end, why=why, began_at=at, ended_at=at,
        stable=canary if promoted else stable, canary=canary, previous=stable if promoted else None,
    )  # fmt: skip


def test_a_build_that_was_rolled_back_is_known_by_when_why_and_report(tmp_path):
    """It is named before the build is deployed again."""
    undone = replace(ended(End.ROLLED_BACK, V2, V1, why="errors", at=1_769_868_309.0), verdicts=(FAILED, FAILED))
    remember(tmp_path, undone, "/reports/r.md")
    found = rejected(tmp_path, V2.pin)

    assert found is not None
    assert (found.when, found.why, found.report) == ("2026-01-31 14:05:09 UTC", "errors", "/reports/r.md")
    assert found.gates == ("error_rate",)
    assert rejected(tmp_path, V1.pin) is None


def test_the_last_rollback_of_a_build_is_told(tmp_path):
    """The newest report is the one to read."""
    for why in ("first", "second"):
        remember(tmp_path, ended(End.ROLLED_BACK, V2, V1, why=why), "")

    assert rejected(tmp_path, V2.pin).why == "second"


def test_a_promotion_clears_what_was_said_before(tmp_path):
    """A run that was cancelled must not stand against a build that later proved itself."""
    remember(tmp_path, ended(End.ROLLED_BACK, V2, V1, why="SIGINT"), "")
    remember(tmp_path, ended(End.PROMOTED, V2, V1), "")

    assert rejected(tmp_path, V2.pin) is None


def test_a_build_that_met_no_user_was_not_rejected(tmp_path):
    """A busy machine or a wrong prompt says little about the build."""
    remember(tmp_path, ended(End.NOT_STARTED, V2, V1), "")

    assert rejected(tmp_path, V2.pin) is None


def test_an_empty_folder_remembers_nothing(tmp_path):
    """The first rollout has no history."""
    assert read(tmp_path / "none") == []
    assert rejected(tmp_path, "x") is None
    assert good(tmp_path) == ()
    assert before(tmp_path, "x") is None


def test_good_builds_come_newest_first(tmp_path):
    """The build that was stable before the first promotion is one of them."""
    remember(tmp_path, ended(End.PROMOTED, V2, V1), "")
    remember(tmp_path, ended(End.ROLLED_BACK, replace(V3, digest="x"), V2), "")
    remember(tmp_path, ended(End.PROMOTED, V3, V2), "")

    assert good(tmp_path) == (V3, V2, V1)
    assert [before(tmp_path, each.pin) for each in (V3, V2, V1)] == [V2, V1, None]


def test_the_build_before_is_the_one_that_was_replaced(tmp_path):
    """A world that began anew from v1 does not go back to what another world had proved."""
    remember(tmp_path, ended(End.PROMOTED, V2, V1), "")
    remember(tmp_path, ended(End.PROMOTED, V3, V1), "")

    assert before(tmp_path, V3.pin) == V1


def test_for_a_build_nobody_knows_the_last_good_one_is_named(tmp_path):
    """Somebody deployed it by hand."""
    remember(tmp_path, ended(End.PROMOTED, V2, V1), "")

    assert before(tmp_path, V3.pin) == V2


def test_a_reverted_build_is_rejected_and_no_longer_good(tmp_path):
    """Two reverts in a row must not bring back what the first one took away."""
    remember(tmp_path, ended(End.PROMOTED, V2, V1), "")
    remember(tmp_path, ended(End.PROMOTED, V3, V2), "")
    add(tmp_path, Remembered("x", REVERTED, "users complain", 5.0, canary=V3, stable=V2))

    assert before(tmp_path, V2.pin) == V1
    assert V3 not in good(tmp_path)
    assert rejected(tmp_path, V3.pin).why == "users complain"


def test_a_build_keeps_its_configuration_in_the_history(tmp_path):
    """What is brought back must be what was proved."""
    configured = replace(V2, change=Change(env=(("A", "1"),), args=("--x",), model="m@7"))
    remember(tmp_path, ended(End.PROMOTED, configured, V1), "")

    assert good(tmp_path)[0] == configured


@pytest.mark.parametrize("half", ['{"run": "r", "end": "rolled b', "{}", "[1]", "\x00\x00", '{"run": 1, "end": 2}'])
def test_half_a_last_line_costs_only_itself(tmp_path, half):
    """A kill can come in the middle of a write."""
    remember(tmp_path, ended(End.PROMOTED, V2, V1), "")
    with (tmp_path / "outcomes.jsonl").open("a") as file:
        file.write(half)
    assert good(tmp_path) == (V2, V1)
    remember(tmp_path, ended(End.PROMOTED, V3, V2), "")

    assert good(tmp_path) == (V3, V2, V1)


def test_the_history_is_for_its_owner_alone(tmp_path):
    """It holds the environment of builds."""
    remember(tmp_path, ended(End.PROMOTED, V2, V1), "")

    assert os.stat(tmp_path / "outcomes.jsonl").st_mode & 0o077 == 0


def test_a_history_that_cannot_be_read_is_one_clear_error(tmp_path):
    """Silence would let a rejected build pass."""
    (tmp_path / "outcomes.jsonl").mkdir()

    with pytest.raises(LedgerError, match="cannot be read"):
        read(tmp_path)
