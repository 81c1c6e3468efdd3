"""Which build an image names: the command that starts it, and a hash of that command and its code."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from pytest_canary.adapters.local.options import LocalOptions, fill
from pytest_canary.errors import AdapterError, ImageNotFound
from pytest_canary.ports import Change, Revision

VERIFY_SECONDS = 20.0


class Builds:
    """Turns images into revisions and revisions into command lines; starts no build."""

    def __init__(self, options: LocalOptions, service: str, home: Path) -> None:
        self._options = options
        self._service = service
        self._home = home

    def resolve(self, image: str, change: Change) -> Revision:
        """Pin ``image``: the digest is a hash of its command and code.

        Raises :class:`~pytest_canary.errors.ImageNotFound` when no build can be started from it.
        """
        named = Revision(image, "", change)
        if change.model is not None and not self._options.uses("model"):
            raise AdapterError(
                f"canary.model is {change.model!r}, but platform.local.command has no {{model}} to put it; add one"
            )
        self._check_tag(named)
        argv = fill(self._options.command, self._values(named))
        if self.program(argv) is None:
            raise ImageNotFound(f"{image}: no program {argv[0]!r} on PATH or below {self._home}; see platform.local")
        self._verify(named)
        return Revision(image, self._digest(named, argv), change)

    def argv(self, revision: Revision, port: int) -> list[str]:
        """The command line that starts ``revision`` on ``port``."""
        return [*fill(self._options.command, {**self._values(revision), "port": str(port)}), *revision.change.args]

    def env(self, revision: Revision) -> dict[str, str]:
        """The environment that ``revision`` is started in."""
        return {**os.environ, "PYTHONUNBUFFERED": "1", **self._options.env, **dict(revision.change.env)}

    def program(self, argv: Sequence[str]) -> str | None:
        """The path of the program that ``argv`` starts; None when there is none."""
        path = {**os.environ, **self._options.env}.get("PATH")
        return shutil.which(str(self._home / argv[0]) if "/" in argv[0] else argv[0], path=path)

    def _values(self, revision: Revision) -> dict[str, str]:
        return {
            "python": sys.executable,
            "tag": revision.tag,
            "image": revision.image,
            "service": self._service,
            "model": revision.change.model or self._options.model,
        }

    def _check_tag(self, revision: Revision) -> None:
        if self._options.uses("tag") and ":" not in revision.image.rpartition("/")[2]:
            raise ImageNotFound(
                f"{revision.image}: found no tag, and platform.local.command has {{tag}}, which says what to start; "
                f"type --image={self._service}:{revision.image}, or :latest for the build of that name"
            )
        known = self._options.builds
        if known is None or any(fnmatchcase(revision.tag, pattern) for pattern in known):
            return
        near = difflib.get_close_matches(revision.tag, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ImageNotFound(f"{revision.image}: no build {revision.tag!r}; there are {', '.join(known)}{hint}")

    def _verify(self, revision: Revision) -> None:
        if self._options.verify is None:
            return
        argv = fill(self._options.verify, self._values(revision))
        where = f"{revision.image}: `{' '.join(argv)}`"
        env = self.env(revision)
        try:
            done = subprocess.run(argv, cwd=self._home, env=env, capture_output=True, timeout=VERIFY_SECONDS, text=True)
        except subprocess.TimeoutExpired:
            raise ImageNotFound(f"{where} did not end in {VERIFY_SECONDS:g} s") from None
        except OSError as error:
            raise ImageNotFound(f"{where} cannot be started: {error.strerror}") from None
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise ImageNotFound(f"{where} ended with exit status {done.returncode}: {said}")

    def _digest(self, named: Revision, argv: Sequence[str]) -> str:
        # One interpreter has several names (python, python3, bin/pytest's first line); the build is the same.
        written = fill(self._options.command, {**self._values(named), "python": "{python}"})
        told = hashlib.sha256(json.dumps([written, sorted(self._options.env.items())]).encode())
        for path in self._code(argv):
            told.update(str(path.name).encode() + b"\0")
            with path.open("rb") as file:
                told.update(hashlib.file_digest(file, "sha256").digest())
        return f"sha256:{told.hexdigest()}"

    def _code(self, argv: Sequence[str]) -> Iterator[Path]:
        """The files that ``argv`` names, and the Python files of the package after ``-m``."""
        for part in argv[1:]:
            path = self._home / part
            if part and path.is_file():
                yield path
        program = self._home / argv[0]
        if "/" in argv[0] and argv[0] != sys.executable and program.is_file():
            yield program
        if "-m" in argv[:-1]:
            yield from _package(argv[list(argv).index("-m") + 1], self._home)


def _package(name: str, home: Path) -> Iterator[Path]:
    """Found without importing anything, in the order in which ``python -m`` would look."""
    where: Sequence[str] | None = [str(home), *sys.path]
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for depth in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: depth + 1]), where)
        if spec is None:
            return
        where = spec.submodule_search_locations
        if where is None:
            break
    if where is not None:
        for folder in where:
            yield from sorted(Path(folder).rglob("*.py"))
    elif spec and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin)
