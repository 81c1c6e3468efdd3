"""Everything a cluster is started from, in the cache: built or fetched once, then only looked at."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import debian, golang, pins, places, snakes
from tests.cluster.console import step

_WRAPPER = """#!/bin/sh
# Unpacked, so the loader does not find its libraries by itself.
root=$(dirname "$(readlink -f "$0")")/../node
LD_LIBRARY_PATH=$(echo "$root"/usr/lib/*-linux-gnu):$(echo "$root"/lib/*-linux-gnu) exec "$root/{program}" "$@"
"""
_CONTOUR_FILES = ("00-common", "01-crds", "02-role-contour", "02-rbac")


def gather() -> None:
    """Bring what is missing into the cache, one line for each."""
    folder, bins = places.cache(), places.binaries()
    for_builds()
    _make("Debian's packages for the node", folder / "node", partial(debian.unpack, pins.NODE_PACKAGES))
    _make("Debian's C library", folder / "libc", partial(debian.unpack, pins.LIBC_PACKAGES))
    _make(f"Kubernetes {pins.KUBERNETES}, etcd, kubectl", bins / "servers", golang.servers)
    _make("pause", bins / "pause", golang.pause)
    _make(f"Contour {pins.CONTOUR[1]}", bins / "contour", golang.contour)
    _make(f"Gateway API's CRDs {pins.GATEWAY_API[1]}", folder / "gateway-api.json", _gateway_api)
    _make("Contour's CRDs and roles", folder / "contour.json", _contour)
    if not (bins / "kubectl").exists():
        (bins / "kubectl").symlink_to("servers")
    for program in ("usr/sbin/nft", "usr/sbin/runc"):
        _make(f"wrapper of {Path(program).name}", bins / Path(program).name, partial(_wrap, program))


def for_builds() -> None:
    """Bring what the images of tests are made of, and nothing that runs a cluster."""
    places.binaries().mkdir(parents=True, exist_ok=True)
    _make("Debian's Python", places.cache() / "python", snakes.unpack)
    for says in pins.PODINFO_SAYS:
        _make(f"podinfo {says}", places.binaries() / f"podinfo-{says}", partial(golang.podinfo, says))


def _make(what: str, target: Path, make: Callable[[Path], None]) -> None:
    """Let ``make`` make ``target``, which is there either whole or not at all."""
    if target.exists():
        return
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    with step(what):
        try:
            make(unfinished)
            unfinished.rename(target)
        finally:
            if unfinished.is_dir():
                shutil.rmtree(unfinished)
            else:
                unfinished.unlink(missing_ok=True)


def _wrap(program: str, target: Path) -> None:
    target.write_text(_WRAPPER.format(program=program))
    target.chmod(0o755)


def _gateway_api(target: Path) -> None:
    folder = golang.module(*pins.GATEWAY_API) / "config" / "crd" / "standard"
    _join(sorted(folder.glob("*.yaml")), target)


def _contour(target: Path) -> None:
    folder = golang.module(*pins.CONTOUR) / "examples" / "contour"
    _join([folder / f"{name}.yaml" for name in _CONTOUR_FILES], target)


def _join(files: Iterable[Path], target: Path) -> None:
    """One List in JSON, because reading YAML takes longer than applying it."""
    items: list[dict[str, Any]] = []
    for file in files:
        items += [item for item in yaml.safe_load_all(file.read_text()) if item and item["kind"] != "Kustomization"]
    target.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
