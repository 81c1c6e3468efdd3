"""What is required of gates: ``false_rollback<=1%``, ``caught(error_rate x2)>=90%``, ``minutes<=40``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pytest_canary.errors import UsageError
from pytest_canary.power.cells import Cell
from pytest_canary.power.summary import Line

EXAMPLES = "'false_rollback<=1%', 'caught(error_rate x2)>=90%', 'exposed(error_rate x2)<=600' or 'minutes<=40'"
_WORDS = re.compile(
    r"(?P<what>[a-z_][a-z_0-9]*)\s*(?:\(\s*(?P<gate>[\w.]+)\s*[x×*]\s*(?P<size>\d+(?:\.\d+)?)\s*\))?\s*"
    r"(?P<sign><=|>=|<|>)\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>%|m|min)?"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One number that must be within a bound."""

    text: str
    what: str
    cell: Cell
    sign: str
    value: float

    def judged(self, lines: Mapping[Cell, Line]) -> Judged:
        """Whether it holds; a share counts as it was found, and its interval stands beside it."""
        line = lines[self.cell]
        found, shown = WHAT[self.what](line)
        if found is None:
            return Judged(self, False, f"{self.text}: none of {line.started} rollouts was {_done(self.cell)}")
        holds = _SIGNS[self.sign](found, self.value)
        return Judged(self, holds, f"{self.text}: {shown}")


@dataclass(frozen=True, slots=True)
class Judged:
    """A requirement, and what was found."""

    requirement: Requirement
    holds: bool
    says: str


_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda found, bound: found <= bound + 1e-12,
    ">=": lambda found, bound: found >= bound - 1e-12,
    "<": lambda found, bound: found < bound,
    ">": lambda found, bound: found > bound,
}


def _done(cell: Cell) -> str:
    return "stopped" if cell.gate else "promoted"


def _share(line: Line) -> tuple[float, str]:
    return line.stopped, f"{100 * line.stopped:.1f} % ({100 * line.low:.1f} to {100 * line.high:.1f})"


def _minutes(line: Line) -> tuple[float | None, str]:
    return line.minutes_median, "" if line.minutes_median is None else f"{line.minutes_median:.1f} minutes"


WHAT: Mapping[str, Callable[[Line], tuple[float | None, str]]] = {
    "false_rollback": _share,
    "caught": _share,
    "exposed": lambda line: (line.exposed_median, f"{line.exposed_median:,.0f} users"),
    "exposed_p90": lambda line: (line.exposed_p90, f"{line.exposed_p90:,.0f} users"),
    "minutes": _minutes,
}
_SHARES = ("false_rollback", "caught")
UNITS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_SHARES, ("", "%")), "exposed": ("",), "exposed_p90": ("",), "minutes": ("", "m", "min"),
}  # fmt: skip


def parse(texts: Sequence[str], gates: Sequence[str]) -> tuple[Requirement, ...]:
    """Read what was typed.

    Raises:
        UsageError: it is no requirement, or names no gate.

    """
    return tuple(_one(text, gates) for text in texts)


def _one(text: str, gates: Sequence[str]) -> Requirement:
    found = _WORDS.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--require {text!r}: expected {EXAMPLES}")
    what, gate = found["what"], found["gate"] or ""
    if what not in WHAT:
        raise UsageError(f"--require {text!r}: found {what!r}{_nearest(what, list(WHAT))}")
    if gate and gate not in gates:
        raise UsageError(f"--require {text!r}: no gate is called {gate!r}{_nearest(gate, gates)}")
    if what == "caught" and not gate:
        raise UsageError(f"--require {text!r}: caught of what? write caught({gates[0]} x2)>=90%")
    if what == "false_rollback" and gate:
        raise UsageError(f"--require {text!r}: a good build is no worse in anything; write false_rollback<=1%")
    size, unit = float(found["size"] or 2.0), found["unit"] or ""
    if size <= 1:
        raise UsageError(
            f"--require {text!r}: found a build that is x{size:g}, expected more than x1, which is no worse"
        )
    if unit not in UNITS[what]:
        known = " or ".join(f"`{one}`" for one in UNITS[what] if one) or "no unit"
        raise UsageError(f"--require {text!r}: found the unit `{unit}`, expected {known}")
    value = float(found["value"])
    value = value / 100 if unit == "%" else value
    if what in _SHARES and value > 1:
        raise UsageError(f"--require {text!r}: found a share of {value:g}, expected 0 to 1, or per cent such as 1%")
    return Requirement(text.strip(), what, Cell(gate, size) if gate else Cell(), found["sign"], value)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1, 0.5)
    return f", did you mean {near[0]}?" if near else f", expected one of {', '.join(known)}"
