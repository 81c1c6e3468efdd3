"""Profiles: which metrics of a server say what, as data in TOML files.

``docs/profiles.md`` has the format.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from pytest_canary.adapters.profiles.counted import Bucketed, Counted, Gauged, MetricName, Named, Part
from pytest_canary.adapters.profiles.matchers import PLACEHOLDER, Label, Matchers
from pytest_canary.errors import UsageError

FOLDER = Path(__file__).with_name("built_in")
SERVERS = (
    *("demo-gateway", "dynamo", "vllm", "sglang", "tgi", "trtllm-serve", "triton"),
    *("litellm", "mlserver", "kserve", "ray-serve"),
)
"""What builds count themselves, under names that nobody else has."""
SHARED_NAMES = ("inference-service", "podinfo")
"""What builds count themselves, under names that others may have given to something else."""
PROXIES = (
    *("linkerd", "istio", "contour", "envoy", "traefik", "nginx"),
    *("envoy-ai-gateway", "otel-genai", "otel-genai-client"),
)
"""What stands before builds of any kind, and so is there beside their own metrics."""
BUILT_IN = (*SERVERS, *SHARED_NAMES, *PROXIES)
"""In the order in which they are tried where no profile is named: what can be mistaken for another comes later."""
INSTANCE = "instance"
"""Where a target is scraped, ``host:port``: what a router tells of a build that is one process and no pod."""
PARTS = ("gpu", "llama-cpp")
"""Numbers without requests, which a profile may extend besides."""
TOLD = ("namespace", "service", "port", "deployment", "pod", INSTANCE)
"""What a router tells of a role, and a template may ask for."""


class ModelLabels(Part):
    """Labels that say which model a series is of."""

    name: Label | None = None
    version: Label | None = None
    metric: MetricName | None = None
    """The metric that has them; those of the requests unless given."""

    @model_validator(mode="after")
    def _names_one(self) -> ModelLabels:
        if not (self.name or self.version):
            raise ValueError("`name` or `version`: the label that says which model it is")
        return self


class Profile(Part):
    """What one kind of server counts, and under which names."""

    name: str
    description: str = ""
    versions: str = ""
    """For which versions of the server this has been tried or read."""
    replica: Label | None = None
    """The label that names a replica; None where series are not counted by replica."""
    scraped: MetricName = "up"
    """A metric that every scrape has, whose time is the time of the scrape; ``up`` also says that one failed."""
    select: Matchers
    """How a role's series are told from the others'; ``{namespace}`` and so on come from the router.

    Empty where no router tells it, so that the target has to, by ``roles``.
    """
    roles_by: tuple[Label, ...] = ()
    """Labels by which a target may tell roles apart where ``select`` does not fit."""
    known_by: tuple[Named, ...] = ()
    """Metrics that are all there, used or not, where it is this server and no other; empty for any of the numbers."""
    model: ModelLabels | None = None
    """Which labels name the model that is served; None where none does."""
    counters: Mapping[str, Counted]
    histograms: Mapping[str, Bucketed] = Field(default_factory=dict)
    gauges: Mapping[str, Gauged] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _counts_requests(self) -> Profile:
        if "requests" not in self.counters:
            raise ValueError("a table [counters.requests]: nothing can be judged without")
        templates = [one for value in self.select.values() for one in ([value] if isinstance(value, str) else value)]
        unknown = {name for template in templates for name in PLACEHOLDER.findall(template)} - set(TOLD)
        if unknown:
            raise ValueError(f"only {{{'}, {'.join(TOLD)}}} in `select`, found {{{'}, {'.join(sorted(unknown))}}}")
        return self

    @property
    def tables(self) -> Mapping[str, Mapping[str, Counted]]:
        """Every number by its kind and name."""
        return {"counters": self.counters, "histograms": self.histograms, "gauges": self.gauges}

    @property
    def of_one_process(self) -> Profile:
        """The same where there are no pods, and a build is the one target that is scraped at its address."""
        return self.model_copy(update={"replica": None, "select": {INSTANCE: f"{{{INSTANCE}}}"}})

    @property
    def clocks(self) -> tuple[str, ...]:
        """Metrics that tell when a target was scraped: ``scraped``, or where no target has it, those of requests."""
        return tuple(dict.fromkeys((self.scraped, *sorted(self.counters["requests"].names))))

    @property
    def told_by_requests(self) -> bool:
        """Whether the requests themselves tell when they were scraped, where no target has their labels."""
        return self.scraped in ("up", *self.counters["requests"].names)

    @property
    def by(self) -> tuple[str, ...]:
        """The labels by which one source of counters, which begins anew by itself, is told from the next."""
        return tuple(dict.fromkeys(("job", "instance", *([self.replica] if self.replica else []))))


def load(name: str, home: Path, source: str = "prometheus") -> Profile:
    """The built-in profile ``name``, or that in a file ``.toml`` relative to ``home``; ``source`` reads by it.

    Raises:
        UsageError: there is no such profile, or it cannot be used; one line with file and key.

    """
    key = f"metrics.{source}.profile"
    if name.endswith(".toml"):
        return _checked(home / name, _read(home / name, key))
    if name in PARTS:
        raise UsageError(
            f"{key}: {name} has no requests; write a profile of your own that has "
            f'`extends = "{name}"` and [counters.requests]'
        )
    if name not in BUILT_IN:
        near = difflib.get_close_matches(name, BUILT_IN, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"{key}: found {name!r}, expected one of {', '.join(BUILT_IN)}, or a file ending in .toml{hint}"
        )
    return _checked(FOLDER / f"{name}.toml", _read(FOLDER / f"{name}.toml", key))


def _read(path: Path, key: str) -> dict[str, Any]:
    """The keys of ``path``, over those of the profile that it ``extends``."""
    try:
        keys = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}; check `{key}`") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    bases = keys.pop("extends", [])
    under: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        if base not in (*BUILT_IN, *PARTS):
            raise UsageError(f"{path}: extends: found {base!r}, expected one of {', '.join((*BUILT_IN, *PARTS))}")
        under = _over(path, under, _read(FOLDER / f"{base}.toml", key))
    return _over(path, under, keys)


def _over(path: Path, under: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """``keys`` over ``under``, tables number by number."""
    tables = ("counters", "histograms", "gauges")
    merged = {table: {**under.get(table, {}), **_table(path, keys, table)} for table in tables}
    return {**under, **keys, **{table: numbers for table, numbers in merged.items() if numbers}}


def _table(path: Path, keys: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = keys.get(name, {})
    if not isinstance(table, Mapping):
        raise UsageError(f"{path}: {name}: found {table!r}, expected tables such as [{name}.requests]")
    return table


def _checked(path: Path, keys: Mapping[str, Any]) -> Profile:
    try:
        return Profile.model_validate({"name": path.stem} | dict(keys))
    except ValidationError as error:
        raise UsageError("; ".join(_lines(path, error))) from error


def _lines(path: Path, error: ValidationError) -> Iterator[str]:
    for one in error.errors():
        loc = [str(part) for part in one["loc"] if part not in ("str", "tuple[str, ...]", "[key]")]
        loc = loc[:-1] if loc[-2:] == ["metric", "0"] else loc
        where = f"{path}: {'.'.join(loc)}: " if loc else f"{path}: "
        if one["type"] == "extra_forbidden":
            yield f"{where}no such key"
        elif one["type"] == "missing":
            yield f"{where}missing"
        elif one["type"] == "value_error":
            yield f"{where}expected {one['msg'].removeprefix('Value error, ')}"
        else:
            yield f"{where}found {one['input']!r}, expected: {one['msg'].removeprefix('Input ').lower()}"
