"""No request of a user is dropped by us: not by a shift, a rollback at any stage, a promotion, or the next run."""

from __future__ import annotations

import json
import signal

import pytest

from tests.local.crowd import Crowd
from tests.local.main_job import ENDLESS, HASTY, address_in, watched

RATE = {"load.rate": "220", "warmup.prompts": "prompts.jsonl", "stages": "10,50,100", "poll": "500ms", "keep": "true"}
"""As many users as gateway, Envoy and load carry together on two cores without lag, a quarter of them streaming."""
KEPT = ("--set", "keep=true")
LAG_SECONDS = 0.005


@pytest.fixture
def site(tmp_path):
    """The example in a folder of its own."""
    yield from watched(tmp_path)


def crowded(site, process):
    """Let the crowd in as soon as the world stands; it leaves when the run has ended."""
    said = site.wait_for("canary target", process)
    with Crowd(address_in(said)) as crowd:
        run = site.ended(process)
    return crowd, run


def assert_nobody_was_dropped(crowd, run):
    """From the users' side, and from the crowd's."""
    assert crowd.lost == {}, (dict(crowd.lost), run.out)
    assert set(crowd.answered) == {"keeps its connection", "HTTP/1.0", "Connection: close", "streams", "goes away"}
    assert run.report["users"]["dropped"] == 0, run.report["users"]
    assert run.report["drained"]["cut"] == 0
    assert run.report["users"]["lag_p99_seconds"] < LAG_SECONDS


def test_promotion_and_the_next_run_drop_nobody(site):
    """The next run replaces the promoted build by another one, behind the same address."""
    crowd, first = crowded(site, site.start(**{**HASTY, **RATE}))
    assert first.exit == 0, first.out
    assert_nobody_was_dropped(crowd, first)
    assert first.report["users"]["sent"] > 1500

    crowd, again = crowded(site, site.start(**{**HASTY, **RATE, "canary.env": "{ROUND: two}"}))
    assert site.canary("down", *KEPT)[0] == 0
    assert again.exit == 0, again.out
    assert_nobody_was_dropped(crowd, again)


@pytest.mark.parametrize("stage", ["10%", "50%", "100%"])
def test_a_rollback_at_any_stage_drops_nobody(site, stage):
    """A job is cancelled while the canary has that share."""
    holds = {"stages": "[{weight: 10, hold: 1s}, {weight: 50, hold: 1s}, {weight: 100, hold: 1s}]"}
    endless = holds["stages"].replace(f"{stage[:-1]}, hold: 1s", f"{stage[:-1]}, hold: 60s")
    process = site.start(**{**HASTY, **RATE, **ENDLESS, "stages": endless})
    said = site.wait_for("canary target", process)
    with Crowd(address_in(said)) as crowd:
        site.wait_for(f"ramp[{stage}]", process)
        process.send_signal(signal.SIGTERM)
        run = site.ended(process)
    assert site.canary("down", *KEPT)[0] == 0

    assert run.exit == 2, run.out
    assert run.report["end"] == "rolled back"
    assert_nobody_was_dropped(crowd, run)


def test_an_old_build_that_ignores_sigterm_is_drained_before_it_is_killed(site):
    """It never closes a connection of its own will; when it is killed nobody is left on it."""
    crowd, run = crowded(
        site, site.start(**{**HASTY, **RATE, "platform.local.stable": "v2-deaf", "platform.local.stop_seconds": "1"})
    )
    assert site.canary("down", *KEPT)[0] == 0

    assert run.exit == 0, run.out
    assert_nobody_was_dropped(crowd, run)


def test_streams_longer_than_drain_timeout_are_cut_counted_and_named(site):
    """What we do cut is no secret."""
    example = site.folder / "rollouts" / "inference_gateway"
    asked = {"model": "demo-llm", "messages": [{"role": "user", "content": "Tell me a long story."}]}
    (example / "streams.jsonl").write_text(json.dumps({"stream": True, "body": asked}) + "\n")
    process = site.start(
        **{**HASTY, **ENDLESS, "load.prompts": "streams.jsonl", "load.rate": "50", "drain_timeout": "100ms"}
    )
    site.wait_for("ramp[50%]", process)
    process.send_signal(signal.SIGTERM)
    run = site.ended(process)

    assert run.exit == 2, run.out
    assert run.report["drained"]["cut"] > 0
    assert f"{run.report['drained']['cut']} requests were still in flight after `drain_timeout` (0.1 s)" in run.out
