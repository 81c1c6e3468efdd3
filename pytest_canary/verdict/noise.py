"""The noise of the stable build in the window before the ramp: which gates lie inside it, and what it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_canary.gates.noise import inside_noise, measured
from pytest_canary.gates.values import Gate
from pytest_canary.ports import Sample
from pytest_canary.verdict.readings import reading_of, reading_or_nothing

NOTHING = 1.005
"""A ratio that is 1 in three digits."""


def noisy(gate: Gate, captured: Sample, polls: Sequence[Sample]) -> str | None:
    """What is wrong with a gate inside the noise; None where nothing is, or the window has no polls to look at."""
    readings = [reading for poll in polls if (reading := reading_of(gate, poll)) is not None]
    return inside_noise(gate, reading_or_nothing(gate, captured), readings) if readings else None


def told(gates: Iterable[Gate], captured: Sample, polls: Sequence[Sample]) -> list[str]:
    """One line with the noise that was measured, gate by gate; none where none was."""
    found, quiet, what = list[str](), list[str](), ""
    for gate in gates:
        readings = [reading for poll in polls if (reading := reading_of(gate, poll)) is not None]
        relative = gate.limits.ratio or gate.limits.delta
        floor = measured(gate, reading_or_nothing(gate, captured), readings) if gate.noise == "measure" else None
        if floor is not None and relative:
            if floor.ratio > NOTHING:
                found.append(f"{gate.name} up to {floor.ratio:.3g}x")
            else:
                quiet.append(gate.name)
            what = floor.what
    said = [", ".join(found)] if found else []
    said += [f"{', '.join(quiet)} nothing beyond chance"] if quiet else []
    return [f"noise of the stable build ({what}): {'; '.join(said)}"] if said else []
