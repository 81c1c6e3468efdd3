"""``{ratio: 1.5}`` under a metric's name -> a Gate; for the file, for marks and for ``stage.check`` alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from pytest_canary.errors import SpecError
from pytest_canary.gates import Action, Decide, Gate, Kind, Levels, Limits, Metric, metric, names
from pytest_canary.gates.values import KINDS_OF_LIMIT, Noise
from pytest_canary.ports import NOTHING
from pytest_canary.spec import units
from pytest_canary.spec.owned import known, metric_from

DEFAULT = Levels()

OPTIONS = (
    *("ratio", "delta", "max", "min", "shift", "action", "decide", "against", "floor", "min_baseline"),
    *("catastrophe", "quantiles", "better", "alpha", "design_effect", "by", "metric", "lag", "min_events"),
    "noise",
)


def gate_from(
    name: str,
    options: Mapping[str, Any],
    where: str,
    *,
    decide: str = "evidence",
    levels: Levels = DEFAULT,
    own: Mapping[str, Metric] = NOTHING,
    noise: Noise = 0.0,
) -> Gate:
    """Make the gate ``name`` from its options, texts or numbers; ``decide`` is the rule where they name none,
    ``noise`` by how much a build differs from itself.

    ``own`` are metrics that gates elsewhere have described.

    Raises:
        SpecError: the metric is unknown, or an option is; the text begins with ``where``.

    """
    found = metric_from(name, options, where) if options.get("metric") is not None else metric(name) or own.get(name)
    if found is None:
        near = get_close_matches(name, (*names(), *own), 1, 0.4)
        raise SpecError(f"{where}: {known(name, f'did you mean {near[0]}? ' if near else '')}")
    reader = _Reader(name, found, options, where)
    reader.refuse_unknown()
    limits = reader.limits()
    return Gate(
        name=name,
        metric=found,
        limits=limits,
        action=Action(reader.one_of("action", ("rollback", "alert"), "rollback")),
        decide=Decide(reader.one_of("decide", tuple(Decide), decide)),
        where=where,
        against=reader.one_of("against", ("concurrent", "captured"), "concurrent"),
        floor=reader.read("floor", units.rate, 0.001),
        min_baseline=reader.read("min_baseline", units.whole, 50),
        catastrophe=reader.read("catastrophe", units.boolean, True),
        quantiles=reader.quantiles(),
        levels=levels,
        asked_alpha=reader.read("alpha", units.share, None),
        design_effect=reader.read("design_effect", _at_least_one, 1.0),
        by=reader.labels(),
        lag_seconds=reader.read("lag", units.duration, 0.0),
        min_events=reader.read("min_events", units.whole, None),
        noise=reader.read("noise", units.noise, noise),
    )


def stage_limits(name: str, options: Mapping[str, Any], where: str, *, own: Mapping[str, Metric] = NOTHING) -> Limits:
    """Limits of ``name`` that differ at one stage; nothing else of a gate may."""
    gate = gate_from(name, options, where, own=own)
    other = sorted(key for key in options if key not in KINDS_OF_LIMIT)
    if other:
        only = f"{', '.join(KINDS_OF_LIMIT[:-1])} and {KINDS_OF_LIMIT[-1]}"
        raise SpecError(f"{where}: found {other[0]!r} at a stage, where only {only} may differ")
    return gate.limits


class _Reader:
    def __init__(self, name: str, found: Metric, options: Mapping[str, Any], where: str) -> None:
        self._name, self._metric, self._where = name, found, where
        self._options = {key: value for key, value in options.items() if value is not None}

    def refuse_unknown(self) -> None:
        for key in self._options:
            if key not in OPTIONS:
                near = get_close_matches(key, OPTIONS, 1, 0.5)
                hint = f"; did you mean {near[0]}?" if near else f", expected one of {', '.join(OPTIONS)}"
                raise SpecError(f"{self._where}: {self._name}: found option {key!r}{hint}")

    def read(self, key: str, unit: Callable[[str], Any], default: Any) -> Any:
        if key not in self._options:
            return default
        value = self._options[key]
        text = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            return unit(text)
        except ValueError as error:
            raise SpecError(f"{self._where}: {self._name}.{key}: found {text!r}, expected {error}") from None

    def one_of(self, key: str, known: tuple[str, ...], default: str) -> str:
        value = str(self._options.get(key, default))
        if value not in known:
            raise SpecError(f"{self._where}: {self._name}.{key}: found {value!r}, expected {' or '.join(known)}")
        return value

    def limits(self) -> Limits:
        absolute = {"seconds": units.latency, "ratio": units.rate}.get(self._metric.unit, units.quantity)
        limits = Limits(
            ratio=self.read("ratio", _worse_by, None),
            delta=self.read("delta", absolute, None),
            max=self.read("max", absolute, None),
            min=self.read("min", absolute, None),
            shift=self.read("shift", units.psi, None),
        )
        if limits == Limits():
            raise SpecError(f"{self._where}: {self._name} has no limit, expected ratio, delta, max, min or shift")
        if limits.max is not None and limits.min is not None and limits.min > limits.max:
            raise SpecError(f"{self._where}: {self._name}: `min` is above `max`, so nothing could pass")
        if limits.shift is not None and not self._metric.histogram:
            raise SpecError(
                f"{self._where}: {self._name}.shift: {self._name} is not counted in buckets, so has no shape"
            )
        better = self._metric.better
        said = self.one_of("better", ("lower", "higher"), better)
        if said != better:
            raise SpecError(f"{self._where}: {self._name}.better: found {said!r}, but {better} is better for it")
        return self._of_the_rest(limits) if self._metric.missed else limits

    @staticmethod
    def _of_the_rest(limits: Limits) -> Limits:
        """Of a share where more is better the rest is judged: at least 80 % are at most 20 % of the rest."""
        top = None if limits.min is None else 1 - limits.min
        bottom = None if limits.max is None else 1 - limits.max
        return replace(limits, max=top, min=bottom)

    def labels(self) -> tuple[str, ...]:
        given = self._options.get("by", ())
        found = (given,) if isinstance(given, str) else given
        if not isinstance(found, list | tuple) or not all(isinstance(one, str) and one for one in found):
            raise SpecError(f"{self._where}: {self._name}.by: found {given!r}, expected labels such as [model, route]")
        return tuple(found)

    def quantiles(self) -> tuple[float, ...] | None:
        if "quantiles" not in self._options:
            return None
        if self._metric.kind is not Kind.QUANTILE:
            raise SpecError(f"{self._where}: {self._name}.quantiles: {self._name} is no latency")
        given = self._options["quantiles"]
        try:
            found = tuple(float(str(one).removeprefix("p")) / 100 for one in given)
        except (ValueError, TypeError):
            found = ()
        if not found or any(q not in (0.5, 0.9, 0.95, 0.99) for q in found):
            raise SpecError(f"{self._where}: {self._name}.quantiles: found {given!r}, expected some of p50 p90 p95 p99")
        return found


def _at_least_one(text: str) -> float:
    value = units.number(text)
    if value < 1:
        raise ValueError("a number, 1 or more: how many times more counts vary than chance has it")
    return value


def _worse_by(text: str) -> float:
    value = units.number(text)
    if not 1 < value <= 100 or not math.isfinite(value):
        raise ValueError("a ratio above 1, such as 1.5 for `at most half as much again`")
    return value
