"""Whether the metric source of a target has what every gate asks for, before anything is rolled out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from pytest_canary import world as worlds
from pytest_canary.command.marks import declared_in
from pytest_canary.command.place import Place
from pytest_canary.command.say import complain, say
from pytest_canary.errors import BaselineFailed, CanaryError, Exit, NoData, UsageError
from pytest_canary.gates import Gate, Kind, Metric
from pytest_canary.plan import declared_gates, measured_by
from pytest_canary.ports import Asked, Role, Sample, Shared, World
from pytest_canary.results import held
from pytest_canary.spec import gate_from, levels_of
from pytest_canary.verdict import Judge


class Found(StrEnum):
    """What there is for a gate."""

    FOUND = "found"
    ABSENT = "absent"
    NO_DATA = "no data"
    UNRESOLVED = "cannot resolve"


@dataclass(frozen=True, slots=True)
class Line:
    """One gate: what there is for it, why not if not, and what is asked."""

    gate: str
    found: Found
    why: str
    queries: tuple[str, ...]


def check(place: Place, given: argparse.Namespace) -> int:
    """Ask the real source about the stable build, and print a table; changes nothing."""
    del given
    gates, unread = _gates(place)
    if not gates:
        raise UsageError(f"{place.spec.where('gates')}: no gate is declared, so there is nothing to look for")
    clock = worlds.clock_of(place.spec)
    shared = Shared(place.spec.service, clock, place.state, place.spec.folder, run="check")
    try:
        world = worlds.connect(place.spec, shared, place.answer)
    except UsageError:
        raise
    except CanaryError as error:
        return complain(error, Exit.ROLLED_BACK)
    try:
        lines = _lines(gates, world)
    finally:
        _let_go(world)
    for row in _table(lines):
        say(row)
    for where in unread:
        say(f"{where}: a gate that is not written out in plain values, so it is not looked at")
    missing = [line.gate for line in lines if line.found is not Found.FOUND]
    told = f"{len(missing)} of {len(lines)} gates cannot be judged" if missing else "every gate is found"
    say(f"{place}: {told}; only the stable build was asked")
    return Exit.ROLLED_BACK if missing else Exit.PROMOTED


def _gates(place: Place) -> tuple[tuple[Gate, ...], list[str]]:
    """Those of the file, held against a result file if there is one, and those of its tests; where others stand."""
    gates, unread = list(declared_gates(place.spec)), list[str]()
    own = {gate.name: gate.metric for gate in gates}
    levels = levels_of(place.spec.document.evidence)
    for one in declared_in(place.spec.folder):
        if one.options is None:
            unread.append(one.where)
            continue
        gate = gate_from(one.metric, one.options, one.where, decide=place.spec.document.decide, levels=levels, own=own)
        if not any(gate.name == known.name and gate.limits == known.limits for known in gates):
            gates.append(gate)
    measured = measured_by(place.spec)
    return tuple(held(gate, measured)[0] for gate in gates) if measured else tuple(gates), unread


def _lines(gates: tuple[Gate, ...], world: World) -> list[Line]:
    try:
        if world.platform.lasting:  # elsewhere nothing runs before a run
            stable = world.platform.stable()
            world.router.attach(Role.BASELINE, stable, world.platform.address(stable))
        asked = _asked(world)
    except CanaryError as error:
        return [Line(gate.name, Found.NO_DATA, str(error), ()) for gate in gates]
    try:
        sample, why = world.source.poll([Role.BASELINE]).get(Role.BASELINE), "nothing runs here before a run"
    except NoData as error:
        sample, why = None, str(error)
    return [_probed(gate, world) if gate.metric.probed else _line(gate, asked, sample, why) for gate in gates]


def _probed(gate: Gate, world: World) -> Line:
    """What probes count needs no source, only that they are sent."""
    if world.probes is None:
        return Line(gate.name, Found.ABSENT, "no probes are sent; write `probe: {rate: 2, prompts: prompts.jsonl}`", ())
    return Line(gate.name, Found.FOUND, "counted by the probes of a run, from its baseline on", ())


def _asked(world: World) -> Mapping[str, Asked] | None:
    explain = getattr(world.source, "explain", None)  # a source of somebody's own need not have it
    return explain(Role.BASELINE) if explain else None


def _let_go(world: World) -> None:
    for adapter in world.adapters if world.platform.lasting else (world.source,):
        with suppress(CanaryError):
            adapter.stop()
    with suppress(CanaryError):
        world.probe.close()


def ways(metric: Metric) -> list[tuple[str, ...]]:
    """The numbers of a sample that the metric is made of; any of several ways is enough, the first is the best."""
    if metric.kind is Kind.GAUGE:
        return [(f"gauges.{metric.gauge}",)]
    found: list[tuple[str, ...]] = [(f"histograms.{metric.histogram}",)] if metric.histogram else []
    found += [tuple(f"counters.{name}" for name in dict.fromkeys(metric.counted))] if metric.counted else []
    return [*found, *([(f"gauges.{metric.gauge}",)] if metric.gauge else [])]


def _line(gate: Gate, asked: Mapping[str, Asked] | None, sample: Sample | None, why: str) -> Line:
    if asked is None:
        return Line(gate.name, *(_judged(gate, sample) if sample else (Found.NO_DATA, why)), ())
    known = [way for way in ways(gate.metric) if all(name in asked for name in way)]
    asks = sample is not None and bool(sample.counters.get("requests"))  # then it knows what is 0 and what is nothing
    there = [way for way in known if all(_has(sample, name) if asks else asked[name].series != 0 for name in way)]
    if not known:
        by = next((one.by for one in asked.values() if one.by), "the source")
        names = " or ".join(" and ".join(name for name in way if name not in asked) for way in ways(gate.metric))
        return Line(gate.name, Found.ABSENT, f"{by} has no {names}", ())
    way = (there or known)[0]
    queries = tuple(dict.fromkeys(asked[name].query for name in way if asked[name].query))
    if not there:
        name = next((name for name in way if not asked[name].series), way[0])
        absent = f"{asked[name].by}: no series of {name} yet, or its metric has another name"
        return Line(gate.name, Found.ABSENT, absent, queries)
    if sample is not None:
        return Line(gate.name, *_judged(gate, sample), queries)
    if all(asked[name].series is None for name in way):
        return Line(gate.name, Found.FOUND, "always counted here, from the first request of a run on", queries)
    return Line(gate.name, Found.NO_DATA, why, queries)


def _has(sample: Sample | None, name: str) -> bool:
    kind, _, number = name.partition(".")
    return sample is not None and number in getattr(sample, kind)


def _judged(gate: Gate, sample: Sample) -> tuple[Found, str]:
    requests, histogram = sample.counters.get("requests", 0.0), sample.histograms.get(gate.metric.histogram)
    if not requests:
        return Found.NO_DATA, "the stable build has had no requests"
    if histogram is not None and not histogram.number:
        return Found.NO_DATA, f"{requests:.0f} requests and nothing in {gate.metric.histogram}"
    try:
        Judge([gate], 1).foresee(sample)
    except BaselineFailed as error:
        return Found.UNRESOLVED, str(error).partition("cannot be judged: ")[2] or str(error)
    return Found.FOUND, f"{requests:.0f} requests of the stable build"


def _table(lines: list[Line]) -> Iterator[str]:
    """Aligned columns; the last can be pasted as it is, since what is not PromQL is a comment of it."""
    wide = max(len("gate"), *(len(line.gate) for line in lines))
    says = max(len(found) for found in Found)
    yield f"{'gate':{wide}}  {'':{says}}  query"
    for line in lines:
        texts = [*line.queries, *([f"# {line.why}"] if line.why else [])] or [""]
        yield f"{line.gate:{wide}}  {line.found:{says}}  {texts[0]}".rstrip()
        for text in texts[1:]:
            yield f"{'':{wide}}  {'':{says}}  {text}"
