"""``python -m tests.cluster.supervisor``: PID 1 of the node; when it is killed, the kernel ends the rest."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.cluster.api import Api
from tests.cluster.console import say, sh, wait
from tests.cluster.parts import ETCD, commands
from tests.cluster.places import ADMIN, HIDDEN, HOST, LOG, NODE, RUN, STATE, UPLINK, binaries, cache

_PAUSE = 0.5


def main() -> None:
    """Make the inside of the namespaces, start every part, and start again what ends."""
    sh("mount", "--make-rshared", "/")
    for folder in HIDDEN:
        sh("mount", "-t", "tmpfs", "tmpfs", folder)
    Path("/run/netns").mkdir()
    _connect()
    parts: dict[int, tuple[str, list[str], subprocess.Popen[bytes]]] = {}

    def start(name: str, command: list[str]) -> None:
        process = _start(name, command)
        # Kept, or subprocess would take note of the end of one while it starts another, and we never would.
        parts[process.pid] = name, command, process
        inside = {name: pid for pid, (name, _, _) in parts.items()}
        (STATE / "pids.json").write_text(json.dumps(inside))

    for name, command in commands():
        _await_needs(name)
        start(name, command)
    while True:
        pid, status = os.wait()
        if pid in parts:
            name, command, process = parts.pop(pid)
            process.returncode = os.waitstatus_to_exitcode(status)
            say(f"{name} ended with {process.returncode}; it is started again")
            time.sleep(_PAUSE)
            start(name, command)


def _connect() -> None:
    sh("ip", "link", "set", "lo", "up")
    wait("the link to the machine", lambda: f"{UPLINK}:" in Path("/proc/self/net/dev").read_text())
    sh("ip", "addr", "add", f"{NODE}/30", "dev", UPLINK)
    sh("ip", "link", "set", UPLINK, "up")
    sh("ip", "route", "add", "default", "via", HOST)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _await_needs(name: str) -> None:
    if name == "apiserver":
        wait("etcd", lambda: urllib.request.urlopen(f"{ETCD}/health", timeout=2).close() is None)
    if name == "controller-manager":
        wait("API server", Api(ADMIN).healthy, 120)
    if name == "kubelet":
        wait("containerd", (RUN / "containerd.sock").exists)


def _start(name: str, command: list[str]) -> subprocess.Popen[bytes]:
    node = cache() / "node"
    ours = f"{binaries()}:{node}/usr/bin:{node}/usr/sbin"
    environ = {**os.environ, "PATH": f"{ours}:{os.environ['PATH']}:/usr/sbin:/sbin"}
    with (LOG / f"{name}.log").open("a") as log:
        # A session of its own, or a signal to one would reach all.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environ, start_new_session=True
        )


if __name__ == "__main__":
    main()
