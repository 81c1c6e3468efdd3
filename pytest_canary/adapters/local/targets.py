"""Where builds listen, in a file that a Prometheus on this machine reads: their ports are new each time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

NAME = "targets.json"


def announce(folder: Path, service: str, builds: Mapping[str, str]) -> None:
    """Replace the file in ``folder`` by one that names ``builds``, ``host:port`` to tag.

    The format is that of Prometheus' ``file_sd_configs``, each with the labels ``rollout`` and ``build``.  On a disk
    that is full it stays as it is: users wait, and a build that nobody scrapes is no data, which passes nothing.
    """
    groups = [
        {"targets": [place], "labels": {"rollout": service, "build": tag}} for place, tag in sorted(builds.items())
    ]
    aside = folder / f".{NAME}.{os.getpid()}"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(groups, indent=2) + "\n")
        os.replace(aside, folder / NAME)
