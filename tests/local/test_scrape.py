"""The example as a user runs it, judged by what its builds count themselves."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pytest_canary.adapters.envoy.machine import find_binary
from tests.local.rehearsal import Site

pytestmark = pytest.mark.skipif(find_binary(None) is None, reason="Envoy is not installed")
SOON = {"drain_timeout": "1s", "platform.local.stop_seconds": "1"}
"""Nothing that hangs is waited for."""


@pytest.fixture
def site(tmp_path):
    """The example, with one line of its rollout.yaml changed."""
    made = Site(tmp_path)
    file = tmp_path / "rollouts" / "inference_gateway" / "rollout.yaml"
    text = file.read_text()
    assert text.count("metrics: {envoy: {}}") == 1
    file.write_text(text.replace("metrics: {envoy: {}}", "metrics: {scrape: {}}"))
    yield made
    made.end()


def test_a_good_build_is_promoted_by_what_it_counts_itself(site):
    """No Prometheus, and no numbers of the proxy's."""
    run = site.run(build="v2")

    assert run.exit == 0, run.out
    assert run.report["end"] == "promoted"
    assert run.report["users"]["dropped"] == 0
    assert "metrics are read by profile demo-gateway, found out" in run.out


def test_a_build_with_errors_is_rolled_back_by_what_it_counts_itself(site):
    """Its own 5xx convict it."""
    run = site.run(build="v2-errors", hold="30s")
    convicted = {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}

    assert (run.exit, run.report["end"]) == (1, "rolled back"), run.out
    assert convicted == {"error_rate"}
    assert run.report["users"]["dropped"] == 0


def test_a_build_that_dies_is_cut_at_once_though_nobody_counts_any_more(site):
    """Who is dead counts no errors; users would get no answers until the deadline."""
    run = site.run(build="v2-crash", hold="60s", deadline="100s")

    assert (run.exit, run.report["end"]) == (1, "rolled back"), run.out
    assert "is hurt: ended with exit status" in run.report["why"]
    assert run.report["users"]["dropped"] < 20


def test_a_build_that_hangs_is_cut_long_before_the_deadline(site):
    """Its process is there and answers nobody: neither users, nor whoever asks what it has counted."""
    process = site.start(build="v2", stages="10,100", hold="60s", deadline="100s", **SOON)
    said = site.wait_for("ramp[10%]", process)
    canary = [pid for pid in site.alive() if "--build\0v2" in Path(f"/proc/{pid}/cmdline").read_text()]
    for pid in canary:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    said += site.wait_for("hold[10%]", process)
    seconds = time.monotonic() - began
    run = site.ended(process)

    assert (run.exit, run.report["end"]) == (1, "rolled back"), said + run.out
    assert "nobody counts what inference-gateway:v2 " in run.report["why"]
    assert "timed out" in run.report["why"]
    assert seconds < 40, said
    assert canary
