"""The report for programs: stable keys, described in ``docs/commands.md``."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from pytest_canary.outcome import Cut, Outcome, Row
from pytest_canary.ports import Probed, Revision, Seen
from pytest_canary.report.summary import last_line, stage_label
from pytest_canary.steps.rollback import Drained
from pytest_canary.verdict import Counted, Verdict

SCHEMA = 1
"""Grows when a key changes its meaning or goes; keys may be added without it."""


def to_json(outcome: Outcome) -> dict[str, Any]:
    """Plain values for ``json.dumps``: times in seconds, shares and rates 0..1, what nobody knows is null.

    A number that is not finite is null too.  The values of a build's environment are left out: reports travel.
    """
    return {
        "schema": SCHEMA,
        "run": outcome.run,
        "service": outcome.service,
        "target": outcome.target,
        "simulated": outcome.simulated,
        "rollout": outcome.rollout,
        "image": outcome.image,
        "end": str(outcome.end),
        "why": outcome.why,
        "says": last_line(outcome),
        "began_at": _number(outcome.began_at),
        "ended_at": _number(outcome.ended_at),
        "keep": outcome.keep,
        "stable": _revision(outcome.stable),
        "canary": _revision(outcome.canary),
        "previous": _revision(outcome.previous),
        "pins": {name: pinned.to_data() for name, pinned in outcome.pins.items()},
        "steps": [_row(row) for row in outcome.rows],
        "verdicts": [_verdict(outcome, verdict) for verdict in outcome.verdicts],
        "cut": _cut(outcome.cut),
        "drained": _drained(outcome.drained),
        "unload_seconds": _number(outcome.unload_seconds),
        "return_seconds": _number(outcome.return_seconds),
        "exposed": int(outcome.exposed),
        "users": _seen(outcome.seen),
        "probes": {str(role): _probed(probed) for role, probed in outcome.probed.items()},
        "overrides": list(outcome.overrides),
        "calibration": outcome.calibration or None,
        "warnings": list(outcome.warnings),
        "trouble": list(outcome.trouble),
        "runbook": outcome.runbook,
        "recording": outcome.recording,
    }


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None


def _counts(counts: Mapping[str, float]) -> dict[str, int]:
    return {str(name): int(number) for name, number in counts.items()}


def _revision(revision: Revision | None) -> dict[str, Any] | None:
    if revision is None:
        return None
    change = revision.change
    return {
        "image": revision.image,
        "digest": revision.digest,
        "pin": revision.pin,
        "model": change.model,
        "env": [name for name, _ in change.env],
        "args": list(change.args),
        "replicas": change.replicas,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "passed": bool(row.passed),
        "text": row.text,
        "seconds": _number(row.seconds),
        "numbers": {str(name): str(number) for name, number in row.numbers.items()},
    }


def _verdict(outcome: Outcome, verdict: Verdict) -> dict[str, Any]:
    return {
        "gate": verdict.gate,
        "stage": int(verdict.stage),
        "share": stage_label(outcome, verdict.stage),
        "status": str(verdict.status),
        "by": str(verdict.by) if verdict.by else None,
        "alert": bool(verdict.alert),
        "side": verdict.side,
        "of": verdict.of,
        "canary": _counted(verdict.canary),
        "baseline": _counted(verdict.baseline),
        "limit": verdict.limit,
        "ratio": _number(verdict.ratio),
        "interval": [_number(edge) for edge in verdict.interval] if verdict.interval else None,
        "evidence": _number(verdict.evidence),
        "odds": _number(verdict.odds),
        "alpha": _number(verdict.alpha),
        "harmless": bool(verdict.harmless),
        "proved": bool(verdict.proved),
        "needed": _number(verdict.needed),
        "sentence": verdict.sentence,
    }


def _counted(side: Counted) -> dict[str, float | None]:
    return {"requests": _number(side.requests), "events": _number(side.events), "value": _number(side.value)}


def _cut(cut: Cut | None) -> dict[str, Any] | None:
    if cut is None:
        return None
    return {
        "why": cut.why,
        "stage": cut.stage,
        "at": _number(cut.at),
        "seconds": _number(cut.seconds),
        "first_bad_at": _number(cut.first_bad_at),
        "after_seconds": _number(cut.after_seconds),
    }


def _drained(drained: Drained | None) -> dict[str, Any] | None:
    if drained is None:
        return None
    return {"in_flight": int(drained.in_flight), "seconds": _number(drained.seconds), "cut": int(drained.cut)}


def _probed(probed: Probed) -> dict[str, Any]:
    return {
        "answered": int(probed.answered),
        "faults": {str(fault): int(number) for fault, number in probed.faults.items() if number},
        "refused": int(probed.refused),
        "first_fault": probed.first_fault,
        "skipped": int(probed.skipped),
    }


def _seen(seen: Seen | None) -> dict[str, Any] | None:
    if seen is None:
        return None
    return {
        "sent": int(seen.sent),
        "unsent": int(seen.unsent),
        "answered": int(seen.answered),
        "failed": int(seen.failed),
        "dropped": int(seen.dropped),
        "dropped_why": _counts(seen.dropped_why),
        "lag_p99_seconds": _number(seen.lag_p99_seconds),
        "p50_seconds": _number(seen.p50_seconds),
        "p99_seconds": _number(seen.p99_seconds),
        "bad": _counts(seen.bad),
        "served": _counts(seen.served),
    }
