"""``metric: {counter: tool_errors, total: tool_calls}`` -> a Metric of the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_canary.errors import SpecError
from pytest_canary.gates import Kind, Metric, metric, names
from pytest_canary.spec import units

NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
FORMS = (
    "{counter: NAME, total: NAME}, {histogram: NAME, quantile: 0.95}, {histogram: NAME}, {mean: [SUM, COUNT]} "
    "or {gauge: NAME}"
)
"""Every way to say what is counted; names are those of the metric source."""
SHAPES: Mapping[frozenset[str], Kind] = {
    frozenset({"counter", "total"}): Kind.RATE,
    frozenset({"counter"}): Kind.RATE,
    frozenset({"histogram", "quantile"}): Kind.QUANTILE,
    frozenset({"histogram"}): Kind.MEAN,
    frozenset({"mean"}): Kind.MEAN,
    frozenset({"gauge"}): Kind.GAUGE,
}
ABSOLUTE = ("delta", "max", "min")


def metric_from(name: str, options: Mapping[str, Any], where: str) -> Metric:
    """The metric that ``options`` of the gate ``name`` describe.

    Raises:
        SpecError: it is none, or does not say which way is better, or in which unit a limit is.

    """
    here, given = f"{where}: {name}.metric", options["metric"]
    if metric(name) is not None or name == "preset" or not NAME.fullmatch(name):
        raise SpecError(f"{here}: {name!r} cannot be a metric of your own; give it another name, such as my_{name}")
    kind = SHAPES.get(frozenset(given) - {"unit"}) if isinstance(given, Mapping) else None
    if kind is None:
        raise SpecError(f"{here}: found {given!r}, expected one of {FORMS}")
    better = str(options.get("better", ""))
    if better not in ("lower", "higher"):
        raise SpecError(f"{where}: {name}.better: expected lower or higher, since nobody else knows which is good")
    if kind is Kind.QUANTILE and better == "higher":
        raise SpecError(f"{where}: {name}.better: a quantile is judged by who lies above it; gate the mean instead")
    return _made(name, given, kind, better == "lower", _unit(name, options, kind, where), here)


def _unit(name: str, options: Mapping[str, Any], kind: Kind, where: str) -> str:
    given = options["metric"].get("unit")
    if kind is Kind.RATE:
        return "ratio"
    if given is None and any(key in options for key in ABSOLUTE):
        raise SpecError(
            f"{where}: {name}.metric: a limit in numbers needs the `unit`: seconds, ratio, or what one is called"
        )
    if given is not None and not isinstance(given, str):
        raise SpecError(f"{where}: {name}.metric.unit: found {given!r}, expected seconds, ratio, or a word")
    return given or ""


def _made(name: str, given: Mapping[str, Any], kind: Kind, lower: bool, unit: str, here: str) -> Metric:
    said = {key: value for key, value in given.items() if key not in ("mean", "quantile", "unit")}
    wrong = next((key for key, value in said.items() if not isinstance(value, str) or not value), None)
    if wrong:
        raise SpecError(f"{here}.{wrong}: found {said[wrong]!r}, expected a name that the metric source counts")
    if kind is Kind.RATE:
        if said["counter"] == said.get("total", "requests"):
            raise SpecError(f"{here}: {said['counter']!r} are always all of themselves; name two counters")
        missed = "" if lower else f"without {said['counter']}"
        return Metric(name, kind, unit, events=said["counter"], total=said.get("total", "requests"), missed=missed)
    if kind is Kind.GAUGE:
        return Metric(name, kind, unit, gauge=said["gauge"], lower_is_better=lower)
    if "mean" in given:
        total, number = _pair(given["mean"], here)
        return Metric(name, kind, unit, events=total, total=number, lower_is_better=lower)
    quantile = _quantile(given["quantile"], here) if kind is Kind.QUANTILE else 0.0
    return Metric(name, kind, unit, histogram=said["histogram"], quantile=quantile, lower_is_better=lower)


def _pair(given: Any, here: str) -> tuple[str, str]:
    if not (isinstance(given, list | tuple) and len(given) == 2 and all(isinstance(one, str) and one for one in given)):
        raise SpecError(f"{here}.mean: found {given!r}, expected two counters, [SUM, COUNT]")
    if given[0] == given[1]:
        raise SpecError(f"{here}.mean: found {given[0]!r} twice, which is always 1; name two counters")
    return given[0], given[1]


def _quantile(given: Any, here: str) -> float:
    try:
        value = units.share(str(given))
    except ValueError:
        raise SpecError(f"{here}.quantile: found {given!r}, expected a share such as 0.95") from None
    return value


def known(name: str, hint: str) -> str:
    """What to say of a gate that nobody knows."""
    return f"found gate {name!r}; {hint}Known are {', '.join(_folded())}; one of your own says `metric: {{...}}`"


def _folded() -> list[str]:
    """All names, quantiles of one thing together: ``latency_p50/p90``."""
    found: dict[str, str] = {}
    for name in names():
        thing, _, quantile = name.rpartition("_p")
        key = f"{thing}_p" if quantile.isdigit() else name
        found[key] = f"{found[key]}/p{quantile}" if key in found else name
    return list(found.values())
