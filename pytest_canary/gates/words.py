"""Single numbers as a person reads them; loads nothing, so that a plan can use it."""

from __future__ import annotations


def number(value: float) -> str:
    """``12``, ``1,234``."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """``3.87%``, ``0.32%``."""
    return f"{100 * value:.2f}%"


def seconds(value: float) -> str:
    """``820 ms``, ``12.5 s``."""
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s"


def amount(value: float, unit: str) -> str:
    """``820 ms`` of seconds, ``412 tokens`` of anything else."""
    return seconds(value) if unit == "seconds" else f"{value:,.4g} {unit}".rstrip()
