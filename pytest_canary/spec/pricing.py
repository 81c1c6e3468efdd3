"""``cost: {prices: prices.yaml}`` -> Prices, with the line of every mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from pytest_canary.errors import SpecError
from pytest_canary.identity import Stated
from pytest_canary.ports import Role
from pytest_canary.prices import Price, Prices
from pytest_canary.spec import tree as trees
from pytest_canary.spec import units
from pytest_canary.spec.reading import Spec
from pytest_canary.spec.tree import Branch, Leaf, Row

KEYS = ("input", "cached_input", "output", "gpu_second")


def prices_of(spec: Spec) -> Prices | None:
    """The prices that the file gives; None where it gives none.

    Raises:
        SpecError: they cannot be read, or none of them is that of a model which is said to be served.

    """
    cost = spec.tree.items.get("cost")
    if not isinstance(cost, Branch):
        return None
    where = spec.where("cost.prices")
    given = cost.items.get("prices")
    table = trees.read(spec.folder / given.text) if isinstance(given, Leaf) else given
    if not isinstance(table, Branch) or not table.items:
        raise SpecError(
            f"{where}: cost.prices: found nothing, expected models with {', '.join(KEYS)}, or a file of them"
        )
    models = {name: _price(name, entry, table.places[name]) for name, entry in table.items.items()}
    if not any(any(astuple(price)) for price in models.values()):
        raise SpecError(f"{where}: cost.prices: every price is 0, so nothing could cost more")
    return Prices(models, _serves(spec, models, cost), where)


def _price(model: str, entry: Any, where: str) -> Price:
    if not isinstance(entry, Branch) or not entry.items:
        raise SpecError(f"{where}: the price of {model} is no map, expected {', '.join(KEYS)} per million tokens")
    unknown = next((key for key in entry.items if key not in KEYS), None)
    if unknown:
        raise SpecError(f"{entry.places[unknown]}: {model}: found price {unknown!r}, expected {', '.join(KEYS)}")
    if "cached_input" in entry.items and "input" not in entry.items:
        raise SpecError(f"{entry.places['cached_input']}: {model}: cached_input is a part of the input; add `input`")
    return Price(**{key: _amount(model, key, leaf) for key, leaf in entry.items.items()})


def _amount(model: str, key: str, leaf: Any) -> float:
    try:
        return units.quantity(leaf.text if isinstance(leaf, Leaf) else "")
    except ValueError as error:
        raise SpecError(f"{leaf.where}: {model}.{key}: expected {error}") from None


def _serves(spec: Spec, models: Mapping[str, Price], cost: Branch) -> dict[Role, str]:
    """Which model each role serves: as ``cost`` says it, else as ``model`` states it, else the only one there is."""
    said, top = cost.items.get("model"), spec.document.model
    if isinstance(said, Row) or (isinstance(said, Branch) and said.items.keys() - {"baseline", "canary"}):
        raise SpecError(f"{said.where}: cost.model: expected the name of a model, or {{baseline: ..., canary: ...}}")
    if isinstance(said, Leaf):
        both = (said.text, said.text)
    else:
        stated = said.items if isinstance(said, Branch) else {}
        own = [stated[role].text if role in stated else None for role in ("baseline", "canary")]
        both = (own[0] or _priced(top.baseline, models), own[1] or _priced(top.canary, models))  # type: ignore[assignment]
    only = next(iter(models)) if len(models) == 1 else None
    if said is None and only and top.baseline and top.canary and top.baseline != top.canary:
        raise SpecError(
            f"{spec.where('cost.prices')}: cost.prices: there is a price for {only} alone, and `model` says that the "
            "sides serve two models; add the other's price under the name that stands there, or write "
            f"`cost: {{model: {only}}}` if they cost the same"
        )
    baseline, canary = both[0] or only, both[1] or only
    roles = {Role.BASELINE: baseline, Role.CONTROL: baseline, Role.CANARY: canary}
    serves = {role: model for role, model in roles.items() if model is not None}
    missing = next((model for model in serves.values() if model not in models), None)
    if missing is not None:
        raise SpecError(
            f"{spec.where('cost.model')}: no price for the model {missing!r} in `cost.prices`; there are prices for "
            f"{', '.join(sorted(models))}"
        )
    return serves


def _priced(stated: Stated | None, models: Mapping[str, Price]) -> str | None:
    return stated.text if stated is not None and stated.text in models else None
