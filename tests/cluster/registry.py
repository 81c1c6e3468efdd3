"""Pushes images to a registry and asks it for digests, by plain HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from functools import partial
from io import BytesIO
from typing import IO, Any

from tests.cluster.console import Broken
from tests.cluster.image import MANIFEST, Image, digest


def push(registry: str, image: Image) -> str:
    """Push ``image`` and return its name with its digest; what the registry has already is not sent again."""
    base, manifest = f"http://{registry}/v2/{image.name}", image.manifest
    if find(registry, image.name, image.tag) != digest(manifest):
        for layer in image.layers:
            _blob(base, layer.digest, layer.size, partial(open, layer.path, "rb"))
        config = image.config
        _blob(base, digest(config), len(config), partial(BytesIO, config))
        _ask("PUT", f"{base}/manifests/{image.tag}", manifest, kind=MANIFEST)
    return f"{registry}/{image.name}@{digest(manifest)}"


def find(registry: str, name: str, tag: str) -> str | None:
    """The digest that ``tag`` stands for, if there is one."""
    try:
        return _ask("HEAD", f"http://{registry}/v2/{name}/manifests/{tag}")["Docker-Content-Digest"]
    except _Absent:
        return None


class _Absent(Exception):
    """404."""


def _blob(base: str, name: str, size: int, opened: Callable[[], Any]) -> None:
    try:
        _ask("HEAD", f"{base}/blobs/{name}")
    except _Absent:
        place = _ask("POST", f"{base}/blobs/uploads/", b"")["Location"]
        with opened() as data:
            _ask("PUT", f"{place}{'&' if '?' in place else '?'}digest={name}", data, size=size)


def _ask(
    method: str, url: str, data: bytes | IO[bytes] | None = None, *, kind: str = "", size: int | None = None
) -> Message:
    request = urllib.request.Request(url, method=method, data=data, headers={"Accept": MANIFEST})
    if data is not None:
        request.add_header("Content-Type", kind or "application/octet-stream")
    if size is not None:
        request.add_header("Content-Length", str(size))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            headers: Message = answer.headers
            return headers
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                raise _Absent from None
            raise Broken(f"{method} {url}: {error.code} {error.read().decode(errors='replace')[:300]}") from None
