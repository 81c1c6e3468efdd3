"""Whether the gates that probes feed and ``probe: {rate: 2}`` fit together."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from pytest_canary.errors import SpecError
from pytest_canary.gates import Gate
from pytest_canary.ports import PROBED
from pytest_canary.spec.reading import Spec

EXAMPLE = "`probe: {rate: 2, prompts: prompts.jsonl}`"


def refuse_what_probes_cannot_tell(spec: Spec, gates: Sequence[Gate]) -> None:
    """See that whatever is asked of probes they will have counted.

    Raises:
        SpecError: a gate is about probes and none are sent, or so few that it could not be judged, or unpriced.

    """
    probe, asked = spec.document.probe, [gate for gate in gates if gate.metric.probed]
    if probe.rate is None:
        for key in sorted(probe.model_fields_set & {"concurrency", "prompts"}):
            raise SpecError(
                f"{spec.where(f'probe.{key}')}: probe.{key} is for probes, and none are sent; write {EXAMPLE}"
            )
        for gate in asked:
            raise SpecError(f"{gate.where}: {gate.name} is counted by probes, and none are sent; write {EXAMPLE}")
        return
    for gate in asked:
        if gate.metric.histogram == f"{PROBED}cost" and spec.document.cost is None:
            raise SpecError(f"{gate.where}: {gate.name}: tokens have no price; write `cost: {{prices: prices.yaml}}`")
    if asked:
        _refuse_too_few(spec, probe.rate, max(gate.least for gate in asked))


def _refuse_too_few(spec: Spec, rate: float, least: int) -> None:
    """The window before the ramp must show what is normal, and every stage must have time for as many."""
    top = spec.document
    windows = [("baseline.window", top.baseline.window), ("deadline", top.deadline)]
    windows += [("deadline", stage.deadline) for stage in top.stages if "deadline" in stage.model_fields_set]
    for name, seconds in windows:
        if seconds is not None and rate * seconds < least:
            raise SpecError(
                f"{spec.where('probe.rate')}: probe.rate: {rate:g} per second are {rate * seconds:.0f} probes in a "
                f"`{name}` of {seconds:g} s, and a gate needs {least}; write `rate: {_enough(least, seconds)}`"
            )


def _enough(least: int, seconds: float) -> str:
    """The rate that just does, a little rounded up."""
    return f"{ceil(least / seconds * 10) / 10:g}" if seconds else "1000"


def probe_warnings(spec: Spec, gates: Sequence[Gate]) -> tuple[str, ...]:
    """Probes that nobody asks about only cost; and a build may fail users, and nobody who only asks it."""
    if gates and all(gate.metric.probed for gate in gates):
        return ("all gates are about probes: a build that fails users alone would pass; add error_rate: {ratio: 1.5}",)
    if spec.document.probe.rate is None or any(gate.metric.probed for gate in gates):
        return ()
    return ("probes are sent and no gate is about them; add probe_error_rate: {ratio: 1.5}, or drop `probe.rate`",)
