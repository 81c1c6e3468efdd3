"""Raises what a gate asks for until pseudo-canaries are rolled back seldom enough, by whichever knob is cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from pytest_canary.calibrated import Share
from pytest_canary.calibration.knobs import Asked, Knobs, Setting, Tell
from pytest_canary.calibration.noise import noise_of
from pytest_canary.calibration.result import Found, Measured, false_of, share_of
from pytest_canary.gates import Gate, Kind
from pytest_canary.plan import Plan
from pytest_canary.play import Cast, History, Played, cast
from pytest_canary.verdict import share_alpha


@dataclass(frozen=True, slots=True)
class Result:
    """All gates, and false rollbacks by any of them, before and after."""

    found: tuple[Found, ...]
    before: Share
    after: Share
    cast: Cast
    left_out: tuple[tuple[str, str], ...] = ()
    """Gates that were not played, and why not."""


def calibrate(plan: Plan, history: History, asked: Asked, tell: Tell = lambda _: None) -> Result:
    """Measure every gate of ``plan`` on ``history``, and find the levels that keep false rollbacks rare.

    Levels are chosen on one draw of plays; what is reported of them is measured on another.  ``tell`` hears what is
    under way.

    Raises:
        UsageError: fewer than two replicas, or less than one rollout's length.

    """
    rng = np.random.default_rng(asked.seed)
    chosen, fresh = (cast(plan, history, asked.plays, rng) for _ in range(2))
    why = {gate.name: unplayable(gate, history) for gate in plan.gates}
    gates = [gate for gate in share_alpha(plan.gates) if not why[gate.name]]
    knobs = [Knobs(plan, gate, history, (chosen, fresh), asked, tell) for gate in gates]
    for knob in knobs:
        knob.choose()
    _together([knob for knob in knobs if knob.enough], asked)
    tell("all gates again, on other plays")
    checked = [(knob, knob.on_others(knob.floor), knob.on_others(knob.setting)) for knob in knobs]
    found = tuple(_found(knob, before, after, history, chosen) for knob, before, after in checked)
    left_out = tuple((name, text) for name, text in why.items() if text)
    return Result(found, false_of([b for _, b, _ in checked]), false_of([a for _, _, a in checked]), chosen, left_out)


def unplayable(gate: Gate, history: History) -> str:
    """Why ``gate`` cannot be played on ``history``; empty where it can."""
    metric = gate.metric
    if metric.probed:
        return "counted by probes, which no history holds"
    if metric.kind is Kind.GAUGE:
        return "a gauge has no sample size"
    if gate.by:
        return f"compared by {', '.join(gate.by)}, and the history does not count by labels"
    counted = bool(metric.counted) and all(name in history.counters for name in metric.counted)
    if not counted and metric.histogram not in history.histograms:
        return f"the history does not count {' and '.join(metric.counted) or metric.histogram}"
    return ""


def _together(knobs: Sequence[Knobs], asked: Asked) -> None:
    """Raise further while all gates together roll back too often: the one that does so alone most often first."""
    while knobs:
        stopped = np.array([knob.played(knob.setting).stopped for knob in knobs])
        if stopped.any(axis=0).sum() <= floor(asked.allowed * asked.plays):
            return
        alone = [int((one & (stopped.sum(axis=0) == 1)).sum()) for one in stopped]
        for nth in np.argsort(alone)[::-1]:
            if stopped[nth].any() and knobs[nth].further():
                break
        else:
            return


def _found(knob: Knobs, before: Played, after: Played, history: History, cast: Cast) -> Found:
    phi, replicas = knob.setting
    return Found(
        knob.gate, phi, replicas, _measured(knob, knob.floor, before), _measured(knob, knob.setting, after),
        noise_of(knob.gate, history, cast), knob.enough, before.refused, before.why,
    )  # fmt: skip


def _measured(knob: Knobs, setting: Setting, false: Played) -> Measured:
    caught = knob.caught(setting)
    share = share_of(false.stops, false.plays - false.refused)
    if caught is None:
        return Measured(share)
    return Measured(share, knob.times, float(caught.stopped.mean()), float(caught.exposed.mean()))
