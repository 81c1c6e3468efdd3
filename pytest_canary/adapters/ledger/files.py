"""Files that outlive a power cut: folders of our own, whole writes, errors in one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_canary.errors import LedgerError

TOP = ".pytest_canary"


@contextmanager
def one_line(verb: str, path: Path) -> Iterator[None]:
    """Raise LedgerError where the system raises OSError: what could not be done, why, and what to do."""
    try:
        yield
    except OSError as error:
        advice = "choose another folder with --canary-state"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = f"free space, or {advice}"
        where = error.filename or path
        raise LedgerError(f"cannot {verb} {where}: {error.strerror or error}; {advice}") from error


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents for nobody but this user, and keep a folder of our own name out of git."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    top = next((each for each in reversed(missing) if each.name == TOP), None)
    if top is not None:
        (top / ".gitignore").write_text("*\n", encoding="utf-8")


def write_all(handle: int, data: bytes) -> None:
    """Write ``data`` whole, and return once it is on the disk."""
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)


def write_new(path: Path, data: bytes) -> None:
    """Put a whole file in the place of ``path``: whoever looks finds the old one or the new one."""
    aside = path.with_name(f"{path.name}.new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(handle, data)
    finally:
        os.close(handle)
    aside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new names in ``folder`` outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
