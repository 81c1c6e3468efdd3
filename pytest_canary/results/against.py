"""A gate against what a file holds: "so many times worse" than a number that is known is "at most so much"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_canary.gates.values import Gate, Kind, Limits, Origin
from pytest_canary.gates.words import amount, percent
from pytest_canary.results.values import Figure, Result


@dataclass(frozen=True, slots=True)
class Held:
    """All gates of a rollout: which of them the file judges, and why not the others."""

    gates: tuple[Gate, ...]
    by_file: tuple[str, ...] = ()
    live: tuple[tuple[str, str], ...] = ()
    """Gate that is compared with the live stable build -> why the file cannot be used."""
    doubts: tuple[str, ...] = ()


def hold(gates: Sequence[Gate], result: Result) -> Held:
    """Hold against ``result`` what it has a number for; the rest stays as it is."""
    kept, by_file, live, doubts = list[Gate](), list[str](), list[tuple[str, str]](), list[str]()
    for gate in gates:
        now, why = held(gate, result)
        kept.append(now)
        if now is not gate:
            by_file.append(gate.name)
            doubts += _doubts(gate, result)
        if why:
            live.append((gate.name, why))
    return Held(tuple(kept), tuple(by_file), tuple(live), (*result.doubts, *doubts) if by_file else ())


def held(gate: Gate, result: Result) -> tuple[Gate, str]:
    """The gate with ``max`` in the place of ``ratio`` and ``delta``, and why any of it stays relative."""
    everywhere = (gate.limits, *(limits for _, limits in gate.stages))
    if not any(limits.relative for limits in everywhere):
        return gate, ""
    figure, shifts = result.figures.get(gate.metric.name), any(limits.shift is not None for limits in everywhere)
    why = "a shift needs the counts of both sides" if shifts else ""
    if all(limits.ratio is None and limits.delta is None for limits in everywhere):
        return gate, why
    if gate.metric.probed:
        return gate, "probes ask both builds, at every stage"
    if figure is None:
        return gate, result.why_not(gate.metric.name)
    if gate.by:
        return gate, f"it is compared by {','.join(gate.by)}, which the file does not tell apart"
    if gate.metric.kind is Kind.RATE and any((_top(gate, limits, figure) or 0.0) >= 1 for limits in everywhere):
        return gate, f"with {percent(figure.value)} in the file nothing could fail"
    stages = tuple((index, _absolute(gate, limits, figure, result)) for index, limits in gate.stages)
    return replace(gate, limits=_absolute(gate, gate.limits, figure, result), stages=stages), why


def _normal(gate: Gate, figure: Figure) -> float:
    """The file's value; a run without any failure does not mean that there never is one."""
    return max(figure.value, gate.floor) if gate.metric.kind is Kind.RATE else figure.value


def _top(gate: Gate, limits: Limits, figure: Figure) -> float | None:
    normal = _normal(gate, figure)
    tops = [normal * limits.ratio] if limits.ratio is not None else []
    tops += [normal + limits.delta] if limits.delta is not None else []
    return min(tops, default=None)


def _absolute(gate: Gate, limits: Limits, figure: Figure, result: Result) -> Limits:
    top = _top(gate, limits, figure)
    if top is None:
        return limits
    rest = replace(limits, ratio=None, delta=None)
    if limits.max is not None and limits.max <= top:
        return rest  # what the file allows is more than what may be in any case
    said = _said(gate, figure.value)
    if _normal(gate, figure) > figure.value:
        said = f"{_said(gate, _normal(gate, figure))} (`floor`; {said} of {figure.of:,} failed)"
    by_ratio = limits.ratio is not None and top == _normal(gate, figure) * limits.ratio
    words = f"{limits.ratio:g}x of {said}" if by_ratio else f"{_said(gate, limits.delta or 0.0)} above {said}"
    return replace(rest, max=top, origin=Origin(f"{words} in {result.name}", result.facts, figure.value))


def _said(gate: Gate, value: float) -> str:
    return percent(value) if gate.metric.unit == "ratio" else amount(value, gate.metric.unit)


def _doubts(gate: Gate, result: Result) -> list[str]:
    name, others = gate.metric.name, [q for q in gate.quantiles or () if q != gate.metric.quantile]
    found = [f"{gate.name} in {result.name}: {doubt}"] if (doubt := result.doubt(name, gate.metric.quantile)) else []
    if others:
        thing = gate.name.rpartition("_p")[0]
        named = " and ".join(f"{thing}_p{q * 100:g}" for q in others)
        found.append(f"{gate.name}: against a file only this quantile is judged; declare {named} for the others")
    return found
