"""Label matchers as predicates: what stands between PromQL's braces, held against the labels of one series."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from pytest_canary.adapters.profiles import Matchers
from pytest_canary.adapters.profiles.matchers import OPERATORS

Holds: TypeAlias = Callable[[Mapping[str, str]], bool]


class Conditions:
    """All of them have to hold; a label that is not there is empty, and patterns are anchored, as in PromQL."""

    def __init__(self, matchers: Matchers) -> None:
        """Raises ValueError for a pattern that is none."""
        self._all = [
            _condition(label, value)
            for label, values in matchers.items()
            for value in ((values,) if isinstance(values, str) else values)
        ]

    def and_(self, other: Conditions) -> Conditions:
        """Those of both."""
        both = Conditions({})
        both._all = [*self._all, *other._all]
        return both

    def hold(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` fit."""
        return all(one(labels) for one in self._all)

    def fitting(self, series: Iterable[tuple[Mapping[str, str], float]]) -> list[tuple[Mapping[str, str], float]]:
        """The series whose labels fit."""
        return [one for one in series if self.hold(one[0])] if self._all else [*series]


def _condition(label: str, value: str) -> Holds:
    operator = next((one for one in OPERATORS if value.startswith(one)), "")
    wanted = value.removeprefix(operator)
    if operator in ("", "="):
        return lambda labels: labels.get(label, "") == wanted
    if operator == "!=":
        return lambda labels: labels.get(label, "") != wanted
    try:
        pattern = re.compile(wanted, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{label}: {wanted!r} is no regular expression: {error}") from error
    if operator == "=~":
        return lambda labels: pattern.fullmatch(labels.get(label, "")) is not None
    return lambda labels: pattern.fullmatch(labels.get(label, "")) is None
