"""Which items are ours, in which phase and order, and whether the run was narrowed."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from pytest_canary.errors import SpecError
from pytest_canary.gates import Gate
from pytest_canary.plan import Stage, declared_gates, stages_of
from pytest_canary.spec import Spec, load

OUR_FIXTURES = ("rollout", "canary", "warmup", "baseline", "stage")


class Phase(IntEnum):
    """When a test runs; the fixture it asks for decides."""

    ELSEWHERE = 0
    PREFLIGHT = 1
    SMOKE = 2
    WARM = 3
    GATE = 4


@dataclass(slots=True)
class Home:
    """A folder with a rollout.yaml: what it says, or why it cannot be read."""

    folder: Path
    node: str
    """Node id of the rollout.yaml."""
    spec: Spec | None = None
    error: SpecError | None = None
    stages: tuple[Stage, ...] = ()
    gates: tuple[Gate, ...] = ()
    fixtures: bool = field(default=False)
    """Whether the fixtures are registered on the folder's node."""

    @classmethod
    def read(cls, folder: Path, config: pytest.Config) -> Home:
        """Read ``folder``'s rollout.yaml with the options of this run; what is wrong with it is kept, not raised."""
        path = folder / "rollout.yaml"
        node = path.relative_to(config.rootpath).as_posix() if path.is_relative_to(config.rootpath) else str(path)
        home = cls(folder, node)
        try:
            home.spec = load(
                path,
                target=config.getoption("canary_target"),
                overrides=config.getoption("canary_set"),
                simulated=config.getoption("canary_simulate") is not None,
            )
            home.stages = stages_of(home.spec, node)
            home.gates = declared_gates(home.spec)
        except SpecError as error:
            home.error = error
        return home


class RolloutFile(pytest.Module):
    """rollout.yaml as a collector: its gates are ordinary test functions."""

    home: Home

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """One test function per gate; the file's own mistakes are the collection error."""
        if self.home.error is not None:
            raise self.home.error
        module = types.ModuleType("rollout_yaml")
        for gate in self.home.gates:
            setattr(module, gate.name, _gate_function(gate.name))
        self.obj = module
        return super().collect()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ARG002
        """One line per mistake, no traceback."""
        if isinstance(excinfo.value, SpecError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


def _gate_function(name: str) -> Callable[..., None]:
    def gate(stage: Any) -> None:
        stage.report(name)

    gate.__name__ = gate.__qualname__ = name
    gate.__doc__ = f"The declared gate ``{name}``: reports what the hold of its stage found."
    gate.__test__ = True  # type: ignore[attr-defined]
    gate.canary_gate = name  # type: ignore[attr-defined]
    return gate


def declared_name(item: pytest.Item) -> str | None:
    """The name of the declared gate that ``item`` reports, if it is one."""
    return getattr(getattr(item, "function", None), "canary_gate", None)


def marked_names(item: pytest.Item) -> list[str]:
    """The names of the gates that ``item`` declares by ``@pytest.mark.gate``."""
    return [str(mark.args[0]) for mark in item.iter_markers("gate") if mark.args]


def stage_of(item: pytest.Item) -> Stage | None:
    """The stage that ``item`` gates, if it does."""
    callspec = getattr(item, "callspec", None)
    stage = callspec.params.get("stage") if callspec is not None else None
    return stage if isinstance(stage, Stage) else None


def is_our_fixture(definition: Any, name: str) -> bool:
    """Whether the fixture ``name`` that ``definition`` (an item or a function definition) would get is ours."""
    fixtures = definition._fixtureinfo.name2fixturedefs.get(name) or ()
    return any(getattr(fixture.func, "canary_fixture", False) for fixture in tuple(fixtures)[-1:])


def phase_of(item: pytest.Item) -> Phase:
    """The phase of an item below a rollout.yaml."""
    names = getattr(item, "fixturenames", ())
    if stage_of(item) is not None:
        return Phase.GATE
    for name, phase in (("baseline", Phase.WARM), ("warmup", Phase.WARM), ("canary", Phase.SMOKE)):
        if name in names and is_our_fixture(item, name):
            return phase
    return Phase.PREFLIGHT


def narrowed_by(config: pytest.Config, folder: Path) -> str:
    """Why this run may lack gates of ``folder``'s rollout, in words; empty when it is whole."""
    option = config.option
    flags = {
        "-k": getattr(option, "keyword", ""),
        "-m": getattr(option, "markexpr", ""),
        "--deselect": getattr(option, "deselect", None),
        "--lf": getattr(option, "lf", False),
        "--stepwise": getattr(option, "stepwise", False),
        "--ignore": getattr(option, "ignore", None),
        "--ignore-glob": getattr(option, "ignore_glob", None),
    }
    given = [flag for flag, value in flags.items() if value]
    for argument in config.args:
        path, colons, _ = argument.partition("::")
        if colons or (
            (config.invocation_params.dir / path).resolve().is_relative_to(folder.resolve())
            and ((config.invocation_params.dir / path).resolve() != folder.resolve())
        ):
            given.append(argument)
    return " ".join(given)
