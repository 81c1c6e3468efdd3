"""Who holds a Lease: a run, the machine that it runs on, and its process there."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from pytest_canary.adapters.kube import Json
from pytest_canary.adapters.ledger.lock import Holder
from pytest_canary.adapters.processes import look

DURATION_SECONDS = 15
"""A run that has not renewed for so long is lost."""
IN_THE_CLUSTER = "guard-in-the-cluster"
"""Whom the Lease names once the guard inside the cluster has acted; it is not there to put the rest right."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who holds a Lease, and whether that is still so."""

    run: str
    machine: str
    pid: int
    started: int
    since: float
    renewed: float
    expired: bool

    @classmethod
    def read(cls, lease: Json, now: float) -> Claim:
        """What a Lease says at ``now``, seconds since 1970 on the clock of the API server."""
        spec = lease["spec"]
        run, machine, pid, started = [*str(spec.get("holderIdentity") or "").split(), "", "", "0", "0"][:4]
        renewed, since = _seconds(spec.get("renewTime")), _seconds(spec.get("acquireTime"))
        expired = now - renewed > (spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        numbers = [int(text) if text.isdigit() else 0 for text in (pid or "0", started or "0")]
        return cls(run, machine, numbers[0], numbers[1], since, renewed, expired)

    @property
    def gone(self) -> bool:
        """Whether nobody holds it any more: not renewed in time, or a process of this machine that has ended."""
        if not self.run or self.run == IN_THE_CLUSTER or self.expired:
            return True
        return self.machine == machine() and self.holder.gone

    @property
    def holder(self) -> Holder:
        """The same, as of a process."""
        return Holder(self.run, self.pid, self.since, self.renewed, self.started)


def identity(run: str) -> str:
    """What this process writes into a Lease."""
    own = look("self")
    return f"{run} {machine()} {os.getpid()} {own.started if own else 0}"


@cache
def machine() -> str:
    """Host name, boot and the namespace of process numbers: a pid means something only there."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").partition("-")[0]
        numbers = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        boot = numbers = "?"
    return f"{socket.gethostname()}/{boot}/{numbers}"


def _seconds(stamp: object) -> float:
    try:
        return datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
