"""``simulate:`` of a rollout.yaml -> the traffic by which its rollouts are simulated."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from math import log
from statistics import NormalDist

from pytest_canary.errors import SpecError
from pytest_canary.gates import Gate, metric, names
from pytest_canary.simulation.defaults import DEFAULT, with_needs
from pytest_canary.simulation.traffic import Daily, Dependence, Lognormal, Score, Spells, Spread, Traffic, Values
from pytest_canary.spec import units
from pytest_canary.spec.reading import Spec
from pytest_canary.spec.simulate import SpellsEntry, ValuesEntry

P99 = NormalDist().inv_cdf(0.99)


def traffic_of(spec: Spec, gates: Sequence[Gate] = (), fitted: Traffic | None = None) -> Traffic:
    """The traffic that ``simulate:`` describes, over what a recording has told (``fitted``), over the defaults.

    Raises:
        SpecError: it names something that nobody counts, or values that cannot be.

    """
    said = spec.document.simulate
    traffic = with_needs(fitted or _with_load(spec, DEFAULT), [gate.metric for gate in gates])
    traffic = replace(
        traffic,
        rate=traffic.rate if said.rate is None else said.rate,
        pods=traffic.pods if said.pods is None else said.pods,
        daily=traffic.daily if said.daily is None else Daily(said.daily.swing, said.daily.peak, said.daily.start),
        gauges={**traffic.gauges, **said.gauges},
        dependence=_dependence(spec, traffic),
    )
    for name, share in said.rates.items():
        traffic = _with_rate(spec, traffic, name, share)
    for name, entry in said.values.items():
        values = _values(spec, name, entry, traffic.values.get(name))
        traffic = replace(traffic, values={**traffic.values, name: values})
    return _possible(spec, traffic)


def _with_load(spec: Spec, traffic: Traffic) -> Traffic:
    """A target without users says how many stand in for them."""
    with suppress(ValueError, TypeError):
        rate = units.quantity(str((spec.load_before or {}).get("rate")))
        return replace(traffic, rate=rate or traffic.rate)
    return traffic


def _with_rate(spec: Spec, traffic: Traffic, name: str, share: float) -> Traffic:
    gated = metric(name)
    counter = gated.events if gated is not None and gated.events else name
    if counter in traffic.outcomes:
        return replace(traffic, outcomes={**traffic.outcomes, counter: share})
    if counter in traffic.parts:
        part = replace(traffic.parts[counter], share=share)
        return replace(traffic, parts={**traffic.parts, counter: part})
    known = [*traffic.outcomes, *traffic.parts, *(one for one in names() if one.endswith("_rate"))]
    raise SpecError(_nobody(spec, f"simulate.rates.{name}", name, known))


def _nobody(spec: Spec, key: str, name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}, or what a gate counts"
    return f"{spec.where(key)}: {key.rpartition('.')[0]}: nothing counts {name!r}, {hint}"


def _values(spec: Spec, name: str, entry: ValuesEntry, before: Values | None) -> Values:
    key = f"simulate.values.{name}"
    if before is None:
        raise SpecError(_nobody(spec, key, name, [*DEFAULT.values]))
    lognormal = [word for word in ("median", "p99", "sigma") if getattr(entry, word) is not None]
    score = [word for word in ("mean", "sd") if getattr(entry, word) is not None]
    if lognormal and score:
        raise SpecError(
            f"{spec.where(key)}: {key}: found {', '.join([*lognormal, *score])}, expected median with p99 (or sigma), "
            "or for a score from 0 to 1 mean with sd"
        )
    spread = before.spread
    if lognormal:
        spread = _lognormal(spec, key, entry, spread)
    elif score:
        old = spread if isinstance(spread, Score) else Score(0.5)
        spread = Score(old.mean if entry.mean is None else entry.mean, old.sd if entry.sd is None else entry.sd)
    if sorted(set(entry.buckets)) != entry.buckets:
        raise SpecError(f"{spec.where(key)}: {key}.buckets: expected upper edges that rise, such as [50ms, 100ms, 1s]")
    among = before.among if entry.among is None else entry.among
    return replace(before, spread=spread, among=among, bounds=tuple(entry.buckets) or before.bounds)


def _lognormal(spec: Spec, key: str, entry: ValuesEntry, before: Spread) -> Lognormal:
    old = before if isinstance(before, Lognormal) else Lognormal(1.0, 0.5)
    if entry.p99 is not None and entry.sigma is not None:
        raise SpecError(f"{spec.where(key)}: {key}: p99 and sigma say the same; keep one of them")
    median = old.median if entry.median is None else entry.median
    sigma = old.sigma if entry.sigma is None else entry.sigma
    if entry.p99 is not None:
        if entry.p99 <= median:
            raise SpecError(
                f"{spec.where(key)}: {key}: found p99 {entry.p99:g}, expected more than the median {median:g}"
            )
        sigma = log(entry.p99 / median) / P99
    return Lognormal(median, sigma)


def _dependence(spec: Spec, traffic: Traffic) -> Dependence:
    said, before = spec.document.simulate, traffic.dependence
    return Dependence(
        _spells(said.bursts) or before.bursts,
        _spells(said.outages) or before.outages,
        before.pods_sd if said.pod_effect is None else said.pod_effect,
        before.clumps if said.clumps is None else said.clumps,
    )


def _spells(entry: SpellsEntry | None) -> Spells | None:
    return Spells(entry.every, entry.seconds, entry.errors, entry.latency) if entry else None


def _possible(spec: Spec, traffic: Traffic) -> Traffic:
    """Requests end in one way each, so the shares of the ways cannot be more than all."""
    whole = sum(traffic.outcomes.values())
    if whole > 1:
        told = " + ".join(f"{name} {share:g}" for name, share in traffic.outcomes.items() if share)
        raise SpecError(
            f"{spec.where('simulate.rates')}: simulate.rates: {told} is {whole:g} of the requests, expected at most 1"
        )
    return traffic
