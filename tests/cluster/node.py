"""Starts and ends the node: namespaces of its own, one link to the machine, and a supervisor inside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster import cgroups, credentials, places, processes, settings
from tests.cluster.api import Api
from tests.cluster.console import Broken, Unavailable, sh, wait
from tests.cluster.places import ADMIN, HIDDEN, HOST, LINK, LOG, NODE, PODS, RUN, SERVICES, STATE, UPLINK

_PROGRAMS = {
    "unshare": "util-linux", "mount": "mount", "ip": "iproute2", "openssl": "openssl", "apt-get": "apt", "dpkg": "dpkg",
}  # fmt: skip
_UNSHARE = ("unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--mount-proc", "--kill-child=KILL")
_PROCESS = STATE / "process.json"
_children: list[subprocess.Popen[bytes]] = []
"""The node, if this process started it: whoever starts has to take note of the end."""


def check() -> None:
    """Whether this machine and this user can start a node; if not, one line says why."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Unavailable("a cluster needs Linux and root: it makes namespaces, mounts and cgroups")
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        raise Unavailable(f"not all programs are here; apt-get install {' '.join(missing)}")
    try:
        sh(*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/run")
    except Broken as error:
        raise Unavailable(f"namespaces or mounts are not allowed here: {error}") from error


def start() -> None:
    """Start the node and return once its API server answers."""
    STATE.mkdir(mode=0o700)
    for folder in (RUN, LOG):
        folder.mkdir()
    credentials.write()
    settings.write()
    cgroups.make()
    made = [folder for folder in _hidden() if not folder.exists()]
    for folder in made:
        folder.mkdir()
    with (LOG / "supervisor.log").open("a") as log:
        outer = subprocess.Popen(
            [*_UNSHARE, sys.executable, "-m", "tests.cluster.supervisor"],
            cwd=places.ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    _children.append(outer)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    wait("supervisor", children.read_text)
    inner = int(children.read_text())
    _PROCESS.write_text(
        json.dumps({"pid": inner, "began": processes.began(inner), "made": [str(folder) for folder in made]})
    )
    _connect(inner)
    wait("API server", lambda: alive() and Api(ADMIN).healthy(), 120)


def alive() -> bool:
    """Whether the node runs; a pid that is somebody else's by now does not count."""
    about = _about()
    return bool(about) and processes.began(about["pid"]) == about["began"]


def stop() -> None:
    """End the node and remove all that it was."""
    about = _about()
    first = about["pid"] if alive() else processes.first()
    if first is not None:
        # When its PID 1 is gone, so is everybody else in there, and so are their mounts.
        os.kill(first, signal.SIGKILL)
        wait("the end of the node", lambda: not processes.began(first), 30)
    while _children:
        _children.pop().wait(10)
    wait("the end of the link", _unlinked, 10)
    cgroups.remove()
    for folder in reversed([Path(name) for name in about.get("made", ())]):
        if folder.exists():
            folder.rmdir()
    shutil.rmtree(STATE, ignore_errors=True)


def left() -> list[str]:
    """What there is of a cluster on this machine, in words."""
    found = [str(group) for group in cgroups.left()]
    found += [f"link {LINK}"] if LINK in _links() else []
    found += [f"route {route}" for route in sh("ip", "route").splitlines() if NODE in route]
    found += [
        f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if str(STATE) in line
    ]
    found += [f"process {pid}" for pid in processes.inside()]
    return found + ([str(STATE)] if STATE.exists() else [])


def _hidden() -> list[Path]:
    """The folders that the supervisor hides, each after those above it."""
    return [place for folder in HIDDEN for place in (*reversed(Path(folder).parents), Path(folder))]


def _connect(inner: int) -> None:
    sh("ip", "link", "add", LINK, "type", "veth", "peer", "name", UPLINK, "netns", inner)
    sh("ip", "addr", "add", f"{HOST}/30", "dev", LINK)
    sh("ip", "link", "set", LINK, "up")
    for network in (PODS, SERVICES):
        sh("ip", "route", "add", network, "via", NODE, "dev", LINK, "src", HOST)


def _unlinked() -> bool:
    """The kernel removes the link with the node, a moment later; what is left of a start that failed, we remove."""
    if LINK in _links():
        with contextlib.suppress(Broken):
            sh("ip", "link", "delete", LINK)
    return LINK not in _links()


def _about() -> dict[str, Any]:
    return json.loads(_PROCESS.read_text()) if _PROCESS.exists() else {}


def _links() -> list[str]:
    return os.listdir("/sys/class/net")
