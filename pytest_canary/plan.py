"""Spec + image + collected gates -> Plan, or why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_canary.gates import Gate
from pytest_canary.ports import Change, Prompt


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
