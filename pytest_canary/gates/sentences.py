"""Numbers as a person reads them."""

from __future__ import annotations

from math import exp

from pytest_canary.gates.opinion import Opinion
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Counted, Limits, Metric
from pytest_canary.gates.words import amount, number, percent, seconds
from pytest_canary.ports import PROBED

MOST_KINDS = 2
"""Of a sum of so many kinds each is shown, whether there were any or not."""

__all__ = [
    "amount",
    "beyond",
    "convicts",
    "empty",
    "events",
    "mean",
    "misses",
    "number",
    "origin",
    "parts",
    "percent",
    "replicas",
    "seconds",
    "span",
    "spoken",
    "times_worse",
]


def beyond(unit: str) -> str:
    """What a request does that lies beyond a limit."""
    return "slower than" if unit == "seconds" else "above"


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


def replicas(opinion: Opinion) -> str:
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
    named = seconds(side.value) if unit == "seconds" else value if unit in ("ratio", "") else f"{value} {unit}"
    return f"{named} (mean of {number(side.requests)})"


def misses(metric: Metric) -> str:
    """``misses: `` where what is left of a total is judged, since more of the rest is better."""
    return f"{metric.missed}: " if metric.missed else ""


def parts(metric: Metric, canary: Reading, baseline: Reading) -> str:
    """``; of these canary 10 errors and 30 refusals, baseline ...`` where a rate has several kinds of events."""
    sides = [(name, side.parts) for name, side in (("canary", canary), ("baseline", baseline)) if side.parts]
    if not metric.also or not sides:
        return ""
    kinds = (metric.events, *metric.also)
    # Of many kinds only those that there were: six noughts say nothing.
    shown = [n for n in range(len(kinds)) if len(kinds) <= MOST_KINDS or any(counts[n] for _, counts in sides)]
    said = [
        f"{name} " + " and ".join(f"{number(counts[n])} {spoken(kinds[n])}" for n in shown) for name, counts in sides
    ]
    return f"; of these {', '.join(said)}" if shown else ""


def spoken(counter: str) -> str:
    """``no answer`` for ``probe.no_answer``; what a source calls its counters stays as it is."""
    return counter.removeprefix(PROBED).replace("_", " ") if counter.startswith(PROBED) else counter


def empty(metric: Metric, asked: str = "requests") -> str:
    """What to do about a histogram in which there is nothing."""
    if metric.probed:
        return "ask for streams, which have a first token, and for `usage`, which has the tokens, or drop the gate"
    return f"send {asked} to the baseline, or drop the gate"


def origin(limits: Limits) -> str:
    """``; the limit is 1.5x of 212 ms in results/bench.json (...)`` where a file says what is normal."""
    return f"; the limit is {limits.origin.words} ({limits.origin.facts})" if limits.origin else ""
