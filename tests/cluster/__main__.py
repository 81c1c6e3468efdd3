"""``python -m tests.cluster up | down | status | build | demo | users``: a Kubernetes of one node on this machine."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from tests.cluster import demo, node, rise, sharing, supplies
from tests.cluster.cluster import Cluster, ours
from tests.cluster.console import Broken, Unavailable, say


def main(argv: Sequence[str] | None = None) -> int:
    """0, 1 if something broke or ``status`` found nothing, 4 if this machine cannot run a cluster."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status", "build", "demo", "users"))
    parser.add_argument("namespace", nargs="?", default="demo", help="where the demo is, or its users enter")
    parser.add_argument("--rate", type=float, default=60.0, help="requests of users per second")
    given, began = parser.parse_args(argv), time.monotonic()
    try:
        match given.action:
            case "demo":
                demo.demo(_standing(), given.namespace)
                return 0
            case "users":
                return demo.users(_standing(), given.namespace, given.rate)
            case action:
                return {"up": _up, "down": _down, "status": _status, "build": _build}[action](began)
    except Unavailable as error:
        sys.stderr.write(f"tests.cluster: {error}\n")
        return 4
    except Broken as error:
        sys.stderr.write(f"tests.cluster: {error}\n")
        return 1


def _standing() -> Cluster:
    """The cluster that the environment names, or ours, which must be up."""
    if os.environ.get("CANARY_KUBECONFIG"):
        return sharing.running()
    if not rise.standing():
        raise Broken("nothing is up; type `python -m tests.cluster up`")
    return ours()


def _up(began: float) -> int:
    with sharing.locked():
        cluster = rise.up()
        sharing.keep()
    rise.tell(cluster, began)
    return 0


def _build(began: float) -> int:
    """Everything that a cluster is started from, or a look at the one that the environment names."""
    if os.environ.get("CANARY_KUBECONFIG"):
        cluster = sharing.running()
        say(f"the cluster of {cluster.kubeconfig}, context {cluster.context}")
        return 0
    node.check()
    with sharing.locked():
        supplies.gather()
    say(f"all parts are there after {time.monotonic() - began:.1f} s")
    return 0


def _down(began: float) -> int:
    with sharing.locked():
        rise.down()
    left = node.left()
    say(f"down after {time.monotonic() - began:.1f} s" + (f"; left: {', '.join(left)}" if left else ""))
    return 1 if left else 0


def _status(began: float) -> int:
    if not rise.standing():
        left = node.left()
        say(f"down; left: {', '.join(left)}" if left else "down")
        return 1
    rise.tell(ours(), began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
