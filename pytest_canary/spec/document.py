"""What a rollout.yaml may say: the typed model, every key with its unit."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from pytest_canary.identity import Stated
from pytest_canary.spec import units
from pytest_canary.spec.scalars import (
    Chance,
    Deadline,
    DecideName,
    Duration,
    Flag,
    Noise,
    Pace,
    Percent,
    Whole,
    text,
)
from pytest_canary.spec.simulate import SimulateEntry


class Model(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class EvidenceEntry(Model):
    """How much evidence a decision takes; what is not said is the preset's."""

    preset: Literal["strict", "default", "fast"] = "default"
    alpha: Chance | None = None
    others: Chance | None = None
    checks: Chance | None = None
    beta: Chance | None = None
    odds: Chance | None = None
    tail_odds: Chance | None = None
    first: Chance | None = None
    replicas: Annotated[float, text(units.number), Field(ge=1, le=1e6)] | None = None
    replica_window: Duration | None = None
    bursts: Literal["auto", "guard", "ignore"] | None = None
    burst_window: Duration | None = None


class GateEntry(Model):
    """Limits of a gate as they are written; which unit they have depends on the metric."""

    ratio: str | None = None
    delta: str | None = None
    max: str | None = None
    min: str | None = None
    action: str | None = None
    decide: str | None = None
    against: str | None = None
    floor: str | None = None
    min_baseline: str | None = None
    catastrophe: str | None = None
    quantiles: list[str] | None = None
    shift: str | None = None
    alpha: str | None = None
    design_effect: str | None = None
    by: list[str] | None = None
    better: str | None = None
    metric: dict[str, str | list[str]] | None = None
    lag: str | None = None
    min_events: str | None = None
    noise: str | None = None


class StageEntry(Model):
    """One stage; what is not said is taken from the top."""

    weight: Percent
    hold: Duration | None = None
    min_requests: Whole | None = None
    deadline: Deadline | None = Field(default=-1.0)
    gates: dict[str, GateEntry] = {}


class BaselineEntry(Model):
    """What is normal, how long it is read before the ramp, and a load tool's result that says it besides."""

    revision: str = "stable"
    file: str | None = None
    format: Literal["vllm", "guidellm", "aiperf", "genai-perf"] | None = None
    run: Annotated[int, text(units.whole), Field(ge=1)] | None = None
    model: str | None = None
    window: Duration = 60.0
    min_requests: Whole = 100


class WarmupEntry(Model):
    """Traffic to the canary alone, never counted; ends at the first limit, or when TTFT and throughput are steady."""

    seconds: Duration = Field(default=60.0, alias="for")
    requests: Whole | None = None
    tokens: Whole | None = None
    prompts: str | None = None
    until_steady: Flag = True
    concurrency: Annotated[int, text(units.whole), Field(ge=1, le=256)] = 4


class ProbeEntry(Model):
    """How builds are asked directly, and with ``rate`` how often, so that gates can be about the answers.

    Any other key names the adapter that asks.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    rate: Annotated[float, text(units.number), Field(gt=0, le=1000)] | None = None
    concurrency: Annotated[int, text(units.whole), Field(ge=1, le=256)] = 4
    prompts: str | None = None


class CanaryEntry(Model):
    """What is new besides the image."""

    env: dict[str, str] = {}
    args: list[str] = []
    model: str | None = None
    replicas: Annotated[int, text(units.whole), Field(ge=1)] | None = None
    patch: dict[str, Any] | None = None


class ControlEntry(Model):
    """A fresh copy of the stable build to compare with while pods are young."""

    wanted: Flag = Field(default=True, alias="on")
    young: Duration = 120.0


def _stated(value: Any) -> Stated:
    """A version, a registry reference with its digest, or a file."""
    if isinstance(value, str) and value.strip():
        digest = value.partition("@sha256:")[2]
        if "@sha256:" in value and not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError("64 hex digits after @sha256:")
        return Stated(value.strip())
    if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str) and value["file"]:
        return Stated(file=value["file"])
    raise ValueError("a version, a reference such as registry/models/llama@sha256:..., or {file: PATH}")


_FILE = {
    "type": "object",
    "properties": {"file": {"type": "string"}},
    "required": ["file"],
    "additionalProperties": False,
}
Version = Annotated[
    Stated | None, BeforeValidator(_stated), WithJsonSchema({"anyOf": [{"type": ["string", "number"]}, _FILE]})
]
Witness = Literal["models", "header", "answers", "labels", "fingerprint"]


class ModelsEntry(Model):
    """Which model both sides serve: as the file states it, and who else is asked."""

    served: Flag = Field(default=True, alias="on")
    baseline: Version = None
    canary: Version = None
    witnesses: list[Witness] = Field(default=["models", "header", "answers", "labels", "fingerprint"], alias="from")
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = None


class PolicyEntry(Model):
    """Versions of what else a build runs under: prompts, guardrails, routing.  Only written down."""

    baseline: Version = None
    canary: Version = None


_AMOUNT = {"type": "number", "minimum": 0}
_PRICE = {
    "type": "object",
    "description": "tokens by the million, GPUs by the second",
    "properties": dict.fromkeys(("input", "cached_input", "output", "gpu_second"), _AMOUNT),
    "additionalProperties": False,
}
_PRICES = {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": _PRICE}]}
_SIDES = {"type": "object", "properties": {key: {"type": "string"} for key in ("baseline", "canary")}}


class CalibrationEntry(Model):
    """What was measured on the service's own history: which file holds it, and how old it may be."""

    used: Flag = Field(default=True, alias="on")
    file: str | None = None
    max_age: Duration = 30 * 86400.0


class CostEntry(Model):
    """Where a source counts tokens and no cost: what they cost.  ``spec.pricing`` reads both, with their lines."""

    prices: Annotated[Any, WithJsonSchema(_PRICES)]
    model: Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, _SIDES]})] = None


class Document(Model):
    """One target's view of a rollout.yaml: the top level with the target laid over it."""

    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    platform: dict[str, Any]
    router: dict[str, Any]
    metrics: dict[str, Any]
    load: dict[str, Any] | None = None
    probe: ProbeEntry = ProbeEntry()
    clock: dict[str, Any] = {"system": {}}
    baseline: BaselineEntry = BaselineEntry()
    canary: CanaryEntry = CanaryEntry()
    stages: Annotated[list[StageEntry], Field(min_length=1)]
    noise: Noise | None = None
    poll: Annotated[float, text(units.duration), Field(gt=0)] = 5.0
    pace: Pace = "hold"
    decide: DecideName = "evidence"
    evidence: EvidenceEntry = EvidenceEntry()
    calibration: CalibrationEntry = CalibrationEntry()
    hold: Duration = 300.0
    min_requests: Whole = 500
    deadline: Deadline = 1800.0
    when_undecided: Literal["advance", "rollback"] = "advance"
    warmup: WarmupEntry = WarmupEntry()
    ready_timeout: Duration = 300.0
    drain_timeout: Duration = 60.0
    bake: Duration | None = None
    control: ControlEntry = ControlEntry(on=False)
    holdback: Percent = 0.0
    same_model: Flag = True
    model: ModelsEntry = ModelsEntry()
    policy: PolicyEntry = PolicyEntry()
    runbook: str = ""
    health: str | None = None
    build: list[str] = []
    keep: Flag = False
    refuse_rejected: Flag = False
    cost: CostEntry | None = None
    simulate: SimulateEntry = SimulateEntry()
    gates: dict[str, GateEntry] = {}
