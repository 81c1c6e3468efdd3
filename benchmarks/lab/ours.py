"""Our rules on a batch: the very classes that judge a live run, with a batch of many instead of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lab.series import Errors, Floats, Ints, Latency, Means
from pytest_canary.gates.edges import LEVELS
from pytest_canary.gates.evidence import RateEvidence, TailEvidence
from pytest_canary.gates.opinion import WINDOW_WORTH
from pytest_canary.gates.values import PRESETS, Bursts, Levels
from pytest_canary.stats.latency import boundary_at_least, boundary_nearest, quantile
from pytest_canary.stats.mean import MeanEvidence, Moments
from pytest_canary.stats.ratio import Counts, RatioEvidence, start_weights
from pytest_canary.stats.replicas import ReplicaEvidence

GATE, TAIL_GATE, MEAN_GATE = 1.5, 1.2, 1.2
STAGES = 3
ALPHA = 0.01
HOLD_SECONDS = 300.0
Bools = NDArray[np.bool_]

PLAIN = replace(PRESETS["default"], bursts=Bursts.IGNORE, replicas=1.0)
"""No guard: every request is taken to be independent."""


class _Second:
    """Replica evidence over windows, as the second opinion has it."""

    def __init__(self, data: Errors, levels: Levels) -> None:
        self._data, self._levels = data, levels
        self._evidence = ReplicaEvidence(STAGES, len(data.canary_requests), levels.first, WINDOW_WORTH)
        self._width = round(levels.replica_window_seconds / data.poll_seconds)
        self._from = 0

    def start_stage(self, poll: int) -> None:
        """A window does not reach over a shift."""
        self._evidence.start_stage()
        self._from = poll

    def agrees(self, poll: int) -> Bools:
        """Whether the replicas convict, after the windows that were closed until ``poll``."""
        data = self._data
        if poll - self._from == self._width:
            assert data.replica_requests is not None
            assert data.replica_errors is not None
            assert data.canaries is not None
            window, canaries = slice(self._from, poll), int(data.canaries[self._from])
            requests, errors = (
                counts[:, window].sum(axis=1) for counts in (data.replica_requests, data.replica_errors)
            )
            self._evidence.window(requests, errors, canaries)
            self._from = poll
        return np.asarray(self._evidence.log_e >= np.log(self._levels.replicas))


def error_rule(levels: Levels, alpha: float = ALPHA, gate: float = GATE) -> Callable[[Errors], Ints]:
    """Evidence and odds on an error rate; with replicas where ``levels`` ask for them and they are counted."""

    def rule(data: Errors) -> Ints:
        batch = len(data.canary_requests)
        evidence = RateEvidence(alpha, STAGES, batch=batch, levels=levels)
        second = _Second(data, levels) if levels.replicas > 1 and data.replica_requests is not None else None
        if data.captured_requests is not None and data.captured_errors is not None:
            for n, k in zip(data.captured_requests.T, data.captured_errors.T, strict=True):
                evidence.normal(n, k)

        def look(poll: int, stage_begins: bool) -> Bools:
            if stage_begins:
                evidence.start_stage(gate, HOLD_SECONDS)
            if stage_begins and second:
                second.start_stage(poll)
            nc, ec = data.canary_requests[:, poll], data.canary_errors[:, poll]
            evidence.alone(nc, ec)
            counts = Counts(nc, ec, data.base_requests[:, poll], data.base_errors[:, poll])
            evidence.compare(counts, (poll + 1) * data.poll_seconds, guard=second is None)
            agreed = second.agrees(poll + 1) if second else True
            failed = evidence.harmful()
            if failed.any():
                failed = evidence.convicts(evidence.posterior.odds(gate))
            return np.asarray(failed & agreed | evidence.broken(agreed=agreed))

        return _stops(look, data.stage, batch)

    return rule


def e2_rule(data: Errors) -> Ints:
    """The older second level: the data favour "worse than the gate" over "at the gate", an e-value of at least 1."""
    batch = len(data.canary_requests)
    evidence = RateEvidence(ALPHA, STAGES, batch=batch, levels=replace(PLAIN, first=0.6))
    copies: list[RatioEvidence] = []
    weights = np.log(start_weights(STAGES, 0.6))[:, None]

    def look(poll: int, stage_begins: bool) -> Bools:
        if stage_begins:
            evidence.start_stage(GATE, HOLD_SECONDS)
            copies.append(RatioEvidence(GATE, batch=batch))
        nc, ec = data.canary_requests[:, poll], data.canary_errors[:, poll]
        counts = Counts(nc, ec, data.base_requests[:, poll], data.base_errors[:, poll])
        evidence.alone(nc, ec)
        evidence.compare(counts, (poll + 1) * data.poll_seconds)
        for copy in copies:
            copy.update(counts)
        logs = [copy.log_e for copy in copies] + [np.zeros(batch)] * (STAGES - len(copies))
        over = np.logaddexp.reduce(weights + np.stack(logs), axis=0) >= 0
        return np.asarray(evidence.harmful() & over | evidence.broken())

    return _stops(look, data.stage, batch)


def latency_rule(levels: Levels, alpha: float = ALPHA, gate: float = TAIL_GATE) -> Callable[[Latency], Ints]:
    """Evidence averaged over quantiles, odds at any of p90, p95 and p99.

    Boundaries are those of the captured windows of all rollouts together: chosen once, before the ramp, as live.
    """

    def rule(data: Latency) -> Ints:
        bounds, captured = data.bounds.tolist(), data.captured.sum(axis=(0, 1)).tolist()
        lows = [boundary_nearest(bounds, quantile(bounds, captured, q) or bounds[-1]) for q, _ in LEVELS]
        highs = [boundary_at_least(bounds, low * gate) or bounds[-1] for low in lows]
        batch = len(data.canary)
        evidence = TailEvidence(alpha, STAGES, [weight for _, weight in LEVELS], 3, batch, levels=levels)
        mine, theirs, before = (_above(side) for side in (data.canary, data.base, data.captured))
        at = {bound: bounds.index(bound) for bound in (*lows, *highs)}
        nc, nb, n0 = data.canary.sum(axis=2), data.base.sum(axis=2), data.captured.sum(axis=2)
        for poll in range(n0.shape[1]):
            evidence.normal(n0[:, poll], [before[:, poll, at[low]] for low in lows])

        def look(poll: int, stage_begins: bool) -> Bools:
            if stage_begins:
                evidence.start_stage(HOLD_SECONDS)

            def counts(high: float, low: float) -> Counts:
                return Counts(nc[:, poll], mine[:, poll, at[high]], nb[:, poll], theirs[:, poll, at[low]])

            levels_now = [counts(low, low) for low in lows]
            tails_now = [counts(high, low) for high, low in zip(highs[1:], lows[1:], strict=True)]
            evidence.compare(levels_now, tails_now, (poll + 1) * data.poll_seconds)
            failed = evidence.harmful()
            return evidence.convicts() if failed.any() else failed

        return _stops(look, data.stage, batch)

    return rule


def _above(counts: Floats) -> Floats:
    """Observations above each boundary, last axis."""
    return np.asarray(counts.sum(axis=-1, keepdims=True) - np.cumsum(counts, axis=-1))


def means_rule(levels: Levels, alpha: float = ALPHA, gate: float = MEAN_GATE) -> Callable[[Means], Ints]:
    """Normal mixture and its posterior."""

    def rule(data: Means) -> Ints:
        batch = len(data.canary[0])
        evidence = MeanEvidence(gate, STAGES, batch, first=levels.first)

        def look(poll: int, stage_begins: bool) -> Bools:
            if stage_begins:
                evidence.start_stage()
            sides = [Moments(*(part[:, poll] for part in side)) for side in (data.canary, data.base)]
            evidence.update((sides[0], sides[1]))
            return np.asarray((evidence.log_e >= -np.log(alpha)) & (evidence.odds >= levels.odds))

        return _stops(look, data.stage, batch)

    return rule


def _stops(look: Callable[[int, bool], Bools], stage: Ints, batch: int) -> Ints:
    """The poll at which each rollout fails; looks no further once all have."""
    stops = np.full(batch, stage.size)
    before = -1
    for poll in range(stage.size):
        failed = look(poll, bool(stage[poll] != before))
        before = stage[poll]
        stops[failed & (stops == stage.size)] = poll
        if (stops < stage.size).all():
            break
    return stops


TOTALS = replace(PRESETS["default"], replicas=1.0)
"""Our default where a source does not count by replica."""

ERRORS: dict[str, Callable[[Errors], Ints]] = {
    "ours": error_rule(TOTALS),
    "ours, with replicas": error_rule(PRESETS["default"]),
    "ours, strict": error_rule(replace(PRESETS["strict"], replicas=1.0), PRESETS["strict"].alpha),
    "ours, fast": error_rule(replace(PRESETS["fast"], replicas=1.0), PRESETS["fast"].alpha),
    "ours, always guarded": error_rule(replace(TOTALS, bursts=Bursts.GUARD)),
    "ours, no guard (E3)": error_rule(PLAIN),
    "older second level (E2)": e2_rule,
}
LATENCY: dict[str, Callable[[Latency], Ints]] = {
    "ours": latency_rule(TOTALS),
    "ours, strict": latency_rule(PRESETS["strict"], PRESETS["strict"].alpha),
    "ours, fast": latency_rule(PRESETS["fast"], PRESETS["fast"].alpha),
}
MEANS: dict[str, Callable[[Means], Ints]] = {
    "ours": means_rule(TOTALS),
    "ours, strict": means_rule(PRESETS["strict"], PRESETS["strict"].alpha),
    "ours, fast": means_rule(PRESETS["fast"], PRESETS["fast"].alpha),
}
