"""Numbers that a person asks of the rollouts of a cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from pytest_canary.plan import Plan
from pytest_canary.power.cells import Cell
from pytest_canary.power.ended import Ended, How

NINE_IN_TEN = 0.9
_Z = 1.96
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Line:
    """One cell."""

    gate: str
    """Empty for a good build."""
    size: float
    rollouts: int
    started: int
    """How many users met at all: the others were refused before the ramp."""
    stopped: float
    """Share of those that started and were rolled back, 0..1."""
    low: float
    high: float
    """Its 95 % interval."""
    by_gate: float
    """Share of those that started and were stopped by the gate itself, the first to speak."""
    stage: str
    """At which most of those were stopped; empty where none was."""
    exposed_median: float
    exposed_p90: float
    """Requests of users that the canary had answered at the end; of every rollout that started."""
    minutes_median: float | None
    """From the first share to the stop, of those that were stopped; of a good build to the promotion."""
    minutes_p90: float | None
    blamed: tuple[tuple[str, float], ...] = ()
    """Who stopped it, and what share of those that started each did."""
    refused: tuple[tuple[str, int], ...] = ()
    """Why rollouts did not start, and how many."""

    def __str__(self) -> str:
        return f"{self.gate} x{self.size:g}" if self.gate else "good build"


def line_of(cell: Cell, ended: Ended, plan: Plan) -> Line:
    """The numbers of ``cell``."""
    began = ended.how != How.NOT_STARTED
    number, stopped = int(began.sum()), ended.stopped & began
    share = float(stopped.sum()) / number if number else 0.0
    low, high = wilson(int(stopped.sum()), number)
    names = [gate.name for gate in plan.gates]
    own = stopped & (ended.gate == names.index(cell.gate)) if cell.gate else stopped
    relevant = stopped if cell.gate else began & (ended.how == How.PROMOTED)
    minutes = ended.seconds[relevant] / 60
    stages = Counter(ended.stage[stopped].tolist())
    return Line(
        cell.gate, cell.size, ended.size, number, share, low, high, float(own.sum()) / number if number else 0.0,
        str(plan.stages[stages.most_common(1)[0][0]]) if stages else "",
        _quantile(ended.exposed[began], 0.5) or 0.0, _quantile(ended.exposed[began], 0.9) or 0.0,
        _quantile(minutes, 0.5), _quantile(minutes, 0.9), _blamed(ended, stopped, names, number),
        _refused(ended.why),
    )  # fmt: skip


def _refused(whys: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Whys that differ in their numbers only are one; the largest stand in it, with which the others would do, too."""
    alike: dict[str, list[str]] = {}
    for text in filter(None, whys):
        alike.setdefault(_NUMBER.sub("#", text), []).append(text)
    many = sorted(alike.values(), key=len, reverse=True)
    return tuple((_short(max(texts, key=_numbers)), len(texts)) for texts in many)


def _numbers(text: str) -> list[float]:
    return [float(one) for one in _NUMBER.findall(text)]


def _short(text: str) -> str:
    return text if len(text) < 400 else f"{text[:400]}..."


def _blamed(
    ended: Ended, stopped: np.ndarray[tuple[int], np.dtype[np.bool_]], names: Sequence[str], number: int
) -> tuple[tuple[str, float], ...]:
    found = Counter(
        _who(int(how), int(gate), names) for how, gate in zip(ended.how[stopped], ended.gate[stopped], strict=True)
    )
    return tuple((who, many / number) for who, many in found.most_common())


def _who(how: int, gate: int, names: Sequence[str]) -> str:
    if how == How.SPLIT:
        return "the split"
    named = names[gate] if gate >= 0 else "too few requests"
    return f"{named} at the deadline" if how == How.DEADLINE else named


def _quantile(values: np.ndarray[tuple[int], np.dtype[np.float64]], q: float) -> float | None:
    return float(np.quantile(values, q)) if values.size else None


def wilson(hits: int, number: int, z: float = _Z) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); right for none and for all, too."""
    if not number:
        return 0.0, 1.0
    share, square = hits / number, z * z / number
    centre, half = share + square / 2, z * sqrt(share * (1 - share) / number + square / number / 4)
    return max((centre - half) / (1 + square), 0.0), min((centre + half) / (1 + square), 1.0)


def smallest_caught(lines: Sequence[Line], share: float = NINE_IN_TEN) -> Line | None:
    """The smallest regression from which on every one that was played is stopped as often as ``share``."""
    found: Line | None = None
    for line in sorted(lines, key=lambda line: -line.size):
        if line.stopped < share:
            break
        found = line
    return found


def by_gate(lines: Sequence[Line]) -> Mapping[str, list[Line]]:
    """The lines of each gate, in the order in which they were played."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line.gate:
            found.setdefault(line.gate, []).append(line)
    return found
