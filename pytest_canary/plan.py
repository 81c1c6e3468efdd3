"""Spec + image + collected gates -> Plan, or why not."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_canary import calibrated
from pytest_canary.calibrated import Used
from pytest_canary.errors import PlanError, SpecError, UsageError
from pytest_canary.gates import Action, Decide, Gate, Kind, Levels, Limits, Metric, Noise, inside_stated_noise
from pytest_canary.identity import Stated, Wanted
from pytest_canary.ports import Change, Prompt, Role
from pytest_canary.prompts import read_prompts
from pytest_canary.results import Held, Result, hold, read_result
from pytest_canary.spec import (
    Spec,
    gate_from,
    levels_of,
    place,
    prices_of,
    probe_warnings,
    refuse_what_probes_cannot_tell,
    stage_limits,
)
from pytest_canary.spec.document import Document

DEFAULT_LEVELS = Levels()
DEFAULT_MODELS = Wanted()

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
    whose: str = ""
    """Whose share it is, where that is not the canary's."""

    def __str__(self) -> str:
        share = f"{self.weight * 100:g}%"
        return f"{self.whose} {share}" if self.whose else share


@dataclass(frozen=True, slots=True)
class Warmup:
    """Traffic that is never counted: ends at the first limit reached, or when TTFT and throughput are steady."""

    seconds: float = 0.0
    requests: int | None = None
    tokens: int | None = None
    until_steady: bool = True
    concurrency: int = 4
    prompts: tuple[Prompt, ...] = ()


@dataclass(frozen=True, slots=True)
class Probing:
    """What every build is asked directly, again and again, so that gates can be about the answers."""

    rate: float
    """Probes per second and build."""
    concurrency: int
    """How many of them one build may have in flight."""
    prompts: tuple[Prompt, ...]


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
    bake_seconds: float | None = None
    """How long to watch before the way back is closed; None: not at all where promotion keeps the processes that were
    proven, and as long as the last stage was held where it starts new ones."""
    holdback: float = 0.0
    """Share that stays on the baseline at the 100 % stage."""
    measured: Result | None = None
    """What a load tool's file says is normal."""
    held: Held | None = None
    """Which gates are held against it, and which not."""
    control: bool = False
    """Whether a fresh copy of the stable build runs beside the canary, with as much traffic."""
    young_seconds: float = 120.0
    """How long after each shift gates compare with that copy alone."""
    models: Wanted = DEFAULT_MODELS
    """What is to be known about the models of both sides."""
    policies: tuple[tuple[Role, Stated], ...] = ()
    """Versions of what else they run under, where the file states them."""
    model_change: tuple[str, ...] = ()
    """Where another model is shipped on purpose: what is stricter, and what is advised and not there."""
    build: tuple[str, ...] = ()
    runbook: str = ""
    keep: bool = False
    refuse_rejected: bool = False
    probing: Probing | None = None
    synthetic_users: bool = False
    """Whether the target has a load generator standing in for users."""
    overrides: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    simulated: str = ""
    """By what traffic, time and builds are made up, in words, so that nothing happens on the target; else empty."""
    how_often: tuple[str, ...] = ()
    """What `pytest-canary power` is asked to learn how often what was injected is caught; empty where nothing was."""
    calibration: str = ""
    """What was measured on the service's own history and is used, or why it is not; empty where there is nothing."""

    @property
    def place(self) -> str:
        """Where all this happens: ``on production``, or ``in simulation (production)``."""
        return f"in simulation ({self.target})" if self.simulated else f"on {self.target}"

    def lines(self) -> list[str]:
        """The plan as it is printed before anything happens."""
        what = self.image or "(no --image: nothing will be deployed)"
        ladder = ", ".join(f"{stage} for {stage.hold_seconds:g} s" for stage in self.stages)
        gates = ", ".join(f"{gate.name} {gate.limits}" for gate in self.gates) or "none declared"
        lines = [
            f"canary {self.service} {self.place}: {what}",
            f"canary stages {ladder}; each with at least {self.stages[0].min_requests} canary requests"
            if len({stage.min_requests for stage in self.stages}) == 1
            else f"canary stages {ladder}",
            f"canary gates {gates}; and {len(self.required_tests)} tests at stages",
        ]
        if self.held is not None:
            live = "; ".join(f"{name} ({why})" for name, why in self.held.live)
            kept = f"; against the live stable build: {live}" if live else ""
            lines.append(f"canary baseline: {', '.join(self.held.by_file)} against {self.measured}{kept}")
        if self.control:
            lines.append(
                "canary control: a fresh copy of the stable build takes as much traffic as the canary; gates compare "
                f"with it for {self.young_seconds:g} s after each shift, then with all of the stable build"
            )
        if self.probing:
            p = self.probing
            lines.append(
                f"canary probes: {p.rate:g} per second straight at each build from the baseline to the outcome, "
                f"{len(p.prompts)} prompts in turn, at most {p.concurrency} in flight each; no user is in their numbers"
            )
        if self.simulated:
            lines.append(f"canary simulated: {self.simulated}; virtual time, and nothing is deployed")
        lines += [f"canary model change: {line}" for line in self.model_change]
        lines += [f"canary calibration: {self.calibration}"] if self.calibration else []
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


def _of_another_name(image: str | None, service: str) -> tuple[str, ...]:
    """A build of something else is easily typed, and would be shipped to this service's users."""
    if not image or belongs(image, service):
        return ()
    return (f"{image} is not called {service}, as its builds are by their last part; is it one of them?",)


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
            options = stage.gates[name].model_dump(exclude_none=True)
            at_stages.append((index, stage_limits(name, options, where, own=_own(spec, name))))
    only = None
    if entry is None:  # it appears at some stages only, and has its share of alpha from the start
        first = at_stages[0][0]
        entry, only = spec.document.stages[first].gates[name], tuple(index for index, _ in at_stages)
        where = place(spec.tree, ["stages", first, "gates", name])
    else:
        where = place(spec.tree, ["gates", name])
    options, levels = entry.model_dump(exclude_none=True), levels_of(spec.document.evidence)
    noise = spec.document.noise or 0.0
    gate = gate_from(name, options, where, decide=spec.document.decide, levels=levels, noise=noise)
    return replace(gate, stages=tuple(at_stages), only_stages=only, preset=spec.from_preset.get(name, ""))


def _own(spec: Spec, name: str) -> Mapping[str, Metric]:
    """The metric that the gate ``name`` describes at the top of the file, for its limits at a stage."""
    entry = spec.document.gates.get(name)
    if entry is None or entry.metric is None:
        return {}
    options = entry.model_dump(exclude_none=True)
    return {name: gate_from(name, options, spec.where(f"gates.{name}")).metric}


def make_plan(
    spec: Spec,
    *,
    rollout: str,
    image: str | None,
    marked: Sequence[Mark] = (),
    required_tests: Sequence[str] = (),
    now: float | None = None,
) -> Plan:
    """Put spec, image and what pytest has collected together; ``now`` (wall time) tells how old a calibration is.

    Raises:
        PlanError: they do not fit; SpecError: a part of the file asks for what cannot be done.

    """
    top = spec.document
    _refuse_what_is_not_built(spec)
    stages = stages_of(spec, rollout)
    levels = levels_of(top.evidence)
    gates = _with_marks(declared_gates(spec), marked, top.decide, levels, top.noise or 0.0)
    if top.canary.replicas:
        gates = tuple(replace(gate, canaries=top.canary.replicas) for gate in gates)
    measured = measured_by(spec)
    against = _held(spec, gates, measured)
    gates = against.gates if against else gates
    _refuse_what_comes_too_late(gates, stages)
    _refuse_what_is_noise(gates)
    prices_of(spec)
    refuse_what_probes_cannot_tell(spec, gates)
    if not gates and not required_tests:
        raise PlanError(
            f"{spec.where('gates')}: no gate is declared and no test asks for `stage`: nothing would decide"
        )
    if top.when_undecided == "rollback" and not top.holdback and any(map(_needs_users, gates)):
        raise PlanError(
            f"{spec.where('when_undecided')}: `when_undecided: rollback` cannot pass the 100 % stage, where nothing is "
            "left to compare with; write `holdback: 2`, or `when_undecided: advance`"
        )
    prompts, probing = _prompts(spec), _probing(spec)
    used = calibration_of(spec, gates, stages, now)
    gates = used.gates if used else gates
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
        measured=measured,
        held=against,
        control=top.control.wanted,
        young_seconds=top.control.young,
        models=_models(spec),
        policies=_sides(top.policy.baseline, top.policy.canary),
        model_change=_advised(spec.model_change),
        build=tuple(top.build),
        runbook=top.runbook,
        keep=top.keep,
        refuse_rejected=top.refuse_rejected,
        probing=probing,
        synthetic_users=spec.load is not None,
        overrides=spec.overrides,
        simulated="traffic that is made up" if spec.simulated else "",
        calibration=used.says if used else "",
        warnings=(
            *_warnings(gates),
            *_read_as_evidence(spec, gates),
            *_unasked(spec, gates, required_tests),
            *(against.doubts if against else ()),
            *_of_another_name(image, spec.service),
        ),
    )


def _needs_users(gate: Gate) -> bool:
    """Whether it compares what users have had from both builds; probes ask both at every stage."""
    return gate.limits.relative and not gate.metric.probed


def measured_by(spec: Spec) -> Result | None:
    """What the file under ``baseline`` says; None where there is none.

    Raises:
        SpecError: it cannot be read, or there is no file to which something beside it could belong.

    """
    entry = spec.document.baseline
    if entry.file is None:
        for key in ("format", "run", "model"):
            if getattr(entry, key) is not None:
                raise SpecError(f"{spec.where(f'baseline.{key}')}: baseline.{key} tells of a `file`, and there is none")
        return None
    result = read_result(
        spec.folder / entry.file, spec.where("baseline.file"), name=entry.file, kind=entry.format, run=entry.run
    )
    return replace(result, model=entry.model or result.model)


def _held(spec: Spec, gates: Sequence[Gate], measured: Result | None) -> Held | None:
    """The gates with what the file says in them; a file that no gate uses was meant for something."""
    against = hold(gates, measured) if measured else None
    if against and not against.by_file:
        live = "; ".join(f"{name}: {why}" for name, why in against.live) or "none has a `ratio` or a `delta`"
        raise PlanError(f"{spec.where('baseline.file')}: no gate can be held against {measured}: {live}")
    return against


def _refuse_what_comes_too_late(gates: Sequence[Gate], stages: Sequence[Stage]) -> None:
    """A stage waits for what is counted late, and its deadline must let it."""
    for gate in gates:
        for stage in stages if gate.action is Action.ROLLBACK else ():
            least = stage.hold_seconds + gate.lag_seconds
            if gate.lag_seconds and gate.gates(stage.index) and least > (stage.deadline_seconds or least):
                raise PlanError(
                    f"{gate.where}: {gate.name}.lag: stage {stage} takes {least:g} s, hold and lag; its deadline is "
                    f"{stage.deadline_seconds:g} s; write a longer `deadline`, or a shorter `lag`"
                )


def _refuse_what_is_noise(gates: Sequence[Gate]) -> None:
    """A limit inside what a build differs from itself would fail good builds, and is known before anything runs."""
    for gate in gates:
        wrong = inside_stated_noise(gate)
        if wrong:
            raise PlanError(f"{gate.where}: {gate.name}: {wrong}")


def calibration_file(spec: Spec) -> Path:
    """Where what is measured for ``spec`` is kept."""
    return spec.folder / (spec.document.calibration.file or calibrated.FILE)


def stages_digest(spec: Spec, stages: Sequence[Stage]) -> str:
    """What a calibration remembers of the stages that it played."""
    told = [(stage.weight, stage.hold_seconds, stage.min_requests) for stage in stages]
    return calibrated.digest_of_stages(told, spec.document.poll, spec.document.holdback)


def calibration_of(spec: Spec, gates: Sequence[Gate], stages: Sequence[Stage], now: float | None) -> Used | None:
    """What the file beside ``spec`` makes of its gates; None where there is none, or it is off.

    Raises:
        SpecError: the file is not there though it is named, or is no calibration.

    """
    entry, path = spec.document.calibration, calibration_file(spec)
    where = spec.where("calibration.file")
    if not entry.used or (entry.file is None and not path.exists()):
        return None
    again = shlex.join(["pytest-canary", "calibrate", os.path.relpath(spec.folder), "--target", spec.target])
    if not path.exists():
        raise SpecError(
            f"{where}: found no {entry.file} beside the rollout.yaml; type `{again}`, or `calibration: off`"
        )
    try:
        found = calibrated.read(path, spec.target)
    except UsageError as error:
        raise SpecError(f"{where}: {error}; or write `calibration: off`") from error
    if found is None:
        return None
    digest = stages_digest(spec, stages)
    return calibrated.laid_over(gates, found, stages=digest, now=now, max_age=entry.max_age, again=again)


def _with_marks(
    declared: tuple[Gate, ...], marked: Sequence[Mark], decide: str, levels: Levels, noise: Noise
) -> tuple[Gate, ...]:
    """The file's gates, and those that ``@pytest.mark.gate`` declares; each mark once, whatever stages it stands at."""
    gates = {gate.name: gate for gate in declared}
    for args, options, nodeid in marked:
        where = nodeid.partition("[")[0]
        if len(args) != 1:
            raise PlanError(
                f"{where}: @pytest.mark.gate takes one metric and its limits, such as gate('ttft_p99', ratio=1.3)"
            )
        try:
            own = {gate.name: gate.metric for gate in declared}
            gate = gate_from(str(args[0]), options, where, decide=decide, levels=levels, own=own, noise=noise)
        except SpecError as error:
            raise PlanError(str(error)) from error
        known = gates.get(gate.name)
        if known is not None and replace(known, where=where, preset="") != gate:
            raise PlanError(f"{where}: {gate.name} is declared in {known.where} with other limits; keep one of them")
        gates.setdefault(gate.name, gate)
    return tuple(gates.values())


def _change(top: Document) -> Change:
    return Change(tuple(sorted(top.canary.env.items())), tuple(top.canary.args), top.canary.model, top.canary.replicas)


def _sides(baseline: Stated | None, canary: Stated | None) -> tuple[tuple[Role, Stated], ...]:
    told = ((Role.BASELINE, baseline), (Role.CANARY, canary))
    return tuple((role, stated) for role, stated in told if stated is not None)


def _models(spec: Spec) -> Wanted:
    """What the file says of models.

    Raises:
        SpecError: a file that it names is not there, or two keys contradict each other.

    """
    top, said = spec.document, spec.document.model
    if not said.served and top.canary.model:
        raise SpecError(
            f"{spec.where('canary.model')}: canary.model ships the model {top.canary.model!r}, and `model` says that "
            "the service has none; drop one of them"
        )
    if said.served and said.header and "header" not in said.witnesses:
        raise SpecError(f"{spec.where('model.header')}: model.header is not asked; add `header` to `model.from`")
    if said.served and not said.header and said.witnesses == ["header"]:
        raise SpecError(f"{spec.where('model.from')}: model.from: which header? write `header: x-model-version` beside")
    if said.served and "fingerprint" in said.witnesses and "answers" not in said.witnesses:
        raise SpecError(f"{spec.where('model.from')}: model.from: a fingerprint is a part of answers; add `answers`")
    canary = said.canary or (Stated(top.canary.model) if top.canary.model else None)
    for key, stated in (
        ("model.baseline", said.baseline),
        ("model.canary", said.canary),
        ("policy.baseline", top.policy.baseline),
        ("policy.canary", top.policy.canary),
    ):
        if stated and stated.file and not (spec.folder / stated.file).exists():
            raise SpecError(f"{spec.where(key)}: {key}.file: found no {stated.file!r} beside the rollout.yaml")
    return Wanted(
        said.served, _sides(said.baseline, canary), tuple(said.witnesses), said.header or "", top.same_model,
        bool(spec.model_change),
    )  # fmt: skip


def _advised(model_change: Sequence[str]) -> tuple[str, ...]:
    return (*model_change[:-1], f"{model_change[-1]}; see docs/model-changes.md") if model_change else ()


def _refuse_what_is_not_built(spec: Spec) -> None:
    top = spec.document
    if top.canary.patch:
        raise SpecError(f"{spec.where('canary.patch')}: `canary.patch` is not supported yet; take it out")
    if top.baseline.revision != "stable":
        raise SpecError(f"{spec.where('baseline.revision')}: found {top.baseline.revision!r}, expected stable")


def _prompts(spec: Spec) -> tuple[Prompt, ...]:
    name, key = spec.document.warmup.prompts, "warmup.prompts"
    load = spec.load.options if spec.load is not None else spec.load_before or {}
    if name is None and isinstance(load.get("prompts"), str):
        name, key = str(load["prompts"]), "load.prompts"
    return read_prompts(spec.folder / name, spec.where(key)) if name else ()


def _probing(spec: Spec) -> Probing | None:
    """What is asked: the prompts of its own, else those of the warm-up."""
    asked = spec.document.probe
    if asked.rate is None:
        return None
    where = spec.where("probe.prompts")
    prompts = read_prompts(spec.folder / asked.prompts, where) if asked.prompts else _prompts(spec)
    if not prompts:
        raise SpecError(
            f"{spec.where('probe.rate')}: probes have nothing to ask; write `prompts: prompts.jsonl` beside it"
        )
    return Probing(asked.rate, asked.concurrency, prompts)


def _unasked(spec: Spec, gates: Sequence[Gate], tests: Sequence[str]) -> tuple[str, ...]:
    """Probes that nobody asks about, and gates of which none decides; a test may."""
    if tests:
        return ()
    mute = gates and all(gate.action is Action.ALERT for gate in gates)
    silent = ("every gate only alerts: no build would be rolled back, however bad it is",) if mute else ()
    return (*silent, *probe_warnings(spec, gates))


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
