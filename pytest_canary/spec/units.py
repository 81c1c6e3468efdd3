"""Scalars of a rollout.yaml -> numbers: durations, shares, rates, limits.

Every scalar arrives as the text that stands in the file, so that the traps of YAML 1.1 (``no`` is false, ``1e3`` is a
string, ``5:30`` is 330) cannot bite.  Each function raises ValueError with what was expected.
"""

from __future__ import annotations

import math
import re
from typing import Literal

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("a number") from None
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def whole(text: str) -> int:
    """A whole number that is not negative; ``1e3`` is one."""
    value = number(text)
    if value < 0 or value != int(value):
        raise ValueError("a whole number, 0 or more")
    return int(value)


def duration(text: str) -> float:
    """Seconds: ``90s``, ``5m``, ``1h30m``, or plain seconds."""
    text = text.strip()
    if ":" in text:
        raise ValueError("a duration such as 5m30s (5:30 is read differently by different YAML versions)")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = PART.findall(text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise ValueError("a duration such as 90s, 5m or 1h30m, or plain seconds")
    return sum(float(amount) * SECONDS[unit] for amount, unit in parts)


def deadline(text: str) -> float | None:
    """Seconds, or ``none`` for a stage that waits for ever."""
    return None if text.strip().lower() == "none" else duration(text)


def percent(text: str) -> float:
    """A share of traffic, 0..1, from ``5``, ``5%`` or ``0.5`` per cent."""
    try:
        value = number(text.strip().removesuffix("%"))
    except ValueError:
        raise ValueError("a share in per cent, such as 5 or 0.5%") from None
    if not 0 <= value <= 100:
        raise ValueError("a share between 0 and 100 per cent")
    return value / 100


def rate(text: str) -> float:
    """A ratio, 0..1, from ``0.01`` or ``1%``."""
    text = text.strip()
    try:
        value = number(text[:-1]) / 100 if text.endswith("%") else number(text)
    except ValueError:
        raise ValueError("a rate such as 0.01 or 1%") from None
    if not 0 <= value <= 1:
        raise ValueError("a rate between 0 and 1 (or 0% and 100%)")
    return value


def latency(text: str) -> float:
    """Seconds, from a limit that says its unit: ``800ms`` or ``1.5s``."""
    parts = PART.findall(text.strip())
    if not parts or "".join(a + b for a, b in parts) != text.strip():
        raise ValueError("a latency with its unit, such as 800ms or 1.5s")
    return sum(float(amount) * SECONDS[unit] for amount, unit in parts)


def share(text: str) -> float:
    """A chance, above 0 and below 1, from ``0.01`` or ``1%``."""
    value = rate(text)
    if not 0 < value < 1:
        raise ValueError("a chance above 0 and below 1, such as 0.01 or 1%")
    return value


def noise(text: str) -> float | Literal["measure"]:
    """By how much a build differs from itself, 0..1 and more, from ``15%`` or ``0.15``; ``off`` is 0."""
    text = text.strip().lower()
    if text == "measure":
        return "measure"
    try:
        value = 0.0 if text in (*FALSE, "none") else number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 10:
        raise ValueError("a share such as 15% or 0.15, measure, or off")
    return value


def quantity(text: str) -> float:
    """A number that is not negative, for limits on counts and scores."""
    value = number(text)
    if value < 0:
        raise ValueError("a number, 0 or more")
    return value


def amount(text: str) -> float:
    """A number, 0 or more, or a time with its unit in seconds: ``150`` or ``250ms``."""
    try:
        return quantity(text)
    except ValueError:
        pass
    try:
        return latency(text)
    except ValueError:
        raise ValueError("a number, 0 or more, or a time with its unit such as 250ms") from None


def psi(text: str) -> float:
    """A population stability index, from ``0.1`` or ``psi > 0.1``."""
    try:
        value = number(text.lower().removeprefix("psi").strip().removeprefix(">").strip())
    except ValueError:
        value = 0.0
    if not 0 < value <= 10:
        raise ValueError("a population stability index such as 0.1 (or `psi > 0.1`)")
    return value


def boolean(text: str) -> bool:
    """``true`` or ``false``."""
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise ValueError("true or false")
