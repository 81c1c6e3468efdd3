"""Numbers and moments as a person reads them at night."""

from __future__ import annotations

import time


def duration(seconds: float) -> str:
    """``58 ms``, ``0.4 s``, ``12 s``, ``1 min 12 s``, ``1 h 2 min``."""
    if seconds < 0.0995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: float) -> str:
    """``12``, ``1,234``."""
    return f"{number:,.0f}"


def several(number: float, noun: str) -> str:
    """``1 request``, ``1,234 requests``."""
    return f"{count(number)} {noun}" + ("" if round(number) == 1 else "s")


def moment(wall: float) -> str:
    """Wall time as ``2026-01-31 14:05:09 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall))


def shortened(text: str, most: int = 90) -> str:
    """The first ``most`` characters, whole words, with a sign when something was left out."""
    if len(text) <= most:
        return text
    return text[: most - 2].rsplit(" ", 1)[0].rstrip(" ,;:") + "..."
