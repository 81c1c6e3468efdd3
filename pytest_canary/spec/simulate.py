"""``simulate:`` as it is written: the traffic of a service, by which its rollouts are simulated."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pytest_canary.spec import units
from pytest_canary.spec.scalars import Duration, Whole, schema, text

Share = Annotated[float, text(units.rate), schema("a share, 0..1 or per cent", "1%")]
Amount = Annotated[float, text(units.amount), schema("a number, or a time with its unit", "250ms")]
Factor = Annotated[float, text(units.quantity), schema("so many times", "30")]


class Entry(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ValuesEntry(Entry):
    """How the values of a histogram are spread: lognormal by median and p99 (or sigma), or a score by mean and sd."""

    median: Annotated[Amount, Field(gt=0)] | None = None
    p99: Annotated[Amount, Field(gt=0)] | None = None
    sigma: Annotated[Factor, Field(gt=0)] | None = None
    mean: Share | None = None
    sd: Annotated[Factor, Field(gt=0)] | None = None
    among: Share | None = None
    buckets: list[Annotated[Amount, Field(gt=0)]] = []


class DailyEntry(Entry):
    """The rate over a day: a cosine around its mean."""

    swing: Share
    peak: Duration = 14 * 3600.0
    start: Duration = 9 * 3600.0


class SpellsEntry(Entry):
    """Times of trouble that come at random."""

    every: Annotated[Duration, Field(gt=0)]
    seconds: Annotated[Duration, Field(gt=0)] = Field(alias="for")
    errors: Factor = 1.0
    latency: Annotated[Factor, Field(ge=1)] = 1.0


class SimulateEntry(Entry):
    """The traffic; what is not said is the default, or what a recording tells."""

    source: str | None = Field(default=None, alias="from")
    rate: Annotated[Factor, Field(gt=0)] | None = None
    daily: DailyEntry | None = None
    rates: dict[str, Share] = {}
    values: dict[str, ValuesEntry] = {}
    gauges: dict[str, Amount] = {}
    pods: Annotated[int, text(units.whole), Field(ge=1, le=1000)] | None = None
    bursts: SpellsEntry | None = None
    outages: SpellsEntry | None = None
    pod_effect: Annotated[Factor, Field(le=3)] | None = None
    clumps: Annotated[Factor, Field(ge=1, le=100)] | None = None
    seed: Whole | None = None
