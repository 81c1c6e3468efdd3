"""What is put wrong with a build on purpose: ``error_rate x3``, ``latency_p99 x1.5 from 25%``, ``crash at 50%``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from pytest_canary.errors import UsageError
from pytest_canary.gates import Metric, metric, names
from pytest_canary.ports import NOTHING, PROBED

EXAMPLES = "'error_rate x3', 'latency_p99 x1.5 from 25%', 'cost +25%', 'quality -0.05', 'crash at 50%' or 'cold 200'"
ALIASES: Mapping[str, str] = {
    "errors": "error_rate", "client_errors": "client_error_rate", "refusals": "refusal_rate",
    "hallucinations": "hallucination_rate", "feedback": "feedback_negative_rate", "latency": "latency_p99",
    "ttft": "ttft_p99", "itl": "inter_token_latency_p99", "tokens": "output_tokens", "cost": "cost_per_request",
    "score": "quality", "cache_hits": "cache_hit_rate",
}  # fmt: skip
"""Short names, and those of counters, for the gates that people mean by them."""
COLD_SLOWDOWN = 6.0
"""How many times as long the first answer of a cold build takes; it is warm when all of them have been given."""

_EFFECT = re.compile(
    r"(?P<name>[A-Za-z_][\w]*)\s*"
    r"(?:[x×*]\s*(?P<times>\d+(?:\.\d+)?)|(?P<sign>[+-])\s*(?P<by>\d+(?:\.\d+)?)\s*(?P<unit>%|ms|s)?)"
    r"(?:\s+(?:from|at)\s+(?P<share>\d+(?:\.\d+)?)\s*%?)?"
)
_CRASH = re.compile(r"crash(?:\s+(?:from|at)\s+(?P<share>\d+(?:\.\d+)?)\s*%?)?")
_COLD = re.compile(r"cold\s+(?P<answers>\d+)")

Kind = Literal["times", "plus", "crash", "cold"]


@dataclass(frozen=True, slots=True)
class Injection:
    """One thing that is wrong with a build, wherever it serves."""

    text: str
    """As it was typed."""
    kind: Kind
    amount: float = 1.0
    """A factor (``times``), a difference in the metric's unit (``plus``), or a number of answers (``cold``)."""
    share: float = 0.0
    """It shows from this share of the traffic on, 0..1."""
    metric: Metric | None = None
    """What it changes; None for a crash and for a cold start."""

    def __str__(self) -> str:
        return self.text


def parse(texts: Iterable[str], own: Mapping[str, Metric] = NOTHING) -> tuple[Injection, ...]:
    """Read what was typed, several at once where commas part them; ``own`` are metrics that a rollout.yaml describes.

    Raises:
        UsageError: something is no injection, or names nothing that can be gated.

    """
    return tuple(_one(" ".join(part.split()), own) for text in texts for part in text.split(",") if part.strip())


def _one(text: str, own: Mapping[str, Metric]) -> Injection:
    if found := _CRASH.fullmatch(text):
        return Injection(text, "crash", share=_share(text, found["share"]))
    if found := _COLD.fullmatch(text):
        return Injection(text, "cold", amount=float(found["answers"]))
    found = _EFFECT.fullmatch(text)
    if found is None or found["name"] in ("crash", "cold"):
        raise UsageError(f"--canary-inject: found {text!r}, expected {EXAMPLES}{_nearest_word(text, own)}")
    what = _metric(text, found["name"], own)
    if found["times"] is not None:
        return Injection(text, "times", float(found["times"]), _share(text, found["share"]), what)
    by = float(found["by"]) * (-1 if found["sign"] == "-" else 1)
    if found["unit"] == "%":
        return Injection(text, "times", max(1 + by / 100, 0.0), _share(text, found["share"]), what)
    by = by / 1000 if found["unit"] == "ms" else by
    return Injection(text, "plus", by, _share(text, found["share"]), what)


def _share(text: str, given: str | None) -> float:
    share = float(given or 0) / 100
    if share > 1:
        raise UsageError(f"--canary-inject {text!r}: found a share of {given}%, expected 0 to 100")
    return share


def _metric(text: str, name: str, own: Mapping[str, Metric]) -> Metric:
    found = own.get(name) or metric(ALIASES.get(name, name))
    if found is None:
        raise UsageError(f"--canary-inject {text!r}: no metric is called {name!r}{_nearest(name, own)}")
    if found.probed or name.startswith(PROBED):
        raise UsageError(
            f"--canary-inject {text!r}: probes are answered without chance in a simulation; "
            f"inject {found.name.removeprefix('probe_')} instead, which users meet"
        )
    return found


def _known(own: Mapping[str, Metric]) -> Sequence[str]:
    return [*own, *ALIASES, *(name for name in names() if not name.startswith("probe_")), "crash", "cold"]


def _nearest(name: str, own: Mapping[str, Metric]) -> str:
    near = get_close_matches(name, _known(own), 1, 0.5)
    return f", did you mean {near[0]}?" if near else ", expected the name of a gate, crash or cold"


def _nearest_word(text: str, own: Mapping[str, Metric]) -> str:
    first = text.partition(" ")[0]
    near = [] if first in _known(own) else get_close_matches(first, _known(own), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""
