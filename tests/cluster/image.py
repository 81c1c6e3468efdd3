"""Images, as registries know them: a config and layers under a manifest, each named by its own hash."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.cluster.layers import Layer

_OCI = "application/vnd.oci.image"
MANIFEST = f"{_OCI}.manifest.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def here() -> str:
    """The architecture of the machine, as images call it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def digest(data: bytes) -> str:
    """The name of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Image:
    """One image; what two of them share of their layers is stored and pulled once."""

    name: str
    tag: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = field(default_factory=here)

    def but(self, tag: str, **changes: Any) -> Image:
        """The same image in another tag, with something else in its config."""
        return replace(self, tag=tag, **changes)

    @property
    def config(self) -> bytes:
        """What a container of it runs."""
        env = [f"{name}={value}" for name, value in {"PATH": "/usr/local/bin:/usr/bin:/bin", **self.env}.items()]
        return _text(
            architecture=self.architecture,
            os="linux",
            rootfs={"type": "layers", "diff_ids": [each.digest for each in self.layers]},
            config={"Entrypoint": self.entrypoint, "Env": env, "WorkingDir": "/", "Labels": dict(self.labels)},
        )

    @property
    def manifest(self) -> bytes:
        """What its digest is the hash of."""
        config = self.config
        return _text(
            schemaVersion=2,
            mediaType=MANIFEST,
            config={"mediaType": f"{_OCI}.config.v1+json", "size": len(config), "digest": digest(config)},
            layers=[{"mediaType": f"{_OCI}.layer.v1.tar", "size": e.size, "digest": e.digest} for e in self.layers],
        )


def _text(**parts: Any) -> bytes:
    return json.dumps(parts, sort_keys=True).encode()
