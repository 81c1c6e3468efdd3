"""After a promotion: the bake that still can go back, and a world that goes on serving."""

from __future__ import annotations

import os
import signal

import pytest

from tests.local.main_job import HASTY, SHORT, Asking, address_in, builds_that_answer, serving, until_gone, watched

KEPT = ("--set", "keep=true")
SEEDED = '["{python}", -m, pytest_canary.demo, --port, "{port}", --build, "{tag}", --seed, "1"]'
"""The same builds, by another command."""


@pytest.fixture
def site(tmp_path):
    """The example in a folder of its own."""
    yield from watched(tmp_path)


def test_a_good_build_is_baked_with_the_old_one_still_warm(site):
    """Every gate has a row; the old build is retired only after them."""
    process = site.start(**HASTY, bake="3s", keep="true")
    site.wait_for("ramp[100%]", process)
    while "bake" not in (line := process.stdout.readline()) and line:
        pass
    both = set(serving(site))
    run = site.ended(process)
    assert site.canary("down", *KEPT)[0] == 0

    assert run.exit == 0, run.out
    assert both == {"v1", "v2"}
    assert run.rows["error_rate"] == "passed"
    assert run.report["users"]["dropped"] == 0


def test_a_build_that_dies_in_the_bake_is_rolled_back(site):
    """It has all the traffic, and the way back is still open."""
    process = site.start(build="v2-crash", **{**HASTY, "load.rate": "60", "bake": "60s", "keep": "true"})
    said = site.wait_for("canary target", process)
    run = site.ended(process)
    answers = builds_that_answer(address_in(said))
    assert site.canary("down", *KEPT)[0] == 0

    assert run.exit == 1, run.out
    assert run.report["end"] == "rolled back"
    assert run.report["cut"]["stage"] == "100%"
    assert answers == {"v1"}
    assert site.alive() == []


def test_a_changed_command_makes_another_build_of_the_same_image(site):
    """The remembered build serves on, and what the command starts now is judged against it like any other."""
    first = site.run(**SHORT, keep="true")
    address = address_in(first.texts["target"])
    same = site.run(**HASTY, keep="true")
    with Asking(address) as users:
        other = site.run(**SHORT, keep="true", platform__local__command=SEEDED)
    changed = ("--set", f"platform.local.command={SEEDED}", *KEPT)
    assert site.canary("down", *changed)[0] == 0

    assert [first.exit, same.exit, other.exit] == [0, 0, 0], other.out
    assert same.report["end"] == "already stable"
    assert other.report["end"] == "promoted"
    assert other.report["previous"]["pin"] == first.report["stable"]["pin"]
    assert other.report["stable"]["pin"] != first.report["stable"]["pin"]
    assert users.lost == []
    assert site.alive() == []


def test_a_remembered_build_whose_command_changed_comes_back_from_a_reboot_as_what_the_command_says(site):
    """Its process is gone; what is started instead is named by its own pin, not by the one that was remembered."""
    first = site.run(**HASTY, keep="true")
    for pid in site.alive():
        os.kill(pid, signal.SIGKILL)
    until_gone(site)
    again = site.run(**HASTY, keep="true", platform__local__command=SEEDED)
    changed = ("--set", f"platform.local.command={SEEDED}", *KEPT)
    assert site.canary("down", *changed)[0] == 0

    assert first.exit == again.exit == 0, again.out
    assert again.report["end"] == "already stable"
    assert again.report["stable"]["image"] == "inference-gateway:v2"
    assert again.report["stable"]["pin"] != first.report["stable"]["pin"]
    assert site.alive() == []


def test_a_run_that_does_not_say_keep_leaves_a_kept_world_serving(site):
    """It was left serving on purpose; only `down` ends it."""
    first = site.run(**HASTY, keep="true")
    address = address_in(first.texts["target"])
    with Asking(address) as users:
        again = site.run(**HASTY)
        bad = site.run(build="v2-model8", **HASTY)
    answers = builds_that_answer(address)
    status = site.canary("status")[1]
    assert site.canary("down")[0] == 0

    assert [first.exit, again.exit, bad.exit] == [0, 0, 1], bad.out
    assert again.report["end"] == "already stable"
    assert "goes on serving after this one too" in bad.out
    assert "pytest-canary down" in bad.out
    assert answers == {"v2"}
    assert users.lost == []
    assert "serving with inference-gateway:v2" in status
    assert site.alive() == []


def test_a_state_folder_may_be_named_from_where_one_stands(site):
    """`--canary-state=state`, as a CI job would write it."""
    run = site.run("--canary-state=state", **HASTY)

    assert run.exit == 0, run.out
    assert (site.folder / "state" / "inference-gateway" / "local" / "outcomes.jsonl").exists()
