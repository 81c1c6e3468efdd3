"""A plan, ``simulate:`` and what was injected -> the scene in which its rollouts are simulated, one or a thousand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_canary.errors import SpecError, UsageError
from pytest_canary.plan import Plan
from pytest_canary.recording import Recorded, read
from pytest_canary.simulation.injection import Injection, parse
from pytest_canary.simulation.scene import Scene, blind, refuse_unseen, scene_of, too_late, unseen
from pytest_canary.simulation.spread import mean, quantile
from pytest_canary.spec import Spec, traffic_of

if TYPE_CHECKING:
    from pytest_canary.simulation.traffic import Traffic

SEED = 1
"""Of a simulation that nobody gave one: the same command shows the same thing."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One rollout, or a batch of them, as it is simulated."""

    scene: Scene
    seed: int = SEED
    warnings: tuple[str, ...] = ()

    @property
    def injected(self) -> str:
        """What is wrong with the build, in words; empty where nothing is."""
        return ", ".join(map(str, self.scene.injections))

    @property
    def how_often(self) -> tuple[str, ...]:
        """The words that ask `power` about the first injection which has a size; empty where nothing is injected."""
        for one in self.scene.injections:
            gate = next((gate for gate in self.scene.gates if gate.metric == one.metric), None)
            size = 0.0
            if gate is not None and one.kind == "times" and one.amount > 0:
                size = one.amount if gate.metric.lower_is_better and not gate.metric.missed else 1 / one.amount
            if gate is not None and size > 1:
                return ("power", "--gate", gate.name, "--sizes", f"{size:.4g}")
        return ("power",) if self.scene.injections else ()

    def __str__(self) -> str:
        traffic = self.scene.traffic
        said = [f"seed {self.seed}", f"{traffic.rate:g} requests/s"]
        said += [f"daily curve of {traffic.daily.swing:.0%}"] if traffic.daily else []
        said += [f"{traffic.pods} pods"] if traffic.pods > 1 else []
        told = traffic.dependence
        said += [name for name, there in (("bursts", told.bursts), ("shared outages", told.outages)) if there]
        said += [f"pods differ by {told.pods_sd:.0%}"] if told.pods_sd else []
        said += [f"errors in clumps of {told.clumps:g}"] if told.clumps > 1 else []
        return ", ".join([*said, f"injected: {self.injected}" if self.injected else "nothing injected: a good build"])


def scenario_of(
    spec: Spec, plan: Plan, inject: Sequence[str] = (), *, seed: int | None = None, everything: bool = False
) -> Scenario:
    """The scenario of ``plan``: what its gates count, by the traffic of ``spec``, with ``inject`` in the canary.

    With ``everything`` the metrics that no gate names are told as well, for tests that look themselves.  A batch of
    rollouts of it is :class:`pytest_canary.simulation.draws.Draws` on its ``scene``, with one seed for each.

    Raises:
        UsageError: an injection cannot be read, or no gate can see it; the text names the nearest right word.
        SpecError: ``simulate:`` names what nobody counts, or a recording that cannot be read.

    """
    injections = parse(inject, {gate.name: gate.metric for gate in plan.gates})
    fitted = _fitted(spec)
    traffic = traffic_of(spec, plan.gates, fitted)
    warnings = list[str]()
    if plan.required_tests:  # they may look at anything
        warnings = [
            f"{blind(one, plan.gates)}; only a test that looks itself would notice"
            for one in unseen(injections, plan.gates)
        ]
    else:
        refuse_unseen(injections, plan.gates)
    _refuse_nothing_left(injections, traffic)
    warnings += too_late(injections, [stage.weight for stage in plan.stages], plan.holdback)
    chosen = spec.document.simulate.seed if seed is None else seed
    scene = scene_of(traffic, plan.gates, injections, everything=everything)
    return Scenario(scene, SEED if chosen is None else chosen, tuple(warnings))


def _refuse_nothing_left(injections: Sequence[Injection], traffic: Traffic) -> None:
    """A time cannot become less than none; how long it takes now is known only here."""
    for one in injections:
        values = traffic.values.get(one.metric.histogram) if one.metric is not None else None
        if one.kind == "plus" and one.metric is not None and values is not None:
            now = quantile(values.spread, one.metric.quantile) if one.metric.quantile else mean(values.spread)
            if now + one.amount <= 0:
                raise UsageError(
                    f"--canary-inject {one.text!r}: leaves nothing, {one.metric.name} of the stable build is {now:.3g}"
                )


def simulable(plan: Plan) -> Plan:
    """``plan`` without what a simulation has not: labels by which a gate compares; a warning says so."""
    by = [gate.name for gate in plan.gates if gate.by]
    if not by:
        return plan
    warning = f"{', '.join(by)}: `by` is left out, the traffic of a simulation has no labels"
    gates = tuple(replace(gate, by=()) for gate in plan.gates)
    return replace(plan, gates=gates, warnings=(*plan.warnings, warning))


def _fitted(spec: Spec) -> Traffic | None:
    """What the recording says that ``simulate.from`` names."""
    name = spec.document.simulate.source
    if name is None:
        return None
    from pytest_canary.simulation.fit import fitted

    where = spec.where("simulate.from")
    try:
        _, lines = read(spec.folder / name)
        return fitted([line.samples for line in lines if isinstance(line, Recorded)])
    except (UsageError, ValueError) as error:
        raise SpecError(f"{where}: simulate.from: {error}") from error
