"""The noise of the stable build in the window before the ramp: which gates lie inside it, and what it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_canary.gates.noise import inside_noise, measured
from pytest_canary.gates.reading import Reading
from pytest_canary.gates.values import Gate
from pytest_canary.verdict.frame import Frame
from pytest_canary.verdict.readings import side_of, side_or_nothing

NOTHING = 1.005
"""A ratio that is 1 in three digits."""


def noisy(gate: Gate, captured: Reading, polls: Sequence[Reading]) -> str | None:
    """What is wrong with a gate inside the noise; None where nothing is, or the window has no polls to look at."""
    return inside_noise(gate, captured, polls) if polls else None


def told(gates: Iterable[Gate], captured: Frame, polls: Sequence[Frame]) -> list[str]:
    """One line with the noise that was measured, gate by gate; none where none was."""
    found, quiet, what = list[str](), list[str](), ""
    for gate in gates:
        if gate.noise != "measure":
            continue
        readings = [side.row(0) for poll in polls if (side := side_of(gate, poll)) is not None]
        relative = gate.limits.ratio or gate.limits.delta
        floor = measured(gate, side_or_nothing(gate, captured).row(0), readings)
        if floor is not None and relative:
            if floor.ratio > NOTHING:
                found.append(f"{gate.name} up to {floor.ratio:.3g}x")
            else:
                quiet.append(gate.name)
            what = floor.what
    said = [", ".join(found)] if found else []
    said += [f"{', '.join(quiet)} nothing beyond chance"] if quiet else []
    return [f"noise of the stable build ({what}): {'; '.join(said)}"] if said else []
