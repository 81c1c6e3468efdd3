"""Layers of images: tar files that depend on nothing but what is in them."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import places
from tests.cluster.console import step


@dataclass(frozen=True, slots=True)
class Layer:
    """One uncompressed layer: the registry is on this machine, so to pack it would only cost time."""

    path: Path
    digest: str

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size


def layer(name: str, key: str, files: Callable[[], Mapping[str, Path]]) -> Layer:
    """The layer with each file or folder of ``files`` at its place; made once for each ``key``."""
    folder = places.cache() / "layers"
    folder.mkdir(exist_ok=True)
    for made in folder.glob(f"{name}-{key}-*.tar"):
        return Layer(made, f"sha256:{made.stem.rpartition('-')[2]}")
    with step(f"layer {name} {key}"):
        unfinished = folder / f".{name}.{os.getpid()}"
        _write(unfinished, files())
        with unfinished.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        for old in folder.glob(f"{name}-*.tar"):
            old.unlink()
        return Layer(unfinished.rename(folder / f"{name}-{key}-{digest}.tar"), f"sha256:{digest}")


def _write(target: Path, files: Mapping[str, Path]) -> None:
    with tarfile.open(target, "w") as tar:
        made: set[str] = set()
        for place, source in sorted(files.items()):
            parts = [part for part in place.split("/") if part]
            for depth in range(1, len(parts)):
                _folder(tar, "/".join(parts[:depth]), made)
            tar.add(source, "/".join(parts) or ".", filter=_plain)
        _folder(tar, "tmp", made, 0o1777)


def _folder(tar: tarfile.TarFile, name: str, made: set[str], mode: int = 0o755) -> None:
    if name not in made:
        made.add(name)
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, mode
        tar.addfile(info)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info
