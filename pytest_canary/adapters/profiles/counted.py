"""How a profile says where one number is read: a metric, several of them, or a query."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pytest_canary.adapters.profiles.matchers import Matchers

UNITS = {"1": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ratio": 1.0, "percent": 0.01}
SAID: Mapping[str, str] = {"seconds": "s", "milliseconds": "ms", "ms": "ms", "microseconds": "us", "us": "us"}
"""Endings of a metric's name that say its unit."""
ENDING = re.compile(rf"_({'|'.join(SAID)})(_sum|_total)?$")

MetricName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
Unit: TypeAlias = Literal["1", "s", "ms", "us", "ratio", "percent"]


def _listed(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


class Part(BaseModel):
    """Some keys of a profile: frozen, and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Named(Part):
    """A metric by its name, or several that are added up, and what their labels must be; or PromQL.

    A ``query`` has ``$match`` and ``$by`` in it.
    """

    metric: Annotated[tuple[MetricName, ...], BeforeValidator(_listed)] = ()
    match: Matchers = Field(default_factory=dict)
    query: str | None = None

    def series(self, suffix: str, match: str) -> str:
        """The PromQL selector of its metrics, with ``suffix`` behind their names, where ``match`` holds."""
        if len(self.metric) == 1:
            return f"{self.metric[0]}{suffix}{{{match}}}"
        names = "|".join(f"{name}{suffix}" for name in self.metric)
        return f'{{__name__=~"{names}"{match and ","}{match}}}'

    @model_validator(mode="after")
    def _is_whole(self) -> Named:
        if self.query is not None:
            if self.metric or self.match:
                raise ValueError("either `query` alone, or `metric` with `match`")
            if "$match" not in self.query or "$by" not in self.query:
                raise ValueError("a `query` with $match and $by in it, such as sum by ($by) (requests{$match})")
        return self


class Other(Named):
    """One of several names; ``unit`` where it is not that of the others."""

    unit: Unit | None = None


class Counted(Named):
    """A counter: one metric, or ``any`` of several names that it has had."""

    unit: Unit = "1"
    """What it counts; of use to sums of seconds."""
    any: tuple[Other, ...] = ()
    from_zero: bool = False
    """Whether no series at all means 0: its first event makes it appear, and nothing announces it before."""

    @property
    def alternatives(self) -> tuple[Named, ...]:
        """The names that are tried, the first that exists wins."""
        return self.any or (self,)

    @property
    def names(self) -> frozenset[str]:
        """Every metric that it may be read from."""
        return frozenset(name for one in self.alternatives for name in one.metric)

    def scale(self, nth: int) -> float:
        """What a value of the alternative ``nth`` is multiplied by, to be in seconds or a ratio."""
        return UNITS[(self.any[nth].unit if self.any else None) or self.unit]

    @model_validator(mode="after")
    def _is_named_once(self) -> Counted:
        if sum(map(bool, (self.metric, self.query, self.any))) != 1:
            raise ValueError("exactly one of `metric`, `query` and `any`")
        if not all(one.metric or one.query for one in self.any):
            raise ValueError("a `metric` or a `query` in each of `any`")
        for nth, one in enumerate(self.alternatives):
            for name in one.metric:
                said = ENDING.search(name)
                if said and UNITS[SAID[said[1]]] != self.scale(nth):
                    raise ValueError(f'`unit = "{SAID[said[1]]}"`, as the name {name} says')
        return self


class Bucketed(Counted):
    """A histogram with buckets; ``unit`` is that of its bounds."""

    unit: Unit = "s"

    @model_validator(mode="after")
    def _has_buckets(self) -> Bucketed:
        if any(one.query or len(one.metric) > 1 for one in self.alternatives):
            raise ValueError("one `metric` of a histogram, which cannot be a query or a list")
        if any(name.endswith("_bucket") for one in self.alternatives for name in one.metric):
            raise ValueError("the name without _bucket")
        return self


class Gauged(Counted):
    """A value of this moment; ``across`` is how replicas are put together."""

    across: Literal["sum", "mean", "max"] = "sum"
