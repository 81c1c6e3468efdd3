"""The short ways to write stages -> the long one, in the tree, so that every stage keeps its line."""

from __future__ import annotations

from typing import Any

from pytest_canary.errors import SpecError
from pytest_canary.spec.tree import Branch, Leaf, Row

LADDERS: dict[str, list[dict[str, str]]] = {
    "standard": [{"weight": w} for w in ("5", "25", "50", "100")],
    "analysis": [
        {"weight": "5", "hold": "10m"},
        {"weight": "25", "hold": "15m"},
        {"weight": "50", "hold": "15m"},
        {"weight": "100"},
    ],
    "llm": [{"weight": w} for w in ("1", "10", "25", "50", "75", "100")],
    "progressive": [
        {"weight": w, "hold": h, "min_requests": n}
        for w, h, n in zip(
            ("2", "5", "10", "25", "50", "100"),
            ("30m", "30m", "1h", "1h", "2h", "0s"),
            ("200", "500", "2000", "5000", "10000", "0"),
            strict=True,
        )
    ],
}
"""Named ladders; weights in per cent."""


def long_form(tree: Any) -> Row:
    """``5 25 50 100``, a ladder's name, or a list of numbers and maps -> a list of maps."""
    if isinstance(tree, Leaf):
        ladder = LADDERS.get(tree.text.strip())
        if ladder:
            return Row([_branch(stage, tree.where) for stage in ladder], tree.where)
        words = tree.text.replace(",", " ").split()
        if not words or not all(word[0].isdigit() for word in words):
            raise SpecError(
                f"{tree.where}: found stages {tree.text!r}, expected per cents such as 5 25 50 100, "
                f"or one of {', '.join(LADDERS)}"
            )
        return Row([_branch({"weight": word}, tree.where) for word in words], tree.where)
    if isinstance(tree, Branch):
        raise SpecError(f"{tree.where}: found a map, expected a list of stages such as [5, 25, 50, 100]")
    return Row([item if isinstance(item, Branch) else _one(item) for item in tree.items], tree.where)


def _one(item: Any) -> Branch:
    if isinstance(item, Row):
        raise SpecError(f"{item.where}: found a list inside stages, expected a per cent or a map")
    return _branch({"weight": item.text}, item.where)


def _branch(stage: dict[str, str], where: str) -> Branch:
    return Branch({k: Leaf(v, where) for k, v in stage.items()}, where, dict.fromkeys(stage, where))
