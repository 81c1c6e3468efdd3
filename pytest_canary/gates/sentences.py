"""Numbers as a person reads them."""

from __future__ import annotations

from math import exp

from pytest_canary.gates.opinion import SecondOpinion
from pytest_canary.gates.values import Counted


def number(value: float) -> str:
    """``12``, ``1,234``."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """``3.87%``, ``0.32%``."""
    return f"{100 * value:.2f}%"


def seconds(value: float) -> str:
    """``820 ms``, ``12.5 s``."""
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s"


def events(side: Counted) -> str:
    """``12/310 (3.87%)``: events among requests; no requests are said to be none."""
    if not side.requests:
        return "no requests"
    return f"{side.events:.0f}/{side.requests:.0f} ({percent(side.events / side.requests)})"


def times_worse(canary: Counted, baseline: Counted) -> tuple[float | None, str]:
    """The ratio of two rates, and its words; None where the baseline has no events."""
    if not (canary.requests and baseline.requests and baseline.events):
        return None, "none at the baseline, so no ratio yet"
    ratio = (canary.events / canary.requests) / (baseline.events / baseline.requests)
    return ratio, f"{ratio:.1f}x worse" if ratio > 1 else f"{ratio:.2f}x"


def span(interval: tuple[float, float]) -> str:
    """``interval 5.1-26``; the grid ends at 64."""
    low, high = interval
    return f"interval {low:.2g}-{high:.2g}" if high < 63.9 else f"interval from {low:.2g} up"


def convicts(evidence: float, alpha: float, odds: float) -> str:
    """``evidence 4.1e+06 (convicts at 111), odds of worse than the limit 99.9%``."""
    size = f"{evidence:.1e}" if evidence >= 1e4 else f"{evidence:.3g}"
    return f"evidence {size} (convicts at {1 / alpha:.3g}), odds of worse than the limit {100 * odds:.1f}%"


def replicas(opinion: SecondOpinion) -> str:
    """What the replicas say about it; empty where nobody asks them."""
    if not opinion.asked:
        return "; replicas have too uneven traffic to be compared" if opinion.uneven else ""
    evidence = exp(min(opinion.log_e, 600.0))
    if opinion.agrees:
        return f"; its replicas agree (evidence {evidence:.3g})"
    asked = f"(evidence {evidence:.3g}, {opinion.wanted:g} is asked)"
    return f"; not convicted, since a bad moment of a single replica explains it {asked}"


def mean(side: Counted, unit: str) -> str:
    """``412 tokens (mean of 1,200)``."""
    if side.value is None:
        return "nothing"
    value = f"{side.value:,.0f}" if abs(side.value) >= 100 else f"{side.value:.3g}"
    return f"{value}{'' if unit == 'ratio' else ' ' + unit} (mean of {number(side.requests)})"
