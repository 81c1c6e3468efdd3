"""A run of real Envoy and real builds, replayed from its recording: the same verdict at the same poll."""

from __future__ import annotations

import subprocess
import sys
from math import inf, isclose

import pytest

from pytest_canary.plan import make_plan
from pytest_canary.replay import Now, play
from pytest_canary.spec import load
from tests.local.rehearsal import QUICK, QUIET, Site

OVERRIDES = [f"{key}={value}" for key, value in QUICK.items()]
MARKED = [(("ttft_p99",), {"ratio": 1.5}, "test_gates.py::test_the_first_token_is_not_later")]
"""What the tests beside the example's rollout.yaml declare."""


@pytest.fixture
def site(tmp_path):
    """The example in a folder of its own."""
    site = Site(tmp_path)
    yield site
    site.end()


def played(site):
    """The recording of the run, under the rules of that run."""
    path = next((site.folder / ".pytest_canary").rglob("recordings/*.jsonl"))
    spec = load(site.folder / "rollouts/inference_gateway/rollout.yaml", overrides=OVERRIDES)
    return play(path, make_plan(spec, rollout="rollout.yaml", image=None, marked=MARKED))


def typed(site):
    """What `pytest --canary-replay` says of it, with the tests at stages, and its exit code."""
    words = [sys.executable, "-m", "pytest", *QUIET, "rollouts/", "--canary-replay=.pytest_canary"]
    words += ["--canary-replay-expect=same", *(f"--canary-set={override}" for override in OVERRIDES)]
    done = subprocess.run(
        words, cwd=site.folder, env=site.env, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


def number(value):
    """A number of a recording, where infinity stands as a word."""
    return inf if value == "inf" else value


@pytest.mark.parametrize(("build", "end"), [("v2", Now.PROMOTED), ("v2-errors", Now.ROLLED_BACK)])
def test_a_real_run_is_replayed_with_the_same_verdicts_at_the_same_polls(site, build, end):
    """What gates say of last month is worth something only if they say of yesterday what they said yesterday."""
    run = site.run(build=build)
    assert run.report["end"] == end, run.out
    replay = played(site)

    assert (replay.now, replay.same) == (end, True), replay.line
    assert replay.looks == replay.then.looks > 0
    stages = QUICK["stages"].split(",")
    assert replay.verdicts
    for verdict in replay.verdicts:
        then = replay.then.verdicts[f"{stages[verdict.stage]}%", verdict.gate]
        assert (verdict.status, verdict.canary.requests) == (then["status"], then["requests"]), verdict
        for name in ("evidence", "odds", "ratio"):
            was, now = number(then[name]), getattr(verdict, name)
            assert was == now or isclose(was, now, rel_tol=1e-9), (name, was, verdict)
    code, out = typed(site)
    assert code == 0, out
    assert f"then {end}" in out
