"""Hours of virtual time in a blink: what is passed over at once is what would have been seen poll by poll."""

from dataclasses import replace

import pytest

from pytest_canary.adapters.simulated import PlayedMetrics
from pytest_canary.standin import stand_ins
from pytest_canary.testing import once, simulate

SERVICE = """
service: gateway
stages: [5, 25, 50, 100]
hold: 10m
min_requests: 100
deadline: 40m
poll: 5s
warmup: 0s
bake: 15s
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
  cost_per_request: {ratio: 1.2}
  output_tokens: {ratio: 1.3}
targets:
  local:
    platform: {local: {command: [never, started], stable: v1, ready: /}}
    router: {envoy: {}}
    metrics: {envoy: {}}
simulate: {rate: 60}
"""
PLACES = {
    "good": ([], {}),
    "errors": (["error_rate x3"], {}),
    "late": (["error_rate x4 from 50%"], {}),
    "slow": (["latency_p99 x1.3"], {}),
    "crash": (["crash at 50%"], {}),
    "cold": (["cold 2000"], {}),
    "quiet": ([], {"rate: 60": "rate: 2"}),
    "bursts": ([], {"rate: 60": "rate: 60, bursts: {every: 5m, for: 30s, errors: 8, latency: 2}"}),
    "proof": ([], {"hold: 10m": "hold: 10m\npace: proof"}),
}


@pytest.fixture
def rollouts(tmp_path):
    """A folder with a rollout.yaml, changed as told."""

    def write(changes):
        text = SERVICE
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "rollout.yaml").write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("place", PLACES)
def test_a_rollout_goes_the_same_way_poll_by_poll(rollouts, monkeypatch, place, seed):
    """The end, the stage and the sentence, users exposed, every verdict, and when it all happened."""
    inject, changes = PLACES[place]
    folder = rollouts(changes)
    at_once = simulate(folder, *inject, seed=seed)
    monkeypatch.delattr(PlayedMetrics, "ahead")
    assert _told(simulate(folder, *inject, seed=seed)) == _told(at_once)


def _told(run):
    verdicts = [(one.gate, one.stage, one.status, one.by, one.canary.requests) for one in run.verdicts]
    return run.end, run.stage, run.gates, run.exposed, run.seconds, run.why, verdicts


def test_a_copy_that_dies_between_two_decisions_ends_it_then(rollouts, monkeypatch):
    """What only the platform sees is looked at at every poll, those that are passed over too."""
    folder = rollouts({})

    def dying(*given):
        spec = stand_ins(*given)
        options = {**spec.platform.options, "dies": {"simulated": 700.0}}
        return replace(spec, platform=replace(spec.platform, options=options))

    monkeypatch.setattr(once, "stand_ins", dying)
    at_once = simulate(folder, seed=1)
    monkeypatch.delattr(PlayedMetrics, "ahead")
    poll_by_poll = simulate(folder, seed=1)
    assert "has died" in at_once.why
    assert (at_once.stage, at_once.exposed, at_once.seconds) == (
        poll_by_poll.stage, poll_by_poll.exposed, poll_by_poll.seconds,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_thin_traffic_is_not_taken_for_a_wrong_split(rollouts, seed):
    """At a request a second a build, every third poll finds nobody at the other side: that is chance, not a split."""
    changes = {"rate: 60": "rate: 2", "poll: 5s": "poll: 1s", "stages: [5, 25, 50, 100]": "stages: [50, 100]"}
    run = simulate(rollouts({**changes, "hold: 10m": "hold: 30m"}), seed=seed)
    assert "split" not in run.why
