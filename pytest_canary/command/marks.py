"""The gates that test files declare, read without running them: ``@pytest.mark.gate(...)`` and ``stage.check(...)``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Declared:
    """One gate as it stands in a test file; ``written`` is false where only running the file would tell it."""

    where: str
    metric: str = ""
    options: Mapping[str, Any] | None = None
    kind: str = "gate"
    """``gate`` for a mark, ``check`` for a ``stage.check``."""

    @property
    def written(self) -> bool:
        """Whether metric and limits stand there as plain values."""
        return self.options is not None


def declared_in(folder: Path) -> list[Declared]:
    """What the test files of ``folder`` declare, by file and line; a file that is no Python declares nothing."""
    found = list[Declared]()
    for path, tree in _trees(folder):
        found += _declared(tree, path.relative_to(folder).as_posix())
    return found


def asking_for_stage(folder: Path) -> list[str]:
    """The tests of ``folder`` that ask for ``stage`` and look at it themselves: ``file.py::test``."""
    found = list[str]()
    for path, tree in _trees(folder):
        for node in ast.walk(tree):
            named = isinstance(node, ast.FunctionDef) and node.name.startswith("test")
            if isinstance(node, ast.FunctionDef) and named and any(one.arg == "stage" for one in node.args.args):
                found.append(f"{path.relative_to(folder).as_posix()}::{node.name}")
    return found


def unread_in(folder: Path) -> list[str]:
    """The test files of ``folder`` of which nobody knows what they declare: no Python, too large, or not readable."""
    found = list[str]()
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            large = path.stat().st_size > SIZE_LIMIT
            _tree(path)
        except SyntaxError as error:
            found.append(f"{name}:{error.lineno or 1}: is no Python ({error.msg}), so its gates are not known")
        except (OSError, ValueError, RecursionError):
            found.append(f"{name}: cannot be read, so its gates are not known")
        else:
            found += [f"{name}: is larger than {SIZE_LIMIT:,} bytes, so its gates are not known"] if large else []
    return found


def _trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in _files(folder):
        with suppress(OSError, ValueError, SyntaxError, RecursionError):  # pytest will say so
            yield path, _tree(path)


def _files(folder: Path) -> list[Path]:
    return sorted({*folder.rglob("test_*.py"), *folder.rglob("*_test.py")})


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8") if path.stat().st_size <= SIZE_LIMIT else "")


def _declared(tree: ast.Module, name: str) -> Iterator[Declared]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _declares(node.func)]
    for call in sorted(calls, key=lambda call: call.lineno):
        where = f"{name}:{call.lineno}"
        try:
            (metric,) = (ast.literal_eval(one) for one in call.args)
            options = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords if one.arg}
        except ValueError:
            yield Declared(where, kind=_kind(call))
            continue
        whole = isinstance(metric, str) and all(one.arg for one in call.keywords)
        yield Declared(where, str(metric), options, _kind(call)) if whole else Declared(where, kind=_kind(call))


def _kind(call: ast.Call) -> str:
    return "check" if isinstance(call.func, ast.Attribute) and call.func.attr == "check" else "gate"


def _declares(called: ast.expr) -> bool:
    """Whether it is ``pytest.mark.gate`` or ``stage.check``."""
    if not isinstance(called, ast.Attribute):
        return False
    of = called.value
    if called.attr == "gate":
        return isinstance(of, ast.Attribute) and of.attr == "mark"
    return called.attr == "check" and isinstance(of, ast.Name) and of.id == "stage"
