"""What tokens and GPU seconds cost: a metric source before another one, which counts ``cost`` too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Asked, Fact, Foreseen, MetricSource, Role, Sample

MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Price:
    """Of one model, in any currency: tokens by the million, GPUs by the second.  None is not asked for."""

    input: float | None = None
    cached_input: float | None = None
    """Of those input tokens that were found in a cache; None is the price of any other."""
    output: float | None = None
    gpu_second: float | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model, and which model each role serves where the source does not count by model."""

    models: Mapping[str, Price]
    serves: Mapping[Role, str]
    where: str

    def of(self, model: str) -> Price:
        """The price of ``model``; raises SourceUnavailable when there is none."""
        if model not in self.models:
            raise SourceUnavailable(
                f"{self.where}: no price for the model {model!r}, add it to `cost.prices`; there are prices for "
                f"{', '.join(sorted(self.models))}"
            )
        return self.models[model]


def priced(sample: Sample, role: Role, prices: Prices) -> Sample:
    """``sample`` with the counter ``cost``, as far as what is priced is counted; a cost of the source's own stays."""
    if "cost" in sample.counters or "cost" in sample.histograms:
        return sample
    by_model = sample.strata.get("model")
    if by_model:
        parts = {name: _with(part, cost_of(part, prices.of(name))) for name, part in by_model.items()}
        costs = [part.counters.get("cost") for part in parts.values()]
        total = None if None in costs else sum(cost for cost in costs if cost is not None)
        return replace(_with(sample, total), strata={**sample.strata, "model": parts})
    if role not in prices.serves:
        raise SourceUnavailable(
            f"{prices.where}: there are prices for {', '.join(sorted(prices.models))}, and nobody says which of them "
            f"the {role} serves; write `cost: {{model: NAME}}`"
        )
    price = prices.of(prices.serves[role])
    replicas = {name: _with(one, cost_of(one, price)) for name, one in sample.replicas.items()}
    return replace(_with(sample, cost_of(sample, price)), replicas=replicas)


def cost_of(sample: Sample, price: Price) -> float | None:
    """Cost of everything that was counted; None where something that has a price is not counted."""
    fresh, cached = _count(sample, "input_tokens"), _count(sample, "cached_input_tokens") or 0.0
    cheap = price.input if price.cached_input is None else price.cached_input
    kinds = (
        (price.input, None if fresh is None else max(fresh - cached, 0.0), MILLION),
        (cheap, cached, MILLION),
        (price.output, _count(sample, "output_tokens"), MILLION),
        (price.gpu_second, _count(sample, "gpu_seconds"), 1.0),
    )
    asked = [(amount, each / per) for each, amount, per in kinds if each is not None]
    if not asked or any(amount is None for amount, _ in asked):
        return None
    return sum(amount * each for amount, each in asked if amount is not None)


def _count(sample: Sample, name: str) -> float | None:
    """A counter, or the sum of a histogram's values."""
    if name in sample.counters:
        return sample.counters[name]
    histogram = sample.histograms.get(name)
    return histogram.total if histogram is not None else None


def _with(sample: Sample, cost: float | None) -> Sample:
    return sample if cost is None else replace(sample, counters={**sample.counters, "cost": cost})


def _foreseen(told: Foreseen, role: Role, prices: Prices) -> Foreseen:
    """The same of what will be counted."""
    like = priced(told.like, role, prices)
    if len(like.counters) == len(told.like.counters):
        return told
    costs = [priced(sample, role, prices).counters["cost"] for sample in told.brief()]
    return replace(told, like=like, counters={**told.counters, "cost": costs})


class InFront:
    """Hands everything on to the metric source behind it; who stands there polls more than that one does."""

    def __init__(self, source: MetricSource) -> None:
        self._source = source

    @property
    def interval_seconds(self) -> float | None:
        """As the source has it."""
        return self._source.interval_seconds

    def __getattr__(self, name: str) -> Any:
        """What else the source can do, such as to explain its numbers."""
        return getattr(self._source, name)

    def check(self) -> Sequence[str]:
        return self._source.check()

    def recover(self, facts: Sequence[Fact]) -> None:
        self._source.recover(facts)

    def start(self) -> None:
        self._source.start()

    def stop(self) -> None:
        self._source.stop()


class Priced(InFront):
    """A :class:`~pytest_canary.ports.MetricSource` that counts what another one does, and ``cost``."""

    def __init__(self, source: MetricSource, prices: Prices) -> None:
        super().__init__(source)
        self._prices = prices

    def __getattr__(self, name: str) -> Any:
        """What else the source can do, such as to explain its numbers; the cost is one of them."""
        found = super().__getattr__(name)
        if name == "ahead":
            return lambda *asked: {role: _foreseen(one, role, self._prices) for role, one in found(*asked).items()}
        if name == "past":
            return lambda role, *when: (priced(sample, role, self._prices) for sample in found(role, *when))
        if name != "explain":
            return found
        return lambda role: {**found(role), "counters.cost": Asked("", by=f"{self._prices.where}: cost.prices")}

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        return self._priced(self._source.poll(roles))

    def _priced(self, samples: Mapping[Role, Sample]) -> Mapping[Role, Sample]:
        return {role: priced(sample, role, self._prices) for role, sample in samples.items()}
