"""The SHA-256 of a model file or a folder of them; large ones are read once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from pytest_canary.errors import NotStarted
from pytest_canary.identity import Said, Source, Stated
from pytest_canary.steps.deploy import Tick

CHUNK = 1 << 22
FILE = "digests.json"


class Digests:
    """Digests of what stands in files relative to ``home``; ``state`` holds those that are known already."""

    def __init__(self, home: Path, state: Path) -> None:
        self._home, self._cache = home, state / FILE
        self._now: dict[str, str] = {}

    def said(self, stated: Stated) -> Said:
        """What the rollout.yaml states of a model, a file by its digest."""
        if stated.file:
            return Said(Source.FILE, stated.file, self.of(stated.file))
        return Said.by(Source.REGISTRY if "@sha256:" in stated.text else Source.STATED, stated.text)

    def version(self, stated: Stated | None) -> str:
        """The same of a policy, in words."""
        return "" if stated is None else str(self.said(stated)) if stated.file else stated.text

    def of(self, name: str, tick: Tick = lambda _: None) -> str:
        """``sha256:...`` of the file, or of the list of all files in the folder; within one run it does not change.

        Raises:
            NotStarted: it cannot be read.

        """
        if name not in self._now:
            try:
                self._now[name] = self._read(self._home / name, tick)
            except OSError as error:
                raise NotStarted(f"{name}: cannot be read: {error.strerror}; see `model` and `policy`") from error
        return self._now[name]

    def _read(self, path: Path, tick: Tick) -> str:
        files = sorted(_files(path)) if path.is_dir() else [path]
        stats = [os.stat(file) for file in files]
        marks = [(str(file), one.st_size, one.st_mtime_ns, one.st_ino) for file, one in zip(files, stats, strict=True)]
        key, known = f"{path.absolute()} {sha256(repr(marks).encode()).hexdigest()}", self._known()
        if key not in known:
            known = {old: digest for old, digest in known.items() if not old.startswith(f"{path.absolute()} ")}
            known[key] = _of_files(path, files, sum(stat.st_size for stat in stats), tick)
            with suppress(OSError):  # then it is read again next time
                self._cache.parent.mkdir(parents=True, exist_ok=True)
                self._cache.write_text(json.dumps(known))
        return known[key]

    def _known(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            known = json.loads(self._cache.read_text())
            if isinstance(known, dict):
                return known
        return {}


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in names)


def _raise(error: OSError) -> None:
    raise error


def _of_files(path: Path, files: list[Path], size: int, tick: Tick) -> str:
    """Of one file its own; of a folder that of the lines ``DIGEST  PATH``, as ``sha256sum`` writes them."""
    done, lines = 0, list[str]()
    for file in files:
        digest = sha256()
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                tick(f"{path.name} to be read: {done / 1e9:.1f} of {size / 1e9:.1f} GB")
        if path.is_file():
            return f"sha256:{digest.hexdigest()}"
        lines.append(f"{digest.hexdigest()}  {file.relative_to(path).as_posix()}\n")
    return f"sha256:{sha256(''.join(lines).encode()).hexdigest()}"
