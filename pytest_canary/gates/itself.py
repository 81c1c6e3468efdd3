"""A gate against what is known of how much a build differs from itself: what is wrong, and what would work."""

from __future__ import annotations

from math import floor

from pytest_canary.gates.values import Gate, Limits

_STEP = 20
"""Ratios are suggested by twentieths."""


def inside_stated_noise(gate: Gate) -> str:
    """What is wrong with a ``ratio`` inside the noise that the file states, and what works; else empty."""
    noise = gate.noise
    if noise == "measure" or not noise:
        return ""
    for limits in every(gate):
        if limits.ratio is not None and limits.ratio <= 1 + noise:
            return (
                f"a gate of {limits.ratio:g}x lies inside the noise of {100 * noise:g}%, by which a build differs from "
                f"itself; the smallest that works is `ratio: {next_ratio(1 + noise):g}`"
            )
    return ""


def every(gate: Gate) -> tuple[Limits, ...]:
    """The limits of ``gate`` at all stages."""
    return (gate.limits, *(limits for _, limits in gate.stages))


def next_ratio(ratio: float) -> float:
    """The next twentieth above ``ratio``."""
    return (floor(ratio * _STEP + 1e-9) + 1) / _STEP
