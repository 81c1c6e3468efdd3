"""What is put wrong with a build on purpose: ``error_rate x3``, ``latency_p99 x1.5 from 25%``, ``crash at 50%``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from pytest_canary.errors import UsageError
from pytest_canary.gates import Kind as MetricKind
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
    found = [_one(" ".join(part.split()), own) for text in texts for part in text.split(",") if part.strip()]
    for index, one in enumerate(found):
        for other in found[:index]:
            if (one.kind, one.metric, one.share) == (other.kind, other.metric, other.share):
                raise UsageError(
                    f"--canary-inject {one.text!r}: found {other.text!r} too, and both change the same from the same "
                    "share on; keep one of them, or let them begin at different shares (`from 25%`)"
                )
    return tuple(found)


def _one(text: str, own: Mapping[str, Metric]) -> Injection:
    if found := _CRASH.fullmatch(text):
        return Injection(text, "crash", share=_share(text, found["share"]))
    if found := _COLD.fullmatch(text):
        if not float(found["answers"]):
            raise UsageError(_nothing(text))
        return Injection(text, "cold", amount=float(found["answers"]))
    found = _EFFECT.fullmatch(text)
    if found is None or found["name"] in ("crash", "cold"):
        raise UsageError(f"--canary-inject: found {text!r}, expected {EXAMPLES}{_hint(text, own)}")
    what = _metric(text, found["name"], own)
    share = _share(text, found["share"])
    if found["times"] is not None:
        return _times(text, float(found["times"]), share, what)
    by = float(found["by"]) * (-1 if found["sign"] == "-" else 1)
    return _times(text, 1 + by / 100, share, what) if found["unit"] == "%" else _plus(text, by, found, share, what)


def _times(text: str, factor: float, share: float, what: Metric) -> Injection:
    if factor == 1:
        raise UsageError(_nothing(text))
    if factor < 0 or (factor == 0 and what.kind is not MetricKind.RATE):
        raise UsageError(f"--canary-inject {text!r}: leaves nothing of {what.name}, expected a factor such as x0.5")
    return Injection(text, "times", factor, share, what)


def _plus(text: str, by: float, found: re.Match[str], share: float, what: Metric) -> Injection:
    """A difference, in the unit of the metric: 0.05 of a share is five in a hundred, and times say which they are."""
    unit = found["unit"]
    if not by:
        raise UsageError(_nothing(text))
    if what.unit == "seconds" and not unit:
        raise UsageError(
            f"--canary-inject {text!r}: {what.name} is a time, expected its unit, such as "
            f"'{found['name']} {found['sign']}{found['by']}ms'"
        )
    if what.unit != "seconds" and unit:
        raise UsageError(f"--canary-inject {text!r}: {what.name} is no time, expected no unit or %, found {unit!r}")
    if what.unit == "ratio" and abs(by) > 1:
        raise UsageError(
            f"--canary-inject {text!r}: {what.name} is a share from 0 to 1, expected a difference such as "
            f"'{found['name']} {found['sign']}0.05' (five in a hundred), or in per cent of what it is: "
            f"'{found['name']} {found['sign']}{found['by']}%'"
        )
    return Injection(text, "plus", by / 1000 if unit == "ms" else by, share, what)


def _nothing(text: str) -> str:
    return f"--canary-inject {text!r}: changes nothing; leave it out to simulate a good build"


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
    near = get_close_matches(name.lower(), _known(own), 1, 0.5)
    return f", did you mean {near[0]}?" if near else ", expected the name of a gate, crash or cold"


def _hint(text: str, own: Mapping[str, Metric]) -> str:
    """What was probably meant by a text that is no injection."""
    if turned := re.fullmatch(r"(\w+)\s+(\d+(?:\.\d+)?)\s*[x×*]", text):
        return f"; did you mean '{turned[1]} x{turned[2]}'?"
    first = text.partition(" ")[0]
    if first in _known(own):
        return "; several are parted by commas" if len(re.findall(r"[x×*+-]\s*\d", text)) > 1 else ""
    near = get_close_matches(first.lower().replace("-", "_"), _known(own), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""
