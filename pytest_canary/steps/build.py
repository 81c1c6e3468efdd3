"""Build the image before it is verified, where the rollout.yaml says how."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pytest_canary.errors import NotStarted


def build(command: Sequence[str], folder: Path) -> str:
    """Run ``command`` in ``folder`` and return it as it was typed.

    Raises:
        NotStarted: it cannot be run, or ends with another status than 0; with the last line it said.

    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotStarted(f"build: {command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise NotStarted(f"build: {' '.join(command)} exited with {done.returncode}: {said[-1]}")
    return " ".join(command)
