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

if TYPE_CHECKING:
    from pytest_canary.spec import AdapterChoice, Spec

Answer = Callable[[str, str, Mapping[str, Any], Shared], Any]
"""``(kind, name, options, shared)`` -> an adapter of the user's own, or None."""

BUILT_IN: Mapping[str, tuple[str, ...]] = {
    "platform": ("local", "memory"),
    "router": ("envoy", "memory"),
    "metrics": ("envoy", "memory", "simulated"),
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
    return Path(state or root / ".pytest_canary") / spec.service / spec.target


def clock_of(spec: Spec) -> Clock:
    """Return the clock of the target: the machine's, or a virtual one that nothing waits for."""
    offers = importlib.import_module("pytest_canary.adapters.clock").OFFERS
    if spec.clock.name not in offers:
        raise SpecError(f"{spec.clock.where}: found clock {spec.clock.name!r}, expected one of {', '.join(offers)}")
    return cast(Clock, offers[spec.clock.name]())


def ledger_of(folder: Path) -> Ledger:
    """Return the ledger kept in ``folder``."""
    offers = importlib.import_module("pytest_canary.adapters.ledger").OFFERS
    return cast(Ledger, offers["file"](folder))


def connect(spec: Spec, shared: Shared, answer: Answer = nobody) -> World:
    """Connect every adapter of the chosen target; nothing is started.

    Raises:
        SpecError: an adapter is unknown, or its options are wrong; the text names the line.
        Missing: something an adapter needs is not installed; the text names the command that mends it.

    """
    world = World(
        platform=cast(Platform, _adapter("platform", spec.platform, shared, answer)),
        router=cast(Router, _adapter("router", spec.router, shared, answer)),
        source=cast(MetricSource, _adapter("metrics", spec.metrics, shared, answer)),
        probe=cast(Probe, _adapter("probe", spec.probe, shared, answer)),
        clock=shared.clock,
        shared=shared,
        users=cast(Users, _adapter("load", spec.load, shared, answer)) if spec.load else None,
    )
    missing = [line for adapter in world.adapters for line in adapter.check()]
    if missing:
        raise Missing("; ".join(dict.fromkeys(missing)))
    return world


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
    for point in entry_points(group=f"pytest_canary.{kind}", name=choice.name):
        return point.load()
    if choice.name not in BUILT_IN[kind]:
        known = sorted({*BUILT_IN[kind], *(point.name for point in entry_points(group=f"pytest_canary.{kind}"))})
        raise SpecError(
            f"{choice.where}: found {kind} {choice.name!r}, expected one of {', '.join(known)}; "
            f"a package brings its own through the entry point group pytest_canary.{kind}, "
            f"a conftest.py through the hook pytest_canary_{kind}"
        )
    return importlib.import_module(f"pytest_canary.adapters.{choice.name}").OFFERS[kind]


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
