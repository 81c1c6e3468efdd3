"""Label matchers: a mapping of labels to values -> the text between PromQL's braces.

A value is the label's value, or begins with its operator as in PromQL: ``=~5..``, ``!~``, ``!=``, ``=``.  A list
names several conditions on one label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import Field

OPERATORS = ("=~", "!~", "!=", "=")
PLACEHOLDER = re.compile(r"\{(\w+)\}")

Label: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Matchers: TypeAlias = dict[Label, str | tuple[str, ...]]


def text(*groups: Mapping[str, str | tuple[str, ...]]) -> str:
    """All conditions of all groups, joined by commas."""
    return ",".join(
        _condition(label, value)
        for group in groups
        for label, values in group.items()
        for value in ((values,) if isinstance(values, str) else values)
    )


def filled(matchers: Mapping[str, str | tuple[str, ...]], labels: Mapping[str, str]) -> Matchers:
    """``matchers`` with each ``{name}`` replaced from ``labels``; raises KeyError for one that is not there."""

    def fill(template: str) -> str:
        return PLACEHOLDER.sub(lambda found: labels[found[1]], template)

    return {
        label: fill(value) if isinstance(value, str) else tuple(fill(one) for one in value)
        for label, value in matchers.items()
    }


def _condition(label: str, value: str) -> str:
    operator = next((one for one in OPERATORS if value.startswith(one)), "")
    escaped = value.removeprefix(operator).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{label}{operator or "="}"{escaped}"'
