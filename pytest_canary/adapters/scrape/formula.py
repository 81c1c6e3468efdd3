"""A profile's ``query``, worked out on one page: the little of PromQL that needs no past.

``sum``, ``avg``, ``min``, ``max`` and ``count by ($by)``, ``clamp_min``, ``clamp_max``, ``+ - * /``, ``or``, numbers
and selectors.  What PromQL says of labels holds: two vectors meet where all labels but the name are the same.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import TypeAlias

from pytest_canary.adapters.scrape.conditions import Conditions
from pytest_canary.adapters.scrape.exposition import Exposition

TOKEN = re.compile(r'\s*(?:(\d+(?:\.\d*)?(?:e[+-]?\d+)?)|([a-zA-Z_:][\w:]*)|(\$\w+)|("(?:[^"\\]|\\.)*")|(=~|!~|!=|\S))')
TOGETHER: Mapping[str, Callable[[Iterable[float]], float]] = {
    "sum": math.fsum,
    "avg": fmean,
    "min": min,
    "max": max,
    "count": lambda values: float(len([*values])),
}
CLAMPS: Mapping[str, Callable[[float, float], float]] = {"clamp_min": max, "clamp_max": min}
READ = f"{', '.join(TOGETHER)} by ($by), {', '.join(CLAMPS)}, + - * /, or, numbers and NAME{{$match, ...}}"

Labels: TypeAlias = frozenset[tuple[str, str]]
Vector: TypeAlias = Mapping[Labels, float]
Value: TypeAlias = float | Vector
Formula: TypeAlias = Callable[[Exposition, Conditions], Value]
"""Page, and what stands for ``$match`` -> a number, or numbers by labels."""


def compiled(query: str) -> tuple[Formula, frozenset[str]]:
    """What works ``query`` out, and the names of the series that it reads.

    Raises:
        ValueError: it has more in it than can be worked out here; expected what :data:`READ` says.

    """
    reader = _Reader(query)
    formula = reader.sum_of_all()
    reader.must_be("")
    formula(Exposition({}), Conditions({}))
    return formula, frozenset(reader.names)


def value_of(formula: Formula, page: Exposition, match: Conditions) -> float | None:
    """One number for the page; None where there is no series."""
    value = formula(page, match)
    if isinstance(value, float):
        return value
    return math.fsum(value.values()) if value else None


class _Reader:
    """Goes through the tokens of a query once, from left to right."""

    def __init__(self, query: str) -> None:
        self._tokens = [found[0].strip() for found in TOKEN.finditer(query)]
        self.names: set[str] = set()

    def sum_of_all(self) -> Formula:
        left = self._terms()
        while self._next() == "or":
            self._take()
            left = _either(left, self._terms())
        return left

    def _terms(self) -> Formula:
        left = self._factors()
        while self._next() in ("+", "-"):
            left = _both({"+": operator.add, "-": operator.sub}[self._take()], left, self._factors())
        return left

    def _factors(self) -> Formula:
        left = self._atom()
        while self._next() in ("*", "/"):
            left = _both({"*": operator.mul, "/": _divided}[self._take()], left, self._atom())
        return left

    def _atom(self) -> Formula:
        token = self._take()
        if token == "(":
            inner = self.sum_of_all()
            self.must_be(")")
            return inner
        if token == "-":
            return _both(operator.mul, _number(-1.0), self._atom())
        if token[:1].isdigit():
            return _number(float(token))
        if token in TOGETHER and self._next() == "by":
            return self._aggregate(TOGETHER[token])
        if token in CLAMPS:
            return self._clamp(CLAMPS[token])
        if re.match(r"[a-zA-Z_:]", token) and self._next() == "{":
            return self._selector(token)
        raise ValueError(f"found {token or 'its end'!r}, expected {READ}")

    def _aggregate(self, together: Callable[[Iterable[float]], float]) -> Formula:
        for token in ("by", "(", "$by", ")", "("):
            self.must_be(token)
        inner = self.sum_of_all()
        self.must_be(")")

        def aggregate(page: Exposition, match: Conditions) -> Value:
            found = inner(page, match)
            values = [found] if isinstance(found, float) else [*found.values()]
            return {frozenset(): float(together(values))} if values else {}

        return aggregate

    def _clamp(self, clamp: Callable[[float, float], float]) -> Formula:
        self.must_be("(")
        inner = self.sum_of_all()
        self.must_be(",")
        edge = self.sum_of_all()
        self.must_be(")")
        return _both(clamp, inner, edge)

    def _selector(self, name: str) -> Formula:
        self.names.add(name)
        self.must_be("{")
        own: dict[str, tuple[str, ...]] = {}
        matched = False
        while (token := self._take()) != "}":
            if token == "$match":
                matched = True
            elif token != ",":
                sign, text = self._take(), self._take()
                if sign not in ("=", "!=", "=~", "!~") or text[:1] != '"':
                    raise ValueError(f"found {token + sign + text!r}, expected {READ}")
                own[token] = (*own.get(token, ()), sign + re.sub(r"\\(.)", r"\1", text[1:-1]))
        conditions = Conditions(dict[str, str | tuple[str, ...]](own))

        def select(page: Exposition, match: Conditions) -> Value:
            both = match.and_(conditions) if matched else conditions
            return {frozenset(labels.items()): value for labels, value in both.fitting(page.of([name]))}

        return select

    def must_be(self, token: str) -> None:
        """Go past ``token``; "" is the end."""
        if (found := self._take()) != token:
            raise ValueError(f"found {found or 'its end'!r}, expected {token or READ}")

    def _next(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _take(self) -> str:
        return self._tokens.pop(0) if self._tokens else ""


def _number(value: float) -> Formula:
    return lambda page, match: value  # noqa: ARG005


def _both(act: Callable[[float, float], float], left: Formula, right: Formula) -> Formula:
    def work_out(page: Exposition, match: Conditions) -> Value:
        one, other = left(page, match), right(page, match)
        if isinstance(one, float):
            return act(one, other) if isinstance(other, float) else {k: act(one, v) for k, v in other.items()}
        if isinstance(other, float):
            return {k: act(v, other) for k, v in one.items()}
        return {k: act(v, other[k]) for k, v in one.items() if k in other}

    return work_out


def _either(left: Formula, right: Formula) -> Formula:
    def choose(page: Exposition, match: Conditions) -> Value:
        one, other = left(page, match), right(page, match)
        if isinstance(one, float) or isinstance(other, float):
            raise ValueError("`or` between numbers")
        return {**other, **one}

    return choose


def _divided(one: float, other: float) -> float:
    if other:
        return one / other
    return math.nan if not one or math.isnan(one) else math.copysign(math.inf, one)
