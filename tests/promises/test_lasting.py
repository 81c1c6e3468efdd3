"""What serves users between rollouts is not ours to stop, and is locked where all who roll it out can see that."""

from __future__ import annotations

import pytest

from pytest_canary.adapters.ledger import FileLedger
from pytest_canary.adapters.ledger.lease import LeaseLedger
from pytest_canary.adapters.memory import MemoryPlatform
from pytest_canary.spec import load
from pytest_canary.world import ledger_of
from tests.promises.test_by_hand import ROLLOUT, site, typed

__all__ = ["site", "typed"]


@pytest.fixture
def lasting(monkeypatch):
    """The memory platform as one that serves users before and after every rollout."""
    monkeypatch.setattr(MemoryPlatform, "lasting", True)


@pytest.mark.usefixtures("lasting")
def test_down_is_refused_and_names_recover(site, typed):
    """Users are there; whoever types it in the wrong folder has stopped nothing."""
    site.kept("gateway:v2")
    before = site.acts
    code, said = typed("down")

    assert code == 4
    assert "serves users" in said
    assert "pytest-canary recover" in said
    assert site.runs("gateway:v2")
    assert site.acts == before
    assert list(FileLedger(site.state).read())


@pytest.mark.usefixtures("lasting")
def test_down_is_refused_after_a_dead_run_too_and_recover_keeps_the_stable_build(site, typed):
    """What it left is put right, and the rest goes on."""
    site.begun(keep=False).kill()
    refused = typed("down")
    code, said = typed("recover")

    assert refused[0] == 4
    assert code == 0
    assert "100 % on gateway:v1" in said
    assert "pytest-canary down" not in said


def spec_of(tmp_path, target):
    """A rollout whose platform and router are as given."""
    text = ROLLOUT.replace("SERVICE", "gateway")
    for kind, told in target.items():
        text = text.replace(f"{{{kind}}}", told)
    (tmp_path / "rollout.yaml").write_text(text)
    return load(tmp_path / "rollout.yaml")


def test_a_rollout_in_a_cluster_is_held_by_a_lease_that_its_route_names(tmp_path):
    """Others may roll out the same from other machines; nobody is asked before it is used."""
    target = {
        "PLATFORM": "{kubernetes: {namespace: shop, deployment: gateway, kubeconfig: /nowhere}}",
        "ROUTER": "{gateway-api: {route: users}}",
    }
    ledger = ledger_of(spec_of(tmp_path, target), tmp_path)

    assert isinstance(ledger, LeaseLedger)
    assert ledger.name == "pytest-canary-users"


def test_a_rollout_on_one_machine_is_held_by_a_file(tmp_path):
    """Nobody else can reach what runs there."""
    target = {"PLATFORM": "{memory: {}}", "ROUTER": "{memory: {}}"}

    assert isinstance(ledger_of(spec_of(tmp_path, target), tmp_path), FileLedger)
