"""What the rules are to reach, and whether they do, from the rows of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.measure import Measured


@dataclass(frozen=True)
class Row:
    """One rule in one cell; ``rollback`` 0..1, ``exposed`` canary requests, ``minutes`` until the rollback."""

    rule: str
    metric: str
    world: str
    rate: float
    base: float
    regression: float
    rollouts: int
    rollback: float
    exposed_mean: float
    exposed_p90: float
    minutes: float


def told(rule: str, cell: Any, found: Measured) -> Row:
    """The row of one rule in one cell."""
    minutes = round(found.minutes, 2) if found.minutes == found.minutes else -1.0  # JSON has no NaN
    return Row(
        rule, cell.metric, cell.world, cell.rate, cell.base, cell.regression, found.rollouts,
        round(found.rollback, 5), round(found.exposed_mean, 1), round(found.exposed_p90, 1), minutes,
    )  # fmt: skip


Number = Callable[[Sequence[Row]], float]


@dataclass(frozen=True)
class Goal:
    """A number that is to stay at or below ``most``; ``peer`` is the same number of the best peer."""

    words: str
    most: float
    ours: Number
    peer: Number | None = None
    percent: bool = False

    def line(self, rows: Sequence[Row]) -> str:
        """``reached  A/A ...: 0.21 % (goal 0.3 %; best peer 0.2 %, Kayenta)``."""
        mine = self.ours(rows)
        reached = "reached" if mine <= self.most + 1e-9 else "MISSED "
        best = f"; best peer {self._say(self.peer(rows))}" if self.peer else ""
        return f"  {reached}  {self.words}: {self._say(mine)} (goal {self._say(self.most)}{best})"

    def _say(self, value: float) -> str:
        return f"{100 * value:.2f} %" if self.percent else f"{value:,.1f}" if value < 20 else f"{value:,.0f}"


def _is_ours(row: Row) -> bool:
    return row.rule.startswith(("ours", "older"))


def _rows(rows: Sequence[Row], rule: str | None, **where: object) -> list[Row]:
    """Rows of ``rule`` (of all peers for None) whose fields are as asked."""
    fits = [row for row in rows if all(getattr(row, name) == value for name, value in where.items())]
    return [row for row in fits if (row.rule == rule if rule else not _is_ours(row))]


def _mean(rule: str, **where: object) -> Number:
    def number(rows: Sequence[Row]) -> float:
        found = _rows(rows, rule, **where)
        return sum(row.rollback for row in found) / len(found)

    return number


def _worst(rule: str, worlds: Sequence[str], **where: object) -> Number:
    return lambda rows: max(row.rollback for row in _rows(rows, rule, **where) if row.world in worlds)


def _exposed(rule: str, **where: object) -> Number:
    return lambda rows: _rows(rows, rule, **where)[0].exposed_mean


def _careful(rows: Sequence[Row], metric: str) -> list[str]:
    """Peers that can be left on: they roll back at most one good build in ten, at 100/s and 1 %."""
    base = {"base": 0.01} if metric == "error rate" else {}
    alike = _rows(rows, None, metric=metric, rate=100, regression=1, **base)
    good = [row for row in alike if row.world in ("iid", "lognormal", "cv 1") and row.rollback <= 0.1]
    return [row.rule for row in good]


def _best_exposed(metric: str, **where: object) -> Number:
    """Of the peers that roll back at most one good build in ten; the others expose nobody, and ship nothing."""

    def number(rows: Sequence[Row]) -> float:
        careful = _careful(rows, metric)
        found = [row for row in _rows(rows, None, metric=metric, **where) if row.rule in careful]
        return min((row.exposed_mean for row in found if row.rollback > 0.9), default=float("nan"))

    return number


_ERRORS = {"metric": "error rate", "world": "iid"}
_AT = {**_ERRORS, "rate": 100, "base": 0.01}
_SLOW = {**_AT, "world": "iid, 10 min"}
_CLUMPED = ("clump3", "clump10", "burst20", "burst5")
_WORLDS = {"metric": "error rate", "rate": 100, "base": 0.01, "regression": 1}
_LATENCY = {"metric": "p99", "world": "lognormal", "rate": 100}

GOALS = (
    Goal("same build rolled back, mean of 12 cells", 0.003, _mean("ours", **_ERRORS, regression=1), percent=True),
    Goal("same build rolled back, worst cell", 0.006, _worst("ours", ("iid",), **_ERRORS, regression=1), percent=True),
    Goal("same build under bursts and clumps, with replicas, worst world", 0.05,
         _worst("ours, with replicas", _CLUMPED, **_WORLDS), percent=True),
    Goal("same build under bursts and clumps, only totals, worst world", 0.12,
         _worst("ours", _CLUMPED, **_WORLDS), percent=True),
    Goal("users exposed to 3x errors", 550, _exposed("ours", **_AT, regression=3),
         _best_exposed("error rate", world="iid", rate=100, base=0.01, regression=3)),
    Goal("users exposed to 3x errors, with replicas", 800, _exposed("ours, with replicas", **_AT, regression=3)),
    Goal("users exposed to 2x errors, stages of ten minutes", 1900, _exposed("ours", **_SLOW, regression=2),
         _best_exposed("error rate", world="iid, 10 min", rate=100, base=0.01, regression=2)),
    Goal("the same, stages of five minutes", 1900, _exposed("ours", **_AT, regression=2),
         _best_exposed("error rate", world="iid", rate=100, base=0.01, regression=2)),
    Goal("users exposed to 95 % failures", 30, _exposed("ours", **_AT, regression=95),
         _best_exposed("error rate", world="iid", rate=100, base=0.01, regression=95)),
    Goal("users exposed to p99 x1.5", 290, _exposed("ours", **_LATENCY, regression=1.5),
         _best_exposed("p99", world="lognormal", rate=100, regression=1.5)),
    Goal("users exposed to p99 x2", 90, _exposed("ours", **_LATENCY, regression=2),
         _best_exposed("p99", world="lognormal", rate=100, regression=2)),
    Goal("harmless 1.2x build rolled back, mean of 12 cells", 0.03, _mean("ours", **_ERRORS, regression=1.2),
         percent=True),
    Goal("minutes of a good build to 100 %, 100/s, 1 %", 8,
         lambda rows: next(row.minutes for row in rows if row.metric == "minutes to 100 %")),
)  # fmt: skip
"""The goals of the project; the best peer is one of those that roll back at most one good build in ten."""
