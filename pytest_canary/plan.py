"""Spec + image + collected gates -> Plan, or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_canary.errors import PlanError, SpecError
from pytest_canary.gates import Decide, Gate, Kind, Levels, Limits
from pytest_canary.ports import Change, Prompt
from pytest_canary.prompts import read_prompts
from pytest_canary.spec import Spec, gate_from, levels_of, place, stage_limits
from pytest_canary.spec.document import Document

DEFAULT_LEVELS = Levels()

Mark = tuple[Sequence[Any], Mapping[str, Any], str]
"""Arguments and keywords of a ``@pytest.mark.gate``, and the node id of its test."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A share of the traffic, held for a while.  Equal within a rollout, unequal across rollouts."""

    rollout: str
    """Node id of the rollout.yaml."""
    index: int
    weight: float
    """Share of the traffic the canary gets, 0..1, before ``holdback``."""
    hold_seconds: float
    min_requests: int
    deadline_seconds: float | None
    """None waits for ever."""
    allowance: float = 1.0
    """With ``pace: proof``, how many times what a gate allows beyond 1 this stage has to exclude."""

    def __str__(self) -> str:
        return f"{self.weight * 100:g}%"


@dataclass(frozen=True, slots=True)
class Warmup:
    """Traffic that is never counted: ends at the first limit reached, or when latency is steady."""

    seconds: float = 0.0
    requests: int | None = None
    tokens: int | None = None
    until_steady: bool = True
    concurrency: int = 4
    prompts: tuple[Prompt, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a rollout needs to know, fixed before the start."""

    rollout: str
    """Node id of the rollout.yaml; prefix of all rows in JUnit."""
    service: str
    target: str
    folder: Path
    image: str | None
    change: Change
    stages: tuple[Stage, ...]
    gates: tuple[Gate, ...]
    required_tests: tuple[str, ...] = ()
    """Node ids of the tests that ask for ``stage`` and are not advisory; each must pass."""
    poll_seconds: float = 5.0
    levels: Levels = DEFAULT_LEVELS
    pace: str = "hold"
    when_undecided: str = "advance"
    warmup: Warmup = Warmup()
    smoke: tuple[Prompt, ...] = ()
    health: str = "/health"
    baseline_seconds: float = 60.0
    baseline_requests: int = 100
    drain_seconds: float = 60.0
    ready_seconds: float = 300.0
    """How long a canary may take to become ready."""
    bake_seconds: float = 0.0
    holdback: float = 0.0
    """Share that stays on the baseline at the 100 % stage."""
    control: bool = False
    """Whether a fresh copy of the stable build runs beside the canary, with as much traffic."""
    young_seconds: float = 120.0
    """How long after each shift gates compare with that copy alone."""
    same_model: bool = True
    stated_models: tuple[str | None, str | None] = (None, None)
    """Model versions of baseline and canary, where the file states them."""
    build: tuple[str, ...] = ()
    runbook: str = ""
    keep: bool = False
    refuse_rejected: bool = False
    synthetic_users: bool = False
    """Whether the target has a load generator standing in for users."""
    overrides: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The plan as it is printed before anything happens."""
        what = self.image or "(no --image: nothing will be deployed)"
        ladder = ", ".join(f"{stage} for {stage.hold_seconds:g} s" for stage in self.stages)
        gates = ", ".join(f"{gate.name} {gate.limits}" for gate in self.gates) or "none declared"
        lines = [
            f"canary {self.service} on {self.target}: {what}",
            f"canary stages {ladder}; each with at least {self.stages[0].min_requests} canary requests"
            if len({stage.min_requests for stage in self.stages}) == 1
            else f"canary stages {ladder}",
            f"canary gates {gates}; and {len(self.required_tests)} tests at stages",
        ]
        if self.control:
            lines.append(
                "canary control: a fresh copy of the stable build takes as much traffic as the canary; gates compare "
                f"with it for {self.young_seconds:g} s after each shift, then with all of the stable build"
            )
        lines += [f"canary set by --canary-set {override}" for override in self.overrides]
        lines += [f"canary warning: {warning}" for warning in self.warnings]
        return lines


ALLOWANCES = (1.0, 2.0, 4.0)
"""Of the last compared stage, the one before it, and those before that: 1.5x, 2x and 3x for a gate of 1.5."""

SMOKE_PROMPTS = 5
"""How many of the prompts are asked in the smoke phase: of both kinds, those with a known answer first."""


def belongs(image: str, service: str) -> bool:
    """Whether ``image`` is a build of ``service``: the last part of its repository says so."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0] == service


def stages_of(spec: Spec, rollout: str) -> tuple[Stage, ...]:
    """The stages of ``spec``; they grow, and end at 100 %.

    Raises:
        SpecError: they do not, or a hold is longer than its deadline.

    """
    top, stages = spec.document, list[Stage]()
    for index, entry in enumerate(top.stages):
        unsaid = "deadline" not in entry.model_fields_set
        stage = Stage(
            rollout=rollout,
            index=index,
            weight=entry.weight,
            hold_seconds=top.hold if entry.hold is None else entry.hold,
            min_requests=top.min_requests if entry.min_requests is None else entry.min_requests,
            deadline_seconds=top.deadline if unsaid else entry.deadline,
        )
        where = place(spec.tree, ["stages", index])
        if stage.weight <= (stages[-1].weight if stages else 0.0):
            raise SpecError(
                f"{where}: stage {stage} does not grow, expected more than {stages[-1] if stages else '0%'}"
            )
        if stage.deadline_seconds is not None and stage.hold_seconds > stage.deadline_seconds:
            raise SpecError(
                f"{where}: stage {stage}: found hold {stage.hold_seconds:g} s, expected at most its deadline of "
                f"{stage.deadline_seconds:g} s"
            )
        stages.append(stage)
    if stages[-1].weight < 1:
        where = place(spec.tree, ["stages", len(stages) - 1])
        raise SpecError(f"{where}: the last stage is {stages[-1]}, expected 100: less can never be promoted")
    return _with_allowances(stages, top.holdback) if top.pace == "proof" else tuple(stages)


def _with_allowances(stages: Sequence[Stage], holdback: float) -> tuple[Stage, ...]:
    """Early stages exclude what is far from the gate, and the last one that is compared proves the gate itself."""
    last = len(stages) - (1 if holdback else 2)
    reach = [max(last - stage.index, 0) for stage in stages]
    return tuple(
        replace(stage, allowance=ALLOWANCES[min(far, len(ALLOWANCES) - 1)])
        for stage, far in zip(stages, reach, strict=True)
    )


def declared_gates(spec: Spec) -> tuple[Gate, ...]:
    """The gates that the file declares.

    Raises:
        SpecError: a gate is unknown or its limits are wrong.

    """
    names = list(dict.fromkeys([*spec.document.gates, *(n for s in spec.document.stages for n in s.gates)]))
    problems, gates = list[str](), list[Gate]()
    for name in names:
        try:
            gates.append(_declared(spec, name))
        except SpecError as error:
            problems.append(str(error))
    if problems:
        raise SpecError("\n".join(problems))
    return tuple(gates)


def _declared(spec: Spec, name: str) -> Gate:
    entry, at_stages = spec.document.gates.get(name), list[tuple[int, Limits]]()
    for index, stage in enumerate(spec.document.stages):
        if name in stage.gates:
            where = place(spec.tree, ["stages", index, "gates", name])
            at_stages.append((index, stage_limits(name, stage.gates[name].model_dump(exclude_none=True), where)))
    only = None
    if entry is None:  # it appears at some stages only, and has its share of alpha from the start
        first = at_stages[0][0]
        entry, only = spec.document.stages[first].gates[name], tuple(index for index, _ in at_stages)
        where = place(spec.tree, ["stages", first, "gates", name])
    else:
        where = place(spec.tree, ["gates", name])
    options, levels = entry.model_dump(exclude_none=True), levels_of(spec.document.evidence)
    gate = gate_from(name, options, where, decide=spec.document.decide, levels=levels)
    return replace(gate, stages=tuple(at_stages), only_stages=only)


def make_plan(
    spec: Spec,
    *,
    rollout: str,
    image: str | None,
    marked: Sequence[Mark] = (),
    required_tests: Sequence[str] = (),
) -> Plan:
    """Put spec, image and what pytest has collected together.

    Raises:
        PlanError: they do not fit; SpecError: a part of the file asks for what cannot be done.

    """
    top = spec.document
    _refuse_what_is_not_built(spec)
    stages = stages_of(spec, rollout)
    levels = levels_of(top.evidence)
    gates = _with_marks(declared_gates(spec), marked, top.decide, levels)
    if top.canary.replicas:
        gates = tuple(replace(gate, canaries=top.canary.replicas) for gate in gates)
    if not gates and not required_tests:
        raise PlanError(
            f"{spec.where('gates')}: no gate is declared and no test asks for `stage`: nothing would decide"
        )
    if top.when_undecided == "rollback" and not top.holdback and any(gate.limits.relative for gate in gates):
        raise PlanError(
            f"{spec.where('when_undecided')}: `when_undecided: rollback` cannot pass the 100 % stage, where nothing is "
            "left to compare with; write `holdback: 2`, or `when_undecided: advance`"
        )
    prompts = _prompts(spec)
    return Plan(
        rollout=rollout,
        service=spec.service,
        target=spec.target,
        folder=spec.folder,
        image=image,
        change=_change(top),
        stages=stages,
        gates=gates,
        required_tests=tuple(required_tests),
        poll_seconds=top.poll,
        levels=levels,
        pace=top.pace,
        when_undecided=top.when_undecided,
        warmup=Warmup(
            top.warmup.seconds,
            top.warmup.requests,
            top.warmup.tokens,
            top.warmup.until_steady,
            top.warmup.concurrency,
            prompts,
        ),
        smoke=_smoke(prompts),
        health=top.health or str(spec.platform.options.get("ready", "/health")),
        baseline_seconds=top.baseline.window,
        baseline_requests=top.baseline.min_requests,
        drain_seconds=top.drain_timeout,
        ready_seconds=top.ready_timeout,
        bake_seconds=top.bake,
        holdback=top.holdback,
        control=top.control.wanted,
        young_seconds=top.control.young,
        same_model=top.same_model,
        stated_models=(top.model.baseline, top.model.canary or top.canary.model),
        build=tuple(top.build),
        runbook=top.runbook,
        keep=top.keep,
        refuse_rejected=top.refuse_rejected,
        synthetic_users=spec.load is not None,
        overrides=spec.overrides,
        warnings=(*_warnings(gates), *_read_as_evidence(spec, gates)),
    )


def _with_marks(declared: tuple[Gate, ...], marked: Sequence[Mark], decide: str, levels: Levels) -> tuple[Gate, ...]:
    """The file's gates, and those that ``@pytest.mark.gate`` declares; each mark once, whatever stages it stands at."""
    gates = {gate.name: gate for gate in declared}
    for args, options, nodeid in marked:
        where = nodeid.partition("[")[0]
        if len(args) != 1:
            raise PlanError(
                f"{where}: @pytest.mark.gate takes one metric and its limits, such as gate('ttft_p99', ratio=1.3)"
            )
        try:
            gate = gate_from(str(args[0]), options, where, decide=decide, levels=levels)
        except SpecError as error:
            raise PlanError(str(error)) from error
        known = gates.get(gate.name)
        if known is not None and replace(known, where=where) != gate:
            raise PlanError(f"{where}: {gate.name} is declared in {known.where} with other limits; keep one of them")
        gates.setdefault(gate.name, gate)
    return tuple(gates.values())


def _change(top: Document) -> Change:
    return Change(tuple(sorted(top.canary.env.items())), tuple(top.canary.args), top.canary.model, top.canary.replicas)


def _refuse_what_is_not_built(spec: Spec) -> None:
    top = spec.document
    if top.canary.patch:
        raise SpecError(f"{spec.where('canary.patch')}: `canary.patch` is not supported yet; take it out")
    if top.baseline.revision != "stable":
        raise SpecError(f"{spec.where('baseline.revision')}: found {top.baseline.revision!r}, expected stable")


def _prompts(spec: Spec) -> tuple[Prompt, ...]:
    name, key = spec.document.warmup.prompts, "warmup.prompts"
    if name is None and spec.load is not None and isinstance(spec.load.options.get("prompts"), str):
        name, key = str(spec.load.options["prompts"]), "load.prompts"
    return read_prompts(spec.folder / name, spec.where(key)) if name else ()


def _smoke(prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    known_first = sorted(prompts, key=lambda prompt: prompt.expect is None)
    streamed = [prompt for prompt in known_first if prompt.stream][:2]
    whole = [prompt for prompt in known_first if not prompt.stream]
    return tuple(whole[: SMOKE_PROMPTS - len(streamed)] + streamed)


def _read_as_evidence(spec: Spec, gates: Sequence[Gate]) -> tuple[str, ...]:
    """A script compared two numbers with this variable; here it is the limit of an evidence gate."""
    by_evidence = {gate.name: gate for gate in gates if gate.decide is Decide.EVIDENCE}
    found = [(name, variable) for name, variable in spec.limits_from_environment if name in by_evidence]
    if not found:
        return ()
    named = ", ".join(f"{variable} ({name} {by_evidence[name].limits})" for name, variable in found)
    rule = (
        "limits of evidence gates: a build just over one may pass; --canary-set decide=threshold compares two numbers"
    )
    return (f"{named} {'is' if len(found) == 1 else 'are'} read as {rule}, as a script would",)


def _warnings(gates: Sequence[Gate]) -> tuple[str, ...]:
    kinds = {gate.metric.kind for gate in gates}
    if kinds == {Kind.RATE}:
        return ("only error rates are gated: a slow build would pass; add latency_p99: {ratio: 1.2}",)
    if kinds == {Kind.QUANTILE}:
        return ("only latency is gated: a build that fails fast would pass; add error_rate: {ratio: 1.5}",)
    return ()
