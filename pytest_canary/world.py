"""A target of a rollout.yaml -> its adapters, connected; and where a rollout keeps what must outlive it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ValidationError

from pytest_canary.errors import AdapterError, CanaryError, Missing, SpecError
from pytest_canary.foreign import Translated
from pytest_canary.ports import Clock, Ledger, MetricSource, Platform, Probe, Router, Shared, Users, World
from pytest_canary.probing import Pace, PacedProbes, ProbedSource

if TYPE_CHECKING:
    from pytest_canary.spec import AdapterChoice, Spec

Answer = Callable[[str, str, Mapping[str, Any], Shared], Any]
"""``(kind, name, options, shared)`` -> an adapter of the user's own, or None."""

BUILT_IN: Mapping[str, tuple[str, ...]] = {
    "platform": ("local", "kubernetes", "memory"),
    "router": ("envoy", "gateway-api", "memory"),
    "metrics": ("envoy", "memory", "prometheus", "scrape", "simulated"),
    "load": ("load", "memory"),
    "probe": ("http", "memory"),
    "clock": ("system", "virtual"),
}
"""Which adapters come with the package: the module under ``adapters`` that offers them."""


def nobody(kind: str, name: str, options: Mapping[str, Any], shared: Shared) -> Any:
    """Answer no question about adapters: what is built in or installed has to do."""
    del kind, name, options, shared


def state_folder(root: Path, state: str | None, spec: Spec) -> Path:
    """Return the folder of one service in one target; it need not exist."""
    return Path(state or root / ".pytest_canary").absolute() / spec.service / spec.target


def clock_of(spec: Spec) -> Clock:
    """Return the clock of the target: the machine's, or a virtual one that nothing waits for."""
    offers = importlib.import_module("pytest_canary.adapters.clock").OFFERS
    if spec.clock.name not in offers:
        raise SpecError(f"{spec.clock.where}: found clock {spec.clock.name!r}, expected one of {', '.join(offers)}")
    return cast(Clock, offers[spec.clock.name]())


def ledger_of(spec: Spec, folder: Path) -> Ledger:
    """Return the ledger of a target: where others find it too if they can roll out the same, else in ``folder``."""
    if spec.platform.name == "kubernetes":
        lease = importlib.import_module("pytest_canary.adapters.ledger.lease").LeaseLedger
        return cast(Ledger, lease(spec.platform.options, spec.router.options, folder, spec.folder))
    offers = importlib.import_module("pytest_canary.adapters.ledger").OFFERS
    return cast(Ledger, offers["file"](folder))


def connect(spec: Spec, shared: Shared, answer: Answer = nobody, *, counted: bool = True) -> World:
    """Connect every adapter of the chosen target; nothing is started.

    Whoever puts something right asks nobody what was ``counted``: a metric source that is down must not keep him.

    Raises:
        SpecError: an adapter is unknown, or its options are wrong; the text names the line.
        Missing: something an adapter needs is not installed; the text names the command that mends it.

    """
    source = _priced(spec, cast(MetricSource, _adapter("metrics", spec.metrics, shared, answer)))
    probe = cast(Probe, _adapter("probe", spec.probe, shared, answer))
    probes = _probes(spec, probe, shared.clock)
    world = World(
        platform=cast(Platform, _adapter("platform", spec.platform, shared, answer)),
        router=cast(Router, _adapter("router", spec.router, shared, answer)),
        source=source if probes is None else cast(MetricSource, ProbedSource(source, probes)),
        probe=probe,
        clock=shared.clock,
        shared=shared,
        users=cast(Users, _adapter("load", spec.load, shared, answer)) if spec.load else None,
        probes=probes,
    )
    needed = [adapter for adapter in world.adapters if counted or adapter is not world.source]
    missing = [line for adapter in needed for line in adapter.check()]
    if missing:
        raise Missing("; ".join(dict.fromkeys(missing)))
    return world


def _priced(spec: Spec, source: MetricSource) -> MetricSource:
    """``source``, which counts the cost too where the file has prices."""
    from pytest_canary.prices import Priced
    from pytest_canary.spec import prices_of

    prices = prices_of(spec)
    return source if prices is None else cast(MetricSource, Priced(source, prices))


def _probes(spec: Spec, probe: Probe, clock: Clock) -> PacedProbes | None:
    """What asks all builds again and again, where the file says how often."""
    from pytest_canary.spec import prices_of

    asked = spec.document.probe
    if asked.rate is None:
        return None
    return PacedProbes(probe, clock, Pace(asked.rate, asked.concurrency), prices_of(spec))


def _adapter(kind: str, choice: AdapterChoice, shared: Shared, answer: Answer) -> object:
    where = f"{choice.where}: {kind} {choice.name!r}"
    try:
        made = answer(kind, choice.name, choice.options, shared)
        made = _connected(_class_of(kind, choice), kind, choice, shared) if made is None else made
    except CanaryError:
        raise
    except Exception as error:
        raise AdapterError(f"{where} cannot be connected: {type(error).__name__}: {error}") from error
    return Translated(made, where)


def _class_of(kind: str, choice: AdapterChoice) -> Any:
    if (kind, choice.name) == ("metrics", "probe"):
        raise SpecError(
            f"{choice.where}: probes cannot be the only metrics: nobody would count users, so whether they are split "
            "as was set and how many met the canary could not be known; name what counts them at the router, such as "
            "prometheus, and write `probe: {rate: 2}` beside it"
        )
    for point in entry_points(group=f"pytest_canary.{kind}", name=choice.name):
        return point.load()
    if choice.name not in BUILT_IN[kind]:
        known = sorted({*BUILT_IN[kind], *(point.name for point in entry_points(group=f"pytest_canary.{kind}"))})
        raise SpecError(
            f"{choice.where}: found {kind} {choice.name!r}, expected one of {', '.join(known)}; "
            f"a package brings its own through the entry point group pytest_canary.{kind}, "
            f"a conftest.py through the hook pytest_canary_{kind}"
        )
    return importlib.import_module(f"pytest_canary.adapters.{choice.name.replace('-', '_')}").OFFERS[kind]


def _connected(cls: Any, kind: str, choice: AdapterChoice, shared: Shared) -> object:
    model: type[BaseModel] | None = getattr(cls, "Options", None)
    if model is None:
        return cls.connect(choice.options, shared)
    try:
        options = model.model_validate(dict(choice.options))
    except ValidationError as error:
        raise SpecError("\n".join(_option_error(kind, choice, model, one) for one in error.errors())) from error
    return cls.connect(options, shared)


def _option_error(kind: str, choice: AdapterChoice, model: type[BaseModel], error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "options"
    where = f"{choice.where}: {kind}.{choice.name}.{key}"
    if error["type"] == "extra_forbidden":
        return f"{where}: no such option, expected one of {', '.join(sorted(model.model_fields))}"
    if error["type"] == "missing":
        return f"{where}: missing, expected {model.model_fields[str(error['loc'][0])].annotation}"
    return f"{where}: found {error['input']!r}, expected: {error['msg'].removeprefix('Input ').lower()}"
