"""A rollout.yaml without the world it speaks of: a simulation needs no cluster, and none of its variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_canary.spec import tree as trees
from pytest_canary.spec.tree import VARIABLE, Branch, Leaf, Row

STAND_IN: Mapping[str, str] = {
    "platform": "memory", "router": "memory", "metrics": "simulated", "probe": "memory", "clock": "virtual",
}  # fmt: skip
"""The adapter that is there instead; users are a part of the metrics, so no load."""
REBUILDING = ("kubernetes",)
"""Platforms on which promotion starts the build anew."""
OF_BUILDS = ("canary", "build", "model", "policy")
"""Keys of what builds are made of: an unset variable there is only a name in a simulation."""


@dataclass(frozen=True, slots=True)
class Before:
    """What a simulation wants to know of what was left out."""

    load: Mapping[str, Any] | None
    rebuilds: bool


def leave_out(flat: Branch, adapters: Iterable[str]) -> Before:
    """Put stand-ins in the place of the ``adapters`` in ``flat``, and names in that of variables that build things."""
    load, platform = flat.items.get("load"), flat.items.get("platform")
    told = trees.plain(load) if isinstance(load, Branch) else None
    if isinstance(told, dict) and len(told) == 1 and isinstance(next(iter(told.values())), dict):
        told = next(iter(told.values()))
    names = platform.items if isinstance(platform, Branch) else {getattr(platform, "text", ""): None}
    for kind in adapters:
        where = flat.places.get(kind, flat.where)
        left = flat.items.pop(kind, None)
        kept = _asked_of_probes(left) if kind == "probe" else {}
        if kind in STAND_IN:
            items = {**kept, STAND_IN[kind]: Branch({}, where)}
            flat.items[kind] = Branch(items, where, dict.fromkeys(items, where))
            flat.places[kind] = where
    for key in OF_BUILDS:
        if key in flat.items:
            flat.items[key] = _named(flat.items[key])
    return Before(told, any(name in REBUILDING for name in names))


def _asked_of_probes(probe: Any) -> dict[str, Any]:
    """How often builds are asked, and what; not by whom."""
    if not isinstance(probe, Branch):
        return {}
    return {key: value for key, value in probe.items.items() if key in ("rate", "concurrency", "prompts")}


def _named(tree: Any) -> Any:
    """``tree`` with the name of a variable where it has no default and may not be set."""
    if isinstance(tree, Leaf):
        return replace(tree, text=VARIABLE.sub(_name, tree.text))
    if isinstance(tree, Row):
        return Row([_named(item) for item in tree.items], tree.where)
    return Branch({key: _named(value) for key, value in tree.items.items()}, tree.where, tree.places)


def _name(found: Any) -> str:
    escaped, name, default = found.groups()
    return str(found.group(0) if escaped or default is not None else f"${{{name}:-{name}}}")
