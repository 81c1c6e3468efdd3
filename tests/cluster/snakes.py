"""The Python that runs in the images: Debian's, beside that of the machine."""

from __future__ import annotations

from pathlib import Path

from tests.cluster import debian, pins
from tests.cluster.console import sh


def unpack(target: Path) -> None:
    """Make a root folder with a Python and its whole standard library, compiled."""
    debian.unpack(pins.PYTHON_PACKAGES, target)
    (target / "usr" / "bin" / "python3").symlink_to("python3.11")
    precompile(target, target / "usr" / "lib" / "python3.11", "/usr/lib/python3.11")


def precompile(root: Path, folder: Path, place: str) -> None:
    """Compile ``folder``, which will be ``place`` in an image, or every container would do so when it starts."""
    (loader,) = (root / "lib64").glob("ld-linux-*")
    libraries = [str(each) for each in (*root.glob("lib/*-linux-gnu"), *root.glob("usr/lib/*-linux-gnu"))]
    python = (loader, "--library-path", ":".join(libraries), root / "usr" / "bin" / "python3.11")
    # By hash and never checked, by one process in one order: what is compiled depends on the source alone.
    how = ("-q", "-f", "-j", "1", "--invalidation-mode", "unchecked-hash", "-s", folder, "-p", place)
    environ = {"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    sh(*python, "-m", "compileall", *how, folder, env=environ)
