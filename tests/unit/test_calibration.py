"""Levels that keep false rollbacks rare on a history, by whichever knob costs bad builds less."""

from dataclasses import replace

import numpy as np
import pytest

from pytest_canary.calibrated import digest_of
from pytest_canary.calibration import Asked, as_file, calibrate
from pytest_canary.errors import UsageError
from pytest_canary.gates import Bursts, Decide, Levels
from pytest_canary.play import Buckets
from tests.unit.histories import gate, history, plan

QUICK = Asked(plays=40, allowed=0.075, seed=1)
BURSTS = {"hours": 1.0, "replicas": 10, "each": 20.0, "base": 0.01, "bursts": 400.0}
LENIENT = Levels(alpha=0.3, replicas=1.5, bursts=Bursts.IGNORE)
"""A gate that takes every request to be independent."""
SHORT = {"shares": (0.2, 0.5, 1.0), "hold": 120.0}


@pytest.fixture(scope="module")
def bursts():
    """What is found on a history with bursts, by a gate that asks for little; three plays of forty are allowed."""
    told = plan(gate(levels=LENIENT), **SHORT)
    return calibrate(told, history(**BURSTS), QUICK)


def test_a_history_without_trouble_raises_nothing():
    """The default is the floor, and enough."""
    (found,) = calibrate(plan(hold=180.0), history(hours=1, replicas=12), QUICK).found

    assert not found.raised
    assert found.enough
    assert found.before.false == found.after.false
    assert found.after.false.stopped <= 4
    assert (found.after.times, found.after.caught) == (3.0, 1.0)


def test_bursts_raise_the_levels_until_false_rollbacks_are_rare(bursts):
    """At most twice the share that was asked for, on plays by which nothing was chosen."""
    (found,) = bursts.found

    assert found.before.false.stopped > 3
    assert found.raised
    assert found.enough
    assert found.after.false.stopped < found.before.false.stopped
    assert found.phi >= 1
    assert found.replicas >= 1.5


def test_what_it_costs_a_bad_build_is_told(bursts):
    """Rarer false rollbacks are paid by the users of bad builds."""
    (found,) = bursts.found

    assert found.after.exposed > found.before.exposed
    assert found.after.caught > 0.5


def test_all_gates_together_are_counted_once_a_play():
    """A play that two gates roll back is one rollback."""
    told = plan(gate(levels=LENIENT), gate("client_error_rate", levels=LENIENT), **SHORT)
    past = history(**BURSTS)
    both = replace(past, counters={**past.counters, "client_errors": past.counters["errors"]})
    result = calibrate(told, both, Asked(plays=20, allowed=0.2, seed=1))
    one, other = result.found

    assert one.before.false.stopped <= result.before.stopped <= one.before.false.stopped + other.before.false.stopped
    assert result.after.stopped <= result.before.stopped
    assert result.after.plays == 20


def test_the_same_seed_finds_the_same():
    """A calibration can be repeated by somebody else."""
    told, past = plan(hold=60.0), history(hours=0.5)
    one, again = (calibrate(told, past, replace(QUICK, plays=20)) for _ in range(2))

    assert one.found == again.found
    assert (one.before, one.after) == (again.before, again.after)


def test_a_plain_rule_has_no_levels_to_raise():
    """It compares numbers, so it is measured, and said to be beyond help."""
    told = plan(gate(decide=Decide.THRESHOLD), hold=60.0)
    (found,) = calibrate(told, history(hours=1, each=3.0, base=0.02), replace(QUICK, plays=40)).found

    assert found.before.false.stopped > 4
    assert not found.raised
    assert not found.enough


def test_levels_of_the_file_are_the_floor():
    """Whoever asks for more has more."""
    own = gate(design_effect=3.0)
    strict = replace(own, levels=replace(own.levels, replicas=40.0))
    (found,) = calibrate(plan(strict, hold=60.0), history(hours=0.5), replace(QUICK, plays=20)).found

    assert found.phi >= 3.0
    assert found.replicas >= 40.0


def test_what_cannot_be_played_is_left_out_and_said():
    """Silence of a gate that nobody counted must not look like a rate of nought."""
    told = plan(gate(), gate("gpu_memory"), gate("ttft_p99", ratio=1.3), gate("probe_error_rate"), hold=60.0)
    result = calibrate(told, history(hours=0.5), replace(QUICK, plays=20))

    assert [one.gate.name for one in result.found] == ["error_rate"]
    assert dict(result.left_out) == {
        "gpu_memory": "a gauge has no sample size",
        "ttft_p99": "the history does not count ttft",
        "probe_error_rate": "counted by probes, which no history holds",
    }


def test_a_gate_that_its_buckets_cannot_tell_is_not_called_good():
    """No play began, so there is no rate, no row in the file, and the reason is said."""
    past = history(hours=0.5)
    coarse = Buckets((1.0,), np.stack([past.requests, 0 * past.requests], axis=2), past.requests)
    told = plan(gate("latency_p99", ratio=1.2), hold=60.0)
    result = calibrate(told, replace(past, histograms={"latency": coarse}), replace(QUICK, plays=20))
    (found,) = result.found

    assert str(found.after.false) == "not played"
    assert found.refused == 20
    assert "cannot be judged" in found.why
    assert not as_file(result.found, result.before, result.after, at=1.0, of="x", stages="s", doubts=[]).gates


def test_one_replica_is_refused():
    """Before anything is played."""
    with pytest.raises(UsageError, match="expected at least 2"):
        calibrate(plan(), history(replicas=1), QUICK)


def test_the_file_holds_what_was_found(bursts):
    """And what it was found for."""
    (found,) = bursts.found
    told = as_file(bursts.found, bursts.before, bursts.after, at=1.0, of="x", stages="s", doubts=["few"])

    assert told.gates[0].plan == digest_of(found.gate)
    assert (told.gates[0].phi, told.gates[0].replicas) == (found.phi, found.replicas)
    assert told.gates[0].after == found.after.false
    assert told.doubts == ("few",)
