"""Debian's packages, unpacked beside the machine: to install them would start their servers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.console import Broken, Unavailable, sh

_NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug")


def unpack(packages: Sequence[str], target: Path) -> None:
    """Make the folder ``target`` with what is in ``packages``, as Debian's archive has them today."""
    with tempfile.TemporaryDirectory() as folder:
        _download(packages, Path(folder))
        target.mkdir()
        for package in sorted(Path(folder).glob("*.deb")):
            sh("dpkg", "-x", package, target)
    for name in _NOT_NEEDED:
        shutil.rmtree(target / name, ignore_errors=True)


def _download(packages: Sequence[str], folder: Path) -> None:
    try:
        sh("apt-get", "download", "-qq", *packages, cwd=folder)
    except FileNotFoundError as error:
        raise Unavailable("found no apt-get; the node is made of Debian's packages") from error
    except Broken:
        # No lists of packages, as in a fresh container, or lists that name files which are gone.
        sh("apt-get", "update", "-qq")
        sh("apt-get", "download", "-qq", *packages, cwd=folder)
