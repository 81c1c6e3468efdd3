"""Numbers of a file that somebody else wrote: found, in their unit, and sane; or one line with their place."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pytest_canary.errors import SpecError
from pytest_canary.results.values import Figure

QUANTILES = (50, 90, 95, 99)
FASTEST_SECONDS = 0.0005
"""No client has an answer sooner than this, not even from its own machine: such a number is in another unit."""

LONGEST = 10.0
"""Nor does one take so many times as long as the run in which it was measured."""


@dataclass(frozen=True, slots=True)
class File:
    """A result file, for the lines about it."""

    name: str
    where: str
    """The place in rollout.yaml that names it."""

    def wrong(self, text: str) -> SpecError:
        """What to raise when ``text`` is wrong with it."""
        return SpecError(f"{self.where}: {self.name}: {text}")

    def number(self, value: Any, key: str) -> float:
        """``value`` as a finite number, 0 or more."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
            raise self.wrong(f"{key}: found {_short(value)}, expected a number, 0 or more")
        return float(value)

    def count(self, data: Mapping[str, Any], key: str) -> int:
        """A whole number that must be there."""
        if key not in data:
            raise self.wrong(f"found no `{key}`; is it a whole result file?")
        return round(self.number(data[key], key))

    def numbers(self, data: Mapping[str, Any], key: str) -> list[float]:
        """A list of numbers; empty where there is none."""
        values = data.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            raise self.wrong(f"{key}: found {_short(values)}, expected a list of numbers")
        return [self.number(value, f"{key}[{index}]") for index, value in enumerate(values)]

    def some(self, answered: int, failed: int, first: str = "") -> None:
        """A run without an answer has measured nothing; one that mostly failed has not measured what is normal."""
        if answered and answered >= failed:
            return
        why = f" (the first: {_short(first)})" if first else ""
        if answered:
            raise self.wrong(f"{failed:,} of {answered + failed:,} requests failed{why}; measure again")
        raise self.wrong(
            f"all {failed:,} requests failed{why}; measure again" if failed else "it has no requests; measure again"
        )

    def sane(self, figures: Mapping[str, Figure], duration: float | None) -> None:
        """Times that no run can have had are in another unit than the tool writes."""
        for name, figure in figures.items():
            if not name.startswith(("ttft", "latency")):
                continue
            said = f"{name}: found {figure.value:.3g} s"
            if figure.value < FASTEST_SECONDS:
                raise self.wrong(f"{said}, sooner than any answer can come; is it in seconds where ms are expected?")
            if duration and figure.value > duration * LONGEST:
                raise self.wrong(f"{said} in a run of {duration:.3g} s; is it in ms where seconds are expected?")


def quantile(values: Sequence[float], per_cent: int) -> float:
    """The value below which ``per_cent`` of the sorted ``values`` lie, interpolated as numpy's percentile."""
    at = (len(values) - 1) * per_cent / 100
    low = math.floor(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def figures_of(name: str, values: Sequence[float], *, mean: bool = True) -> dict[str, Figure]:
    """Mean and quantiles of single ``values``; of all-nought ones nothing, since nobody measured them."""
    if not any(values):
        return {}
    ordered = sorted(values)
    found = {f"{name}_p{q}": Figure(quantile(ordered, q), len(ordered)) for q in QUANTILES}
    return {**({name: Figure(sum(ordered) / len(ordered), len(ordered))} if mean else {}), **found}


def failures(answered: int, failed: int | None) -> dict[str, Figure]:
    """The share of requests that failed, where that is known."""
    return {} if failed is None else {"error_rate": Figure(failed / (answered + failed), answered + failed)}


def text_at(data: Any, *path: str | int) -> str | None:
    """The text (or first text of a list) that ``path`` leads to; None where it leads nowhere."""
    found = at(data, *path)
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, str) and found else None


def at(data: Any, *path: str | int) -> Any:
    """What ``path`` leads to; None where it leads nowhere."""
    for part in path:
        if isinstance(data, dict) and isinstance(part, str):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and -len(data) <= part < len(data):
            data = data[part]
        else:
            return None
    return data


def date_of(began: Any) -> str:
    """``2026-10-02`` of seconds since 1970; empty where there are none."""
    if not isinstance(began, int | float) or not 0 < began < 1e11:
        return ""
    return f"{datetime.fromtimestamp(began, UTC):%Y-%m-%d}"


def load_of(rate: Any, at_once: Any) -> str:
    """How much load there was, in words."""
    said = []
    if isinstance(rate, int | float) and math.isfinite(rate):
        said.append(f"{rate:g}/s")
    if isinstance(at_once, int) and at_once:
        said.append(f"{'at most ' if said else ''}{at_once} at once")
    return ", ".join(said) or "as fast as it went"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."
