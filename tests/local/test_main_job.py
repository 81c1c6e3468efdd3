"""`pytest rollouts/ --image=...` on real Envoy and real processes, promoted or rolled back, and nobody dropped."""

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.local.main_job import (
    ENDLESS,
    HASTY,
    SHORT,
    address_in,
    as_nobody,
    assert_lines_stand_alone,
    builds_that_answer,
    serving,
    watched,
)

STEPS = ["target", "verify image", "deploy", "smoke", "warmup", "baseline"]
KEPT = ("--set", "keep=true")


@pytest.fixture
def site(tmp_path):
    """The example in a folder of its own."""
    yield from watched(tmp_path)


@pytest.fixture
def another(tmp_path):
    """A second one."""
    yield from watched(tmp_path / "another")


@pytest.fixture
def open_site():
    """The example where every user may look; the temporary folders of pytest are closed to others."""
    with tempfile.TemporaryDirectory(prefix="rehearsal ") as name:
        os.chmod(name, 0o755)
        yield from watched(Path(name))


def test_a_good_build_is_promoted_as_the_readme_says(site):
    """The whole example, with its own times."""
    run = site.run(quick=False)

    assert run.exit == 0, run.out
    assert run.report["end"] == "promoted"
    assert run.report["users"]["dropped"] == 0
    assert run.report["users"]["sent"] > 3000
    held = ["ramp", "hold", "error_rate", "latency_p99", "client_error_rate", "test_the_first_token_is_not_later"]
    expected = [*STEPS, *(f"{row}[{stage}]" for stage in ("10%", "25%", "50%", "100%") for row in held), "promote"]
    assert [row for row in run.rows if row in expected] == expected
    assert set(run.rows.values()) == {"passed"}
    assert "canary requests" in run.out


def test_a_bad_build_is_rolled_back_with_all_that_a_person_on_call_needs(site):
    """It passes every smoke test, and fails one request in eight under load."""
    # A hold that is long enough: the gate ends it as soon as there is evidence, not a test at its end.
    run = site.run(build="v2-errors", **{**SHORT, **ENDLESS})

    assert run.exit == 1, run.out
    failed = [text for row, text in run.texts.items() if run.rows[row] == "failure"]
    assert len(failed) == 1
    assert re.search(r"error_rate\[\d+%]: canary \d+/\d+ .* baseline \d+/\d+ ", failed[0])
    assert run.rows["promote"] == "skipped"
    verdict = next(verdict for verdict in run.report["verdicts"] if verdict["status"] == "fail")
    assert verdict["gate"] == "error_rate"
    assert verdict["canary"]["requests"] > verdict["canary"]["events"] > 0
    assert verdict["baseline"]["requests"] > 0
    assert 0 < run.report["exposed"] < run.report["users"]["sent"] / 2
    assert run.report["users"]["dropped"] == 0
    assert 0 <= run.report["cut"]["after_seconds"] < 30
    assert run.report["cut"]["seconds"] < 1
    assert run.report["drained"]["cut"] == 0
    assert run.report["drained"]["seconds"] < 20
    assert run.report["unload_seconds"] is not None
    assert all(step["seconds"] >= 0 for step in run.report["steps"])
    assert [step["name"] for step in run.report["steps"]][-1] == "rollback"
    assert run.report["runbook"] == "docs/runbooks/inference-api-debugging.md"
    assert re.search(r"\n  dropped +0 requests", run.out)
    for word in ("gate ", "exposed ", "weight 0 ", "drain ", "unload", "runbook ", "metrics "):
        assert word in run.out
    samples = [json.loads(line) for line in site.junit.with_suffix(".metrics.jsonl").read_text().splitlines()]
    assert samples[0]["image"] == "inference-gateway:v2-errors"
    assert len(samples) > 5


def test_a_slow_build_is_rolled_back_by_its_latency(site):
    """Every answer is right, and comes too late."""
    run = site.run(build="v2-slow", **{**SHORT, **ENDLESS})

    assert run.exit == 1, run.out
    failed = {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}
    assert failed
    assert failed <= {"latency_p99", "ttft_p99"}
    assert run.report["users"]["dropped"] == 0


def test_another_model_version_is_refused_before_any_user_meets_it(site):
    """Its numbers could not be compared."""
    run = site.run(build="v2-model8", **HASTY)

    assert run.exit == 1
    assert "demo-llm@7" in run.texts["baseline"]
    assert "demo-llm@8" in run.texts["baseline"]
    assert run.report["end"] == "not started"
    assert run.report["exposed"] == 0
    assert run.report["users"]["dropped"] == 0
    assert run.report["canary"]["pin"] not in run.report["users"]["served"]
    assert_lines_stand_alone(run.out)


def test_a_tag_without_a_build_is_one_line(site):
    """A typing error must not cost a warm-up."""
    run = site.run(build="v9")

    assert run.exit == 1
    assert "v9" in run.texts["verify image"]
    assert "Traceback" not in run.out


def test_a_kept_world_serves_on_and_the_next_run_starts_from_it(site):
    """The state machine of a real service: v2 is stable now."""
    first = site.run(keep="true", **SHORT)
    assert first.exit == 0, first.out
    assert first.report["users"]["dropped"] == 0
    address = address_in(first.texts["target"])

    assert builds_that_answer(address) == {"v2"}
    assert list(serving(site)) == ["v2"]
    assert "serving with inference-gateway:v2" in site.canary("status", *KEPT)[1]

    again = site.run(keep="true", **SHORT)
    assert again.exit == 0, again.out
    assert again.report["end"] == "already stable"
    assert "already stable" in again.out

    worse = site.run(build="v2-errors", keep="true", **{**SHORT, **ENDLESS})
    assert worse.exit == 1, worse.out
    assert worse.report["stable"]["image"] == "inference-gateway:v2"
    assert worse.report["users"]["dropped"] == 0
    assert address_in(worse.texts["target"]) == address
    assert builds_that_answer(address) == {"v2"}

    assert site.canary("down", *KEPT)[0] == 0
    assert not site.alive()


def test_a_cancelled_job_drains_and_rolls_back(site):
    """CI sends SIGTERM; the requests under way are answered first."""
    process = site.start(**{**HASTY, **ENDLESS})
    site.wait_for("ramp[50%]", process)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    run = site.ended(process)

    assert run.exit == 2, run.out
    assert run.report["end"] == "rolled back"
    assert run.report["why"] == "SIGTERM"
    assert run.report["users"]["dropped"] == 0
    assert run.report["drained"]["cut"] == 0


def test_a_reader_that_leaves_before_the_rollout_begins_deploys_nothing(site):
    """`| head -3` closes the pipe while pytest still writes its header."""
    run = read_by(site, "head -3")

    assert run.exit != 0
    assert run.report == {}
    assert "Traceback" not in run.out


def test_a_reader_that_leaves_in_the_middle_changes_nothing_but_the_output(site):
    """The canary has half of the users when the pipe closes: the end is a known one, and the status says which."""
    run = read_by(site, r"sed '/ramp\[50%\]/q'")

    assert run.report["end"] in ("promoted", "rolled back"), run.out
    assert (run.exit == 0) == (run.report["end"] == "promoted")
    assert run.report["users"]["dropped"] == 0
    assert run.report["trouble"] == []
    assert run.report["drained"] is None or run.report["drained"]["cut"] == 0
    assert "Traceback" not in run.out


def read_by(site, reader):
    """Run with the output in a pipe to ``reader``; the exit status is pytest's."""
    script = f"{shlex.join(site.command(**HASTY))} | {reader}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=site.folder, env=site.env, capture_output=True, text=True, timeout=120, check=False
    )
    run = site.read(int(done.stdout.splitlines()[-1]), done.stdout + done.stderr)
    assert not site.alive()
    return run


@pytest.mark.parametrize("options", [("-q",), ("-v", "-s")], ids=" ".join)
def test_the_options_that_people_add_leave_the_lines_readable(site, options):
    """Each line of ours stands alone, whatever pytest writes between them."""
    run = site.run(*options, build="v2-model8", **HASTY)

    assert run.exit == 1
    assert_lines_stand_alone(run.out)


def test_two_rehearsals_at_once_do_not_disturb_each_other(site, another):
    """Ports are free ones, and state lies beside the project."""
    first, second = site.start(**SHORT), another.start(**SHORT)
    ends = [site.ended(first), another.ended(second)]

    assert [end.exit for end in ends] == [0, 0], [end.out for end in ends]
    assert [end.report["users"]["dropped"] for end in ends] == [0, 0]
    assert address_in(ends[0].texts["target"]) != address_in(ends[1].texts["target"])


def test_an_ordinary_user_without_a_home_can_run_it(open_site):
    """No privilege is needed: no port below 1024, no folder outside the project."""
    command, given = open_site.command(build="v2-model8", **HASTY), {"env": {**open_site.env}}
    given["env"].pop("HOME", None)
    if os.getuid() == 0:
        command, given = as_nobody(command, given["env"], open_site.folder)
    done = subprocess.run(
        command, cwd=open_site.folder, capture_output=True, text=True, timeout=90, check=False, **given
    )
    run = open_site.read(done.returncode, done.stdout + done.stderr)

    assert run.exit == 1, run.out
    assert "demo-llm@8" in run.texts.get("baseline", ""), run.out


def test_ctrl_c_pressed_again_and_again_rolls_back_and_exits_with_2(site):
    """The second comes while pytest deals with the first."""
    process = site.start(**{**HASTY, **ENDLESS})
    site.wait_for("ramp[50%]", process)
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        time.sleep(0.15)
    run = site.ended(process)

    assert run.exit == 2, run.out
    assert run.report["end"] == "rolled back"
    assert run.report["users"]["dropped"] == 0
    assert "Traceback" not in run.out


def test_a_control_runs_beside_the_canary_and_is_gone_at_the_end(site):
    """A second copy of the stable build, as a process of its own, with its own share on the real router."""
    run = site.run(**{**HASTY, "stages": "25,100", "control": "true"})

    assert run.exit == 0, run.out
    assert run.report["users"]["dropped"] == 0
    assert len(run.report["users"]["served"]) == 3
    assert "control" in run.texts["deploy"]
    assert site.alive() == []


def test_a_control_that_dies_takes_the_rollout_with_it(site):
    """Its users would go on being refused, and any canary would look good beside it."""
    process = site.start(**{**HASTY, **ENDLESS, "control": "true"})
    site.wait_for("ramp[50%]", process)
    copies = [pid for pid in site.alive() if b"\0v1\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    started = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) for pid in copies}
    assert len(copies) == 2
    os.kill(max(copies, key=lambda pid: started[pid]), signal.SIGKILL)

    run = site.ended(process)

    assert run.exit == 1, run.out
    assert run.report["end"] == "rolled back"
    assert "the control is plainly broken" in run.report["why"] or "split" in run.report["why"], run.report["why"]
    assert site.alive() == []
