"""A YAML file -> plain maps, lists and texts that know the line each stands in.  The only import of yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pytest_canary.errors import SpecError

NODES_LIMIT = 20_000
VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar as it is written; ``quoted`` texts are never read as anything else."""

    text: str
    where: str
    quoted: bool = False


@dataclass(slots=True)
class Branch:
    """A map: key -> what stands under it, and the place of every key."""

    items: dict[str, Any]
    where: str
    places: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """A list."""

    items: list[Any]
    where: str


Tree = Leaf | Branch | Row


def read(path: Path) -> Branch:
    """Read ``path``; raises SpecError with the line when it is no YAML, or no map."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path.name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path.name}: is not UTF-8 text (byte {error.start})") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError(f"{path.name}:{line}: is not YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"{path.name}:1: is not YAML: {' '.join(str(error).split())}") from error
    if node is None:
        raise SpecError(f"{path.name}:1: the file is empty, expected at least service, gates and targets")
    tree = _bounded(node, path.name)
    if not isinstance(tree, Branch):
        raise SpecError(f"{path.name}:1: found a list or a text, expected a map with service, gates and targets")
    return tree


def _bounded(node: yaml.Node, name: str) -> Tree:
    """An alias may repeat what repeats others, or itself; what it writes out stays within bounds."""
    size, todo = 0, [node]
    while todo:
        one = todo.pop()
        size += 1
        if size > NODES_LIMIT:
            raise SpecError(f"{name}:{one.start_mark.line + 1}: aliases repeat too much, expected a plain file")
        if isinstance(one, yaml.MappingNode):
            todo += [part for pair in one.value for part in pair]
        elif isinstance(one, yaml.SequenceNode):
            todo += one.value
    return _tree(node, name)


def _tree(node: yaml.Node, name: str) -> Tree:
    where = f"{name}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.ScalarNode):
        return Leaf(node.value, where, quoted=node.style in ("'", '"', "|", ">"))
    if isinstance(node, yaml.SequenceNode):
        return Row([_tree(item, name) for item in node.value], where)
    branch = Branch({}, where)
    assert isinstance(node, yaml.MappingNode)
    for key, value in node.value:
        place = f"{name}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise SpecError(f"{place}: found a key that is no text")
        if key.value in branch.items:
            raise SpecError(
                f"{place}: {key.value!r} stands here for the second time, first in {branch.places[key.value]}"
            )
        branch.items[key.value], branch.places[key.value] = _tree(value, name), place
    return branch


def merged(below: Branch, above: Branch) -> Branch:
    """``below`` with everything ``above`` says laid over it: maps key by key, lists and texts whole."""
    result = Branch(dict(below.items), below.where, dict(below.places))
    for key, value in above.items.items():
        old = result.items.get(key)
        both = isinstance(old, Branch) and isinstance(value, Branch)
        result.items[key] = merged(old, value) if both else value  # type: ignore[arg-type]
        result.places[key] = above.places[key]
    return result


def overridden(tree: Branch, override: str) -> Branch:
    """``tree`` with one ``a.b.c=value`` laid over it; its place is the option itself."""
    key, equals, value = override.partition("=")
    place = f"--canary-set {override}"
    if not equals or not key:
        raise SpecError(f"{place}: found no `=`, expected KEY=VALUE such as gates.error_rate.ratio=2")
    try:
        node = yaml.compose(value, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise SpecError(f"{place}: the value is not YAML: {' '.join(str(error).split())}") from error
    leaf: Any = _placed(_tree(node, "") if node else Leaf("", ""), place)
    for part in reversed(key.strip().split(".")):
        leaf = Branch({part: leaf}, place, {part: place})
    return merged(tree, leaf)


def _placed(tree: Tree, place: str) -> Tree:
    if isinstance(tree, Leaf):
        return replace(tree, where=place)
    if isinstance(tree, Row):
        return Row([_placed(item, place) for item in tree.items], place)
    items = {key: _placed(value, place) for key, value in tree.items.items()}
    return Branch(items, place, dict.fromkeys(items, place))


def substituted(tree: Any, environ: Mapping[str, str] | None) -> Any:
    """``tree`` with ``${VAR}`` and ``${VAR:-default}`` replaced; ``$${`` stays ``${``.

    Raises:
        SpecError: one line for each variable that is not set, with its place.

    """
    environ = os.environ if environ is None else environ
    if unset := set(_unset(tree, environ)):
        raise SpecError("\n".join(in_order(unset)))
    return _substituted(tree, environ)


def _substituted(tree: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(tree, Leaf):
        return replace(tree, text=VARIABLE.sub(lambda found: _value(found, environ) or "", tree.text))
    if isinstance(tree, Row):
        return Row([_substituted(item, environ) for item in tree.items], tree.where)
    items = {key: _substituted(value, environ) for key, value in tree.items.items()}
    return Branch(items, tree.where, tree.places)


def in_order(problems: Iterable[str]) -> list[str]:
    """Lines that begin with their place, as they stand in the file."""

    def number(problem: str) -> int:
        told = problem.partition(":")[2].partition(":")[0]
        return int(told) if told.isdigit() else 0

    return sorted(problems, key=number)


def _unset(tree: Any, environ: Mapping[str, str]) -> Iterator[str]:
    if not isinstance(tree, Leaf):
        for item in tree.items if isinstance(tree, Row) else tree.items.values():
            yield from _unset(item, environ)
        return
    for found in VARIABLE.finditer(tree.text):
        if _value(found, environ) is None:
            name = found[2]
            yield (
                f"{tree.where}: the variable {name} is not set; type `export {name}=...`, "
                f"or write ${{{name}:-a default}} there"
            )


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str | None:
    """What stands for one ``${...}``; None where nothing does."""
    escaped, name, default = found.groups()
    return found.group(0)[1:] if escaped else environ.get(name) or default


def plain(tree: Any) -> Any:
    """``tree`` as the free options of an adapter: true, false, null, numbers as in YAML 1.2, and texts."""
    if isinstance(tree, Row):
        return [plain(item) for item in tree.items]
    if isinstance(tree, Branch):
        return {key: plain(value) for key, value in tree.items.items()}
    if tree.quoted:
        return tree.text
    if tree.text in ("", "~", "null"):
        return None
    if tree.text in ("true", "false"):
        return tree.text == "true"
    for kind in (int, float):
        with suppress(ValueError):
            value = kind(tree.text)
            if str(value) == tree.text:  # a tag such as 1.10, 007 or 12e45 is no number
                return value
    return tree.text
