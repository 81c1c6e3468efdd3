"""Finds the node among the processes of the machine."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.places import STATE


def began(pid: int) -> str:
    """When ``pid`` was started, in ticks; nothing if there is none, or if it has ended."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return "" if not fields or fields[0] in "ZX" else fields[19]


def inside() -> list[int]:
    """The processes of the node: they name its folder, and live in a PID namespace below this one."""
    every = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in every if len(_inner(pid)) > 1 and str(STATE) in _read(pid, "cmdline")]


def first() -> int | None:
    """The PID 1 of the node, as seen from here."""
    for pid in inside():
        while pid > 1 and len(_inner(pid)) > 1:
            if _inner(pid)[1] == "1":
                return pid
            pid = int(_status(pid, "PPid")[0])
    return None


def _inner(pid: int) -> list[str]:
    """The number of ``pid`` in each namespace that it is in, from here downwards."""
    return _status(pid, "NSpid")


def _status(pid: int, field: str) -> list[str]:
    for line in _read(pid, "status").splitlines():
        if line.startswith(f"{field}:"):
            return line.split()[1:]
    return ["0"]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""
