"""A Lease is lock and journal: the contract of a ledger, on a cluster, and what happens when two want it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from pytest_canary.adapters.kube import Cluster
from pytest_canary.adapters.ledger import claim
from pytest_canary.adapters.ledger.lease import FACTS, LeaseLedger
from pytest_canary.errors import Busy, LedgerError, Lost, SpecError
from pytest_canary.ports import Fact
from tests.adapters.contracts import LedgerContract
from tests.cluster import cluster as clusters
from tests.cluster import namespace as fresh
from tests.kubernetes.place import one_line, until

ELSEWHERE = "other-host/0badc0de/1"


class Leases:
    """Ledgers of one route in one namespace."""

    def __init__(self, cluster: clusters.Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.name = "pytest-canary-shop"

    def options(self) -> dict[str, str]:
        """Of the platform."""
        where = {"kubeconfig": str(self.cluster.kubeconfig), "context": self.cluster.context}
        return {**where, "namespace": self.namespace, "deployment": "shop"}

    def ledger(self, folder, **more) -> LeaseLedger:
        """As one process has it."""
        return LeaseLedger({**self.options(), **more}, {"route": "shop"}, folder, folder)

    def lease(self):
        """What is there; None when there is none."""
        found = self.cluster.get("-n", self.namespace, "leases")["items"]
        return next((one for one in found if one["metadata"]["name"] == self.name), None)

    def held_by(self, holder: str, *, seconds: int = 15, ago: float = 0.0, annotations=None) -> None:
        """Somebody else has written it."""
        stamp = datetime.fromtimestamp(time.time() - ago, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": stamp, "renewTime": stamp}
        about = {"name": self.name, "namespace": self.namespace, "annotations": annotations or {}}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": spec}
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(body))

    def clear(self) -> None:
        """No Lease."""
        self.cluster.kubectl("-n", self.namespace, "delete", "lease", self.name, "--ignore-not-found")


@pytest.fixture(scope="module")
def where(cluster):
    """A namespace without anything in it."""
    name = fresh(cluster)
    yield Leases(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def leases(where):
    """Nobody holds the rollout, before and after."""
    yield where
    where.clear()


class TestLeaseLedger(LedgerContract):
    """What a ledger promises."""

    @pytest.fixture
    def ledger(self, leases, tmp_path):
        """Of a route that nobody holds."""
        self.leases, self.folder = leases, tmp_path
        return leases.ledger(tmp_path)

    def other(self, _ledger):
        """Another object has nothing of this one but its name."""
        return self.leases.ledger(self.folder)


@pytest.fixture
def ledger(leases, tmp_path):
    """A ledger that a run holds."""
    ledger = leases.ledger(tmp_path)
    ledger.acquire("run-1")
    return ledger


@pytest.mark.usefixtures("ledger")
def test_who_is_refused_is_told_whom_to_wait_for(leases, tmp_path):
    """Run, process, machine and both ways on, in one line."""
    with pytest.raises(Busy) as error:
        leases.ledger(tmp_path).acquire("run-2")

    assert one_line(error.value, "Lease pytest-canary-shop", f"run run-1, pid {os.getpid()}", "`pytest-canary abort`")


def test_a_killed_process_of_this_machine_is_taken_over_at_once(leases, tmp_path):
    """Nobody waits for a Lease to run out whose holder is known to be dead; its facts are there."""
    code = (
        "import json, os, pathlib, signal, sys\n"
        "from pytest_canary.adapters.ledger.lease import LeaseLedger\n"
        "from pytest_canary.ports import Fact\n"
        "ledger = LeaseLedger(json.loads(sys.argv[1]), {'route': 'shop'}, pathlib.Path('.'), pathlib.Path('.'))\n"
        "ledger.acquire('dead')\n"
        "ledger.append(Fact('run', 1.0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, json.dumps(leases.options())]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    ledger = leases.ledger(tmp_path)
    assert ledger.holder() is None
    ledger.acquire("alive")

    assert [fact.kind for fact in ledger.read()] == ["run"]
    assert leases.lease()["spec"]["leaseTransitions"] == 2


def test_another_machine_is_waited_for_as_long_as_it_has_said(leases, tmp_path):
    """Its process cannot be seen from here, whatever its number."""
    leases.held_by(f"far {ELSEWHERE} {os.getpid()} 1", seconds=2)
    ledger = leases.ledger(tmp_path)
    with pytest.raises(Busy, match=r"run far.*other-host"):
        ledger.acquire("run-2")
    began = time.monotonic()

    def taken():
        try:
            ledger.acquire("run-2")
        except Busy:
            return False
        return True

    until(taken)
    assert 0.5 < time.monotonic() - began < 4


def test_a_pid_means_something_only_where_it_was_given(leases, tmp_path):
    """Two containers of one node have one kernel, one host name if they are told so, and processes of their own."""
    assert claim.machine().count("/") == 2
    held = claim.machine().rpartition("/")[0] + "/4026530000"
    leases.held_by(f"neighbour {held} 999999 7")
    with pytest.raises(Busy, match="neighbour"):
        leases.ledger(tmp_path).acquire("run-2")


def test_a_lease_of_another_tool_is_respected_and_then_taken(leases, tmp_path):
    """Its holder is one word, and it may have no annotations."""
    leases.held_by("somebody")
    with pytest.raises(Busy, match="somebody"):
        leases.ledger(tmp_path).acquire("run-1")
    leases.held_by("somebody", ago=60)
    ledger = leases.ledger(tmp_path)
    ledger.acquire("run-1")
    ledger.append(Fact("run", 1.0))

    assert [fact.kind for fact in ledger.read()] == ["run"]


def test_renewing_is_seen_by_everybody(leases, ledger, monkeypatch):
    """Every few seconds, not each time somebody says so."""
    before = leases.lease()["spec"]["renewTime"]
    ledger.renew()
    assert leases.lease()["spec"]["renewTime"] == before
    monkeypatch.setattr("pytest_canary.adapters.ledger.lease.RENEW_SECONDS", 0.0)
    ledger.renew()
    assert leases.lease()["spec"]["renewTime"] > before


def test_a_run_that_has_lost_its_lease_is_told_when_it_writes(leases, ledger, monkeypatch):
    """What it still does must not be done."""
    ledger.append(Fact("run", 1.0))
    leases.held_by(f"run-2 {ELSEWHERE} 1 1")
    monkeypatch.setattr("pytest_canary.adapters.ledger.lease.RENEW_SECONDS", 0.0)
    for act in (ledger.renew, lambda: ledger.append(Fact("weights", 2.0)), ledger.close_chapter):
        with pytest.raises(Lost, match=r"was taken over by run-2: this run does not hold its rollout any more"):
            act()


@pytest.mark.parametrize("kind", ["settled", "weights"])
def test_a_run_that_has_lost_its_lease_lets_go_of_nothing(leases, ledger, kind):
    """It belongs to whoever has it now."""
    ledger.append(Fact("run", 1.0))
    ledger.append(Fact(kind, 2.0))
    leases.held_by(f"run-2 {ELSEWHERE} 1 1")
    ledger.release()

    assert leases.lease()["spec"]["holderIdentity"].startswith("run-2 ")


def test_a_lease_that_somebody_deletes_is_lost(leases, ledger):
    """Facts that nobody can read are not written again elsewhere."""
    leases.clear()
    with pytest.raises(Lost, match="was deleted"):
        ledger.append(Fact("run", 1.0))
    ledger.release()


def test_a_rollout_that_has_settled_leaves_no_lease(leases, ledger, tmp_path):
    """And one that has not leaves its facts, to anybody."""
    ledger.append(Fact("run", 1.0))
    ledger.release()
    left = leases.lease()
    second = leases.ledger(tmp_path)
    assert left["spec"].get("holderIdentity", "") == ""
    assert [fact.kind for fact in second.read()] == ["run"]
    second.acquire("run-2")
    second.append(Fact("settled", 2.0))
    second.release()

    assert leases.lease() is None


def test_what_others_have_written_on_it_survives(leases, ledger):
    """Annotations and labels of theirs."""
    leases.cluster.kubectl("-n", leases.namespace, "annotate", "lease", leases.name, "team=shop")
    ledger.append(Fact("run", 1.0))

    assert leases.lease()["metadata"]["annotations"]["team"] == "shop"


def test_two_hundred_facts_fit_and_far_too_many_are_refused_by_their_name(leases, ledger):
    """An object has room for 256 KiB of annotations; full is not lost."""
    for number in range(200):
        ledger.append(Fact("weights", float(number), {"canary": number / 200, "why": "x" * 100}))
    assert len(json.loads(leases.lease()["metadata"]["annotations"][FACTS])) == 200
    with pytest.raises(LedgerError, match=r"[Tt]oo long") as error:
        ledger.append(Fact("note", 1.0, {"text": "x" * 300_000}))

    assert not isinstance(error.value, Lost)
    ledger.append(Fact("settled", 2.0))
    assert len(ledger.read()) == 201


def test_damaged_facts_are_not_taken_over_in_silence(leases, tmp_path):
    """Whoever put them right can try again at once."""
    leases.held_by("", annotations={FACTS: "[{"})
    ledger = leases.ledger(tmp_path)
    with pytest.raises(LedgerError, match=r"annotation pytest-canary/facts is damaged"):
        ledger.acquire("run-1")

    assert leases.lease()["spec"].get("holderIdentity", "") == ""


def test_there_is_no_lease_where_there_is_no_namespace(leases, tmp_path):
    """One line, and no five attempts."""
    with pytest.raises(LedgerError) as error:
        leases.ledger(tmp_path, namespace="t-nowhere").acquire("run-1")

    assert one_line(error.value, 'namespaces "t-nowhere" not found')


def test_no_such_context_is_bad_input(leases, tmp_path):
    """It is said when the ledger is first used."""
    with pytest.raises(SpecError, match=r"no context 'nowhere' in .*kubectl config get-contexts"):
        leases.ledger(tmp_path, context="nowhere").read()


def test_looking_asks_the_api_server_no_more_than_once_a_second(leases, ledger, tmp_path):
    """A status line that is drawn ten times a second is cheap."""
    ledger.renew()
    other = leases.ledger(tmp_path)
    other.holder()
    api: Cluster = other._cluster
    before = api.asked
    for _ in range(20):
        other.holder()
        other.read()

    assert api.asked - before <= 1
