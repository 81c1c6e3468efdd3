"""The ledger in a cluster: a Lease is the lock, an annotation of it the facts of the rollout that is under way.

Any other machine finds what a lost run has left.  A rollout that has settled leaves nothing behind.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

from pytest_canary.adapters.kube import LABEL, Changed, Cluster, Json, Refused, beside, lease_name, short
from pytest_canary.adapters.ledger.claim import DURATION_SECONDS, Claim, identity
from pytest_canary.adapters.ledger.lock import Holder
from pytest_canary.errors import AdapterError, Busy, CanaryError, LedgerError, Lost
from pytest_canary.ports import Fact

FACTS = "pytest-canary/facts"
RENEW_SECONDS = 3.0
FRESH_SECONDS = 1.0
"""Who only looks on asks the API server no more often."""
TRIES = 5


class LeaseLedger:
    """Lock and journal of one route in one namespace; asks the API server when it is first used."""

    def __init__(self, platform: Mapping[str, Any], router: Mapping[str, Any], folder: Path, home: Path) -> None:
        self.folder = folder
        self._where = (
            beside(platform.get("kubeconfig"), home),
            platform.get("context"),
            str(platform.get("namespace")),
        )
        self._label = short(str(platform.get("deployment")))
        self.name = lease_name(str(router.get("route") or platform.get("deployment")))
        self._facts: list[Fact] | None = None
        self._me = ""
        self._renewed = 0.0
        self._one_at_a_time = RLock()

    @property
    def _cluster(self) -> Cluster:
        return _connected(*self._where)

    @property
    def _at(self) -> str:
        return f"Lease {self.name} in namespace {self._cluster.namespace}"

    # -- the lock ----------------------------------------------------------------------------------------------

    def acquire(self, run: str) -> None:
        """Hold this route for ``run``; raises Busy when another live run holds it."""
        with self._one_at_a_time:
            if self._me.startswith(f"{run} "):
                return
            for _ in range(TRIES):
                if self._taken(identity(run)):
                    return
            raise LedgerError(f"{self._at} changes faster than it can be taken; type the command again")

    def _taken(self, me: str) -> bool:
        lease = self._read()
        now = self._stamp()
        if lease is None:
            about = {"name": self.name, "labels": {LABEL: self._label}}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": {}}
            act: Callable[[str, Json], Json] = self._cluster.make
        else:
            claim = Claim.read(lease, self._now())
            if not claim.gone:
                said = f"{self._at} is held by {claim.holder}, {claim.machine}"
                raise Busy(f"{said}; wait for it, or `pytest-canary abort` there", run=claim.run)
            act = self._cluster.put
        lease["metadata"].setdefault("annotations", {}).setdefault(FACTS, "[]")
        facts = self._told(lease)  # damaged ones are not taken
        lease["spec"] |= {
            "holderIdentity": me, "leaseDurationSeconds": DURATION_SECONDS, "acquireTime": now, "renewTime": now,
            "leaseTransitions": lease["spec"].get("leaseTransitions", 0) + 1,
        }  # fmt: skip
        try:
            act("leases", lease)
        except Refused as error:
            if isinstance(error, Changed) or (error.status == 404 and act == self._cluster.put):
                return False
            raise LedgerError(str(error)) from error
        except AdapterError as error:
            raise LedgerError(str(error)) from error
        self._me, self._renewed, self._facts = me, time.monotonic(), facts
        self._forget()
        return True

    def renew(self) -> None:
        """Say that this run is still alive; raises Lost when somebody else has taken over."""
        with self._one_at_a_time:
            if self._me and time.monotonic() - self._renewed >= RENEW_SECONDS:
                self._write({"path": "/spec/renewTime", "value": self._stamp()})

    def holder(self) -> Holder | None:
        """Who holds this route now, if anybody, without taking it."""
        lease = self._look()
        claim = Claim.read(lease, self._now()) if lease is not None else None
        return None if claim is None or claim.gone else claim.holder

    def release(self) -> None:
        """Let go; a rollout that has settled takes its Lease with it.  Safe to repeat."""
        with self._one_at_a_time:
            if not self._me:
                self._hang_up()
                return
            try:
                if _settled(self._facts or []):
                    self._delete()
                else:
                    self._write({"path": "/spec/holderIdentity", "value": ""})
            except Lost:
                pass  # it is somebody else's to let go
            finally:
                self._me, self._facts = "", None
                self._forget()
                self._hang_up()

    def _hang_up(self) -> None:
        with suppress(CanaryError):  # of a cluster that was never reached there is nothing to let go
            self._cluster.close()

    def _delete(self) -> None:
        """Take the Lease away, on condition that we still hold it."""
        for _ in range(TRIES):
            lease = self._read()
            if lease is None or lease["spec"].get("holderIdentity") != self._me:
                return
            try:
                self._cluster.delete("leases", self.name, version=lease["metadata"]["resourceVersion"])
                return
            except Changed:
                continue
            except AdapterError as error:
                raise LedgerError(str(error)) from error
        raise LedgerError(f"{self._at} changes faster than it can be deleted; it ends by itself")

    # -- the facts ---------------------------------------------------------------------------------------------

    def append(self, fact: Fact) -> None:
        """Write ``fact`` and return once the API server has it; raises LedgerError."""
        with self._one_at_a_time:
            self._keep([*self._held(), fact])

    def read(self) -> Sequence[Fact]:
        """All facts of the present chapter; raises LedgerError when they cannot be read."""
        with self._one_at_a_time:
            if self._me:
                return list(self._held())
        lease = self._look()
        return self._told(lease) if lease is not None else []

    def close_chapter(self, keep: Sequence[Fact] = ()) -> None:
        """Begin a chapter with ``keep``; what was settled is not kept in the cluster."""
        with self._one_at_a_time:
            self._held()
            self._keep(list(keep))

    def _held(self) -> list[Fact]:
        if not self._me or self._facts is None:
            raise LedgerError(f"{self._at} is not held by us")
        return self._facts

    def _keep(self, facts: list[Fact]) -> None:
        text = json.dumps([{"kind": one.kind, "at": one.at, "data": one.data} for one in facts], default=_plain)
        self._write({"path": f"/metadata/annotations/{FACTS.replace('/', '~1')}", "value": text})
        self._facts = facts

    def _told(self, lease: Json) -> list[Fact]:
        text = (lease["metadata"].get("annotations") or {}).get(FACTS) or "[]"
        try:
            return [Fact(str(one["kind"]), float(one["at"]), dict(one["data"])) for one in json.loads(text)]
        except (ValueError, LookupError, TypeError) as error:
            raise LedgerError(f"{self._at}: its annotation {FACTS} is damaged: {error}; see docs/on-call.md") from error

    # -- the wire ----------------------------------------------------------------------------------------------

    def _write(self, change: Json) -> None:
        """Change one thing and renew, on condition that we still hold it."""
        now = self._stamp()
        mine = {"op": "test", "path": "/spec/holderIdentity", "value": self._me}
        patch = [mine, {"op": "replace", "path": "/spec/renewTime", "value": now}, {"op": "add", **change}]
        try:
            self._cluster.patch("leases", self.name, patch)
        except Refused as error:
            if error.status in (404, 409, 422):
                self._unless_lost(error)
            raise LedgerError(str(error)) from error
        except AdapterError as error:
            raise LedgerError(str(error)) from error
        self._renewed = time.monotonic()
        self._forget()

    def _unless_lost(self, error: Refused) -> None:
        lease = self._read()
        if lease is None:
            said = f"{self._at} was deleted: this run does not hold its rollout any more"
            raise Lost(said, taken=False) from error
        if lease["spec"].get("holderIdentity") != self._me:
            by = Claim.read(lease, self._now()).run or "somebody who let go of it"
            raise Lost(f"{self._at} was taken over by {by}: this run does not hold its rollout any more") from error

    def _forget(self) -> None:
        _SEEN.pop((self._where, self.name), None)

    def _read(self) -> Json | None:
        try:
            return self._cluster.get("leases", self.name)
        except AdapterError as error:
            raise LedgerError(str(error)) from error

    def _look(self) -> Json | None:
        """The Lease as it was at most a second ago."""
        key = (self._where, self.name)
        at, lease = _SEEN.get(key, (0.0, None))
        if time.monotonic() - at >= FRESH_SECONDS:
            lease = self._read()
            _SEEN[key] = time.monotonic(), lease
        return lease

    def _now(self) -> float:
        return self._cluster.now().timestamp()

    def _stamp(self) -> str:
        return self._cluster.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_SEEN: dict[tuple[Any, str], tuple[float, Json | None]] = {}


@cache
def _connected(kubeconfig: str | None, context: str | None, namespace: str) -> Cluster:
    return Cluster.connect(kubeconfig, context, namespace)


def _settled(facts: Sequence[Fact]) -> bool:
    """Whether no run is under way: none began, or the last one has ended."""
    kinds = [fact.kind for fact in facts if fact.kind in ("run", "settled")]
    return not kinds or kinds[-1] == "settled"


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
