"""Loaded for ``rollouts/`` and ``tests/``; shows how to listen to a rollout, and may be deleted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_canary import Outcome

pytest_plugins = ["pytester"]


def pytest_canary_outcome(outcome: Outcome) -> None:
    """Tell GitHub's step summary how the rollout ended, where there is one; elsewhere this does nothing."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a") as file:
            file.write(f"**{outcome.service}**: {outcome.end} on {outcome.target}: {outcome.why}\n")
