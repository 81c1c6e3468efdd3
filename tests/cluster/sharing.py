"""One cluster for all processes of all test runs on this machine: who starts it, and who ends it."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from tests.cluster import images, node, places, rise, supplies
from tests.cluster.cluster import Cluster
from tests.cluster.console import Unavailable, sh

_PASSING = places.STATE / "passing"
"""There when tests started the cluster, and nobody asked to keep it."""
_mine: list[IO[str]] = []
"""The file that this process holds a shared lock on while it uses the cluster."""


@contextmanager
def locked() -> Iterator[None]:
    """Nobody else starts or ends the cluster meanwhile."""
    with _open("lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def running() -> Cluster:
    """A cluster for this process: the given one, the one that is up, or one that ends with the last of its users."""
    given = _given()
    if given is not None:
        return given
    node.check()
    with locked():
        users = _open("users")
        fcntl.flock(users, fcntl.LOCK_SH)
        was_up = rise.standing()
        cluster = rise.up()
        if not was_up:
            _PASSING.touch()
    _mine.append(users)
    return cluster


def leave() -> bool:
    """Say that this process is done with the cluster; the last one ends it, unless it was up before."""
    running.cache_clear()
    if not _mine:
        return False
    with locked(), _mine.pop() as users:
        ends = passing() and _alone(users)
        if ends:
            rise.down()
        return ends


def _alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


atexit.register(leave)
# A child of this process shares its files, and would leave in its name.
os.register_at_fork(after_in_child=_mine.clear)


def passing() -> bool:
    """Whether the cluster ends with its users."""
    return _PASSING.exists()


def keep() -> None:
    """Let the cluster outlive the tests that started it."""
    _PASSING.unlink(missing_ok=True)


def _open(name: str) -> IO[str]:
    places.caches().mkdir(parents=True, exist_ok=True)
    return (places.caches() / name).open("a")


def _given() -> Cluster | None:
    """The cluster that the environment names: kind, k3s, any that this machine reaches."""
    kubeconfig = os.environ.get("CANARY_KUBECONFIG")
    if not kubeconfig:
        return None
    wanted = ("CANARY_GATEWAY", "CANARY_PROMETHEUS", "CANARY_REGISTRY")
    missing = [name for name in wanted if not os.environ.get(name)]
    program = shutil.which("kubectl")
    if missing or program is None:
        raise Unavailable(f"CANARY_KUBECONFIG is set; set {', '.join(missing) or 'PATH to a kubectl'} too")
    namespace, _, name = os.environ.get("CANARY_GATEWAY_NAME", "projectcontour/contour").partition("/")
    gateway, prometheus, registry = (os.environ[each].rstrip("/") for each in wanted)
    context = (
        os.environ.get("CANARY_CONTEXT") or sh(program, "--kubeconfig", kubeconfig, "config", "current-context").strip()
    )
    with locked():
        supplies.for_builds()
        images.publish(registry, images.builds())
    return Cluster(Path(kubeconfig), context, gateway, prometheus, registry, Path(program), namespace, name)
