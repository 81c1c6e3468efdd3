"""``calibration: off``, or the name of a file, written out."""

from __future__ import annotations

from pytest_canary.spec.tree import Branch, Leaf
from pytest_canary.spec.units import FALSE, TRUE


def expand(flat: Branch) -> None:
    """Write ``calibration: off`` and ``calibration: measured/gateway.json`` out."""
    value = flat.items.get("calibration")
    if isinstance(value, Leaf):
        key = "on" if value.text.lower() in (*TRUE, *FALSE) else "file"
        flat.items["calibration"] = Branch({key: value}, value.where, {key: value.where})
