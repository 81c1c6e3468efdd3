"""Who may import whom: the table of ``docs/architecture.md``, held against the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pytest_canary"

ROOMS: dict[str, set[str]] = {
    "": {"outcome", "identity", "plan", "ports", "errors", "gates", "verdict"},
    "errors": set(),
    "ports": {"errors"},
    "stats": set(),
    "gates": {"stats", "ports", "errors"},
    "verdict": {"gates", "stats", "ports", "errors"},
    "identity": {"ports", "errors"},
    "spec": {"simulation", "prices", "identity", "gates", "ports", "errors"},
    "prices": {"ports", "errors"},
    "prompts": {"ports", "errors"},
    "probing": {"prices", "ports", "errors"},
    "results": {"gates", "ports", "errors"},
    "simulation": {"gates", "ports", "errors"},
    "calibrated": {"gates", "errors"},
    "plan": {"calibrated", "spec", "prompts", "results", "identity", "gates", "ports", "errors"},
    "play": {"verdict", "plan", "gates", "stats", "ports", "errors"},
    "calibration": {"play", "calibrated", "verdict", "plan", "gates", "stats", "ports", "errors"},
    "scenario": {"recording", "plan", "spec", "simulation", "errors"},
    "standin": {"scenario", "recording", "plan", "spec", "ports", "errors"},
    "power": {
        *("standin", "scenario", "simulation", "rollout", "world", "steps", "verdict", "outcome", "plan", "spec"),
        *("gates", "ports", "errors"),
    },
    "steps": {"plan", "identity", "ports", "errors"},
    "recording": {"plan", "ports", "errors"},
    "outcome": {"steps", "verdict", "identity", "ports", "errors"},
    "rollout": {"steps", "verdict", "outcome", "recording", "plan", "identity", "gates", "ports", "errors"},
    "foreign": {"errors"},
    "world": {"foreign", "prices", "probing", "spec", "ports", "errors"},
    "guard": {"ports", "errors"},
    "report": {"outcome", "verdict", "steps", "ports", "errors"},
    "hookspecs": {"outcome", "ports"},
    "replay": {
        *("rollout", "outcome", "verdict", "steps", "recording", "plan", "identity", "gates", "ports", "errors"),
    },
    "session": {
        "scenario",
        "replay",
        "standin",
        "rollout",
        "guard",
        "report",
        "recording",
        "world",
        "outcome",
        "verdict",
        "steps",
        "plan",
        "results",
        "spec",
        "gates",
        "ports",
        "errors",
    },
    "plugin": {"session", "hookspecs", "spec"},
    "command": {
        *("guard", "world", "report", "outcome", "verdict", "steps", "plan", "results", "spec", "gates"),
        *("calibration", "calibrated", "play", "recording", "ports", "errors"),
        *("power", "standin", "scenario"),
    },
    "testing": {
        *("session", "command", "power", "standin", "scenario", "simulation", "rollout", "world", "outcome", "verdict"),
        *("plan", "spec", "gates", "ports", "errors"),
    },
    "adapters": {"simulation", "prompts", "identity", "ports", "errors"},
    "demo": set(),
}
"""Room -> the rooms it may import (itself, always)."""

FOREIGN: dict[str, set[str]] = {
    "pytest": {"plugin", "hookspecs", "session", "command", "testing"},
    "yaml": {"spec"},
    "pydantic": {"spec", "adapters", "world", "plan"},
    "numpy": {"stats", "gates", "verdict", "play", "calibration", "adapters", "simulation", "power"},
    "tenacity": {"steps", "adapters"},
    "httpx": {"adapters"},
    "kubernetes": {"adapters"},
    "prometheus_api_client": {"adapters"},
    "prometheus_client": {"demo", "adapters"},
    "uvicorn": {"demo"},
}
"""Library -> the rooms that may import it."""


def modules() -> Iterator[tuple[str, str, Path]]:
    """(room, part, file) of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = "" if parts == ("__init__",) else parts[0]
        part = parts[1] if len(parts) > 1 else ""
        yield room, part, path


def imports(path: Path) -> Iterator[str]:
    """Dotted names that ``path`` imports, those for type checkers alone excepted."""
    tree = ast.parse(path.read_text())
    for block in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            block.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "pytest_canary":
                yield from (f"pytest_canary.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_every_module_stands_in_a_room():
    """A new room is added to the table, and to the architecture page, on purpose."""
    assert {room for room, _, _ in modules()} <= set(ROOMS)


@pytest.mark.parametrize("path", [pytest.param(m, id=str(m[2].relative_to(PACKAGE))) for m in modules()])
def test_a_room_imports_only_the_rooms_the_table_lets_it(path):
    """Data flows one way, so imports do too."""
    room, _, file = path
    used = {name.split(".")[1] for name in imports(file) if name.startswith("pytest_canary.")}
    used.discard("__version__")

    assert used - {room} <= ROOMS[room]


@pytest.mark.parametrize("path", [pytest.param(m, id=str(m[2].relative_to(PACKAGE))) for m in modules()])
def test_a_foreign_library_is_imported_only_where_it_belongs(path):
    """A library that is everywhere can never be replaced."""
    room, _, file = path
    libraries = {name.split(".")[0] for name in imports(file)}

    assert {library for library in libraries & set(FOREIGN) if room not in FOREIGN[library]} == set()


def test_adapters_never_import_each_other():
    """Two of one target meet in the handle they are given; what several of them share has a name of its own."""
    for room, part, file in modules():
        if room == "adapters" and part not in ("", "__init__"):
            others = {
                name.split(".")[2]
                for name in imports(file)
                if name.startswith("pytest_canary.adapters.") and name.count(".") >= 2
            }
            assert others <= {part, "processes", "kube", "access", "headers", "profiles"}, file


def test_the_modules_above_the_adapters_import_them_only_inside_functions():
    """The plugin is loaded in every pytest run: what is heavy is loaded when it is used."""
    for _, _, file in modules():
        tops = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {node.module or "" for node in tops if isinstance(node, ast.ImportFrom)}
        if not file.is_relative_to(PACKAGE / "adapters"):
            assert not any(name.startswith("pytest_canary.adapters") for name in names), file
