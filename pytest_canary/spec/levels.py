"""``evidence: {preset: strict, alpha: 0.5%}`` -> Levels."""

from __future__ import annotations

from dataclasses import replace

from pytest_canary.gates import PRESETS, Bursts, Levels
from pytest_canary.spec.document import EvidenceEntry


def levels_of(entry: EvidenceEntry) -> Levels:
    """The preset's levels, with what the entry says laid over them."""
    said = entry.model_dump(exclude_none=True, exclude={"preset", "replica_window", "burst_window", "bursts"})
    levels = replace(PRESETS[entry.preset], **said)
    if entry.bursts is not None:
        levels = replace(levels, bursts=Bursts(entry.bursts))
    if entry.replica_window is not None:
        levels = replace(levels, replica_window_seconds=entry.replica_window)
    if entry.burst_window is not None:
        levels = replace(levels, burst_window_seconds=entry.burst_window)
    return levels
