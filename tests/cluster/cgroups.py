"""The control groups of the pods, below one of the cluster's own."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tests.cluster.places import CGROUP

_TOP = Path("/sys/fs/cgroup")


def make() -> None:
    """Make the group in each hierarchy; kubelet demands that it is there."""
    if (_TOP / "cgroup.controllers").exists():
        for controller in (_TOP / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):
                (_TOP / "cgroup.subtree_control").write_text(f"+{controller}")
        (_TOP / CGROUP).mkdir(exist_ok=True)
        return
    for hierarchy in _hierarchies():
        group = hierarchy / CGROUP
        group.mkdir(exist_ok=True)
        # In v1 a new cpuset is empty, and no process may enter it.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (group / name).exists():
                (group / name).write_text((hierarchy / name).read_text())


def left() -> list[Path]:
    """The groups that are there."""
    places = [_TOP / CGROUP, *(hierarchy / CGROUP for hierarchy in _hierarchies())]
    return [place for place in places if place.exists()]


def remove() -> None:
    """Remove the groups from the bottom up; what has just been killed leaves them a moment later."""
    for top in left():
        for folder, _, _ in os.walk(top, topdown=False):
            _remove(Path(folder))


def _remove(group: Path) -> None:
    for _ in range(100):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return


def _hierarchies() -> list[Path]:
    return [place for place in _TOP.iterdir() if (place / "cgroup.procs").exists() and not place.is_symlink()]
