"""Numbers of a plan that somebody else has written down."""

from __future__ import annotations

from typing import Any

from pytest_canary.recording import number

LONGEST = 1e9
"""Seconds, or requests: more than thirty years of either is a mistake."""


def quantity(key: str, told: Any, otherwise: float = 0.0, most: float = LONGEST) -> float:
    """What ``key`` says, ``otherwise`` where it says nothing.  Raises ValueError with what was found and expected."""
    if told is None:
        return otherwise
    try:
        value = number(told)
    except ValueError as error:
        raise ValueError(f"{key} {error}") from error
    if not 0 <= value <= most:
        raise ValueError(f"{key} {value:g}, expected 0 to {most:g}")
    return value
