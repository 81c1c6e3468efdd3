"""The rules of other tools, looking at the same batches of rollouts as ours.

Each peer has its friendliest configuration: a ratio of canary to concurrent baseline, with our gate as its limit.
The ladder of stages is given, so a check that fails does not make Flagger wait and Iter8 moves no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import NormalDist
from typing import Literal

import numpy as np

from lab.kayenta import judge_all, score
from lab.series import ErrorRule, Errors, Floats, Ints, Latency, LatencyRule, Means, MeansRule
from lab.windows import Bools, Comparison, first, of_errors, of_latency, of_means, stages

Rule = Callable[[Comparison], Ints]
Phase = Literal["Successful", "Failed", "Inconclusive", "Error"]

ERRORS_RATIO, P99_RATIO, MEAN_RATIO = 1.5, 1.2, 1.2
MINUTE = 60.0
_AT_ONCE = 64
"""Rollouts whose histograms are looked at together, so that a large batch fits into memory."""


def old_script(data: Comparison, requests: int = 500, base_requests: int = 50) -> Ints:
    """A deploy script's point rule: the stage's counts so far, once when there are enough, and when the stage ends.

    A baseline without errors counts as 0.1 %.  Without the minimum numbers of requests nothing is decided.
    """
    answer = np.full(len(data.canary), data.polls)
    rows = np.arange(len(data.canary))
    for start, end in stages(data.stage):
        canary, base = (side[:, start + 1 : end + 1, -1] - side[:, start, None, -1] for side in _sides(data))
        enough = (canary >= requests) & (base >= base_requests)
        at_first = np.where(enough.any(axis=1), enough.argmax(axis=1), end - start - 1)
        for at in (at_first, np.full(len(rows), end - start - 1)):
            mine, theirs = (side[rows, start + at + 1] - side[:, start] for side in _sides(data))
            bad = data.worse(mine, theirs, data.floor)
            answer = np.minimum(answer, np.where(bad & enough[rows, at], start + at, data.polls))
    return answer


def argo_phase(
    value: float | None,
    success: Callable[[float], bool] | None = None,
    failure: Callable[[float], bool] | None = None,
) -> Phase:
    """One measurement of Argo Rollouts; None is an empty result: `utils/evaluate/evaluate.go`, EvaluateResult."""
    if success is None and failure is None:
        return "Successful"
    if value is None:
        return "Error"  # the condition's result[0] is out of range
    if failure(value) if failure else not (success and success(value)):
        return "Failed"
    return "Inconclusive" if success and not success(value) else "Successful"


def argo_end(phases: Sequence[Phase], failure_limit: int = 0, error_limit: int = 4) -> tuple[int, Phase] | None:
    """After which measurement a metric without a count ends, and how: `analysis/analysis.go`, assessMetricStatus."""
    failed = errors = 0
    for number, phase in enumerate(phases):
        failed += phase == "Failed"
        errors = errors + 1 if phase == "Error" else 0
        if errors > error_limit or failed > failure_limit or phase == "Inconclusive":
            return number, phase
    return None


def argo(data: Comparison, failure_limit: int) -> Ints:
    """Argo Rollouts: `interval: 1m`, `initialDelay: 1m`, no `count`, the last minute's ratio.

    The condition is the friendlier of the two documented ones, ``failureCondition: result[0] > limit``: what is not a
    number (0/0, no requests) is then "Successful".  With ``successCondition: result[0] <= limit`` it is "Failed", and
    a baseline without errors would roll back good builds.  An empty result does not occur: every series exists.
    Each stage has an analysis of its own (an inline `analysis` step), so failures are counted from 0 in each, which
    is friendlier than a background analysis: `analysis/analysis.go`, assessMetricStatus; see `argo_phase`, `argo_end`.
    """
    ticks = data.ticks(MINUTE)
    failed = data.worse(*data.last(ticks, MINUTE)).astype(np.int64)
    over = np.zeros(failed.shape, dtype=bool)
    for index in np.unique(data.stage):
        here = data.stage[ticks] == index
        over[:, here] = np.cumsum(failed[:, here], axis=1) > failure_limit
    return first(over, ticks, data.polls)


def flagger(data: Comparison, threshold: int) -> Ints:
    """Flagger, `interval: 1m`, `threshold` failed checks: `pkg/controller/scheduler.go`, advanceCanary.

    Failed checks are never forgotten.  The limit is compared at the start of the next tick, but a failed check also
    keeps Flagger from advancing, which this given ladder does not; so it acts at once here, which is friendlier than
    to charge it for a share that it would not have given.  A side without requests is a failed check
    (ErrNoValuesFound).  The query is the friendliest, canary less limit times baseline, at most 0: no errors on
    either side then pass, where their ratio would be no value and fail.
    """
    ticks = data.ticks(MINUTE)
    canary, base = data.last(ticks, MINUTE)
    failed = data.worse(canary, base) | (canary[..., -1] == 0) | (base[..., -1] == 0)
    reached = np.cumsum(failed, axis=1) >= threshold
    return first(reached, ticks, data.polls)


def kayenta(data: Comparison) -> Ints:
    """Kayenta at the end of each stage over the stage's minutes: `NetflixACAJudge`; see `lab.kayenta`.

    One metric, `direction: increase`, `allowedIncrease` our gate; rolls back unless it gets full marks.  What is left
    of a last minute is not a point, unless there is no other.
    """
    answer = np.full(len(data.canary), data.polls)
    for start, end in stages(data.stage):
        edges = np.arange(start, end + 1, data.width(MINUTE))
        edges = edges if len(edges) > 1 else np.array([start, end])
        canary, base = (data.value(np.diff(side[:, edges], axis=1)) for side in _sides(data))
        labels = judge_all(canary, base, data.limit)
        bad = np.array([score([label]) < 100 for label in labels], dtype=bool)
        answer = np.minimum(answer, np.where(bad, end - 1, data.polls))
    return answer


def iter8(data: Comparison, seconds: float = 20.0, iterations: int = 15) -> Ints:
    """Iter8 v2: `iter8_analytics/api/v2/experiment.py` and the defaults of `etc3/api/v2alpha2/defaults.go`.

    Looks every 20 s at the mean of all requests so far, 15 times; the candidate wins when it meets its objective, here
    the gate times the baseline's mean, and a missing value does not meet it.  There is no rollback: a candidate that
    is not the winner at the finish counts as rolled back at that poll, since the finish action puts the winner in.
    Only the last look decides, and nothing is looked at after it.
    """
    finish = data.ticks(seconds)[:iterations][-1:]
    canary, base = (side[:, finish + 1] for side in _sides(data))
    lost = data.worse(canary, base) | (canary[..., -1] == 0) | (base[..., -1] == 0)
    return first(lost, finish, data.polls)


def ring_buffer(data: Comparison, size: int = 50) -> Ints:
    """An in-process evaluator of hand-written canaries: the last requests of each side, compared at every poll.

    Which requests of a poll came last is not known, so whole polls are taken, backwards, until there are enough; with
    more than ``size`` requests a poll this is friendlier than the real thing.  No decision before both are full.
    """
    answer, polls = np.full(len(data.canary), data.polls), np.arange(data.polls)
    for row in range(len(data.canary)):
        full, windows = np.ones(data.polls, dtype=bool), list[Floats]()
        for side in _sides(data):
            served = side[row, :, -1]
            start = np.searchsorted(served, served[1:] - size, side="right") - 1
            full &= start >= 0
            windows.append(side[row, 1:] - side[row, np.maximum(start, 0)])
        bad: Bools = data.worse(windows[0], windows[1]) & full
        answer[row] = first(bad[None], polls, data.polls)[0]
    return answer


def z_test(data: Comparison, seconds: float = 5.0, alpha: float = 0.01) -> Ints:
    """The textbook's pooled z test of two proportions, one-sided, looked at again and again as if for the first time.

    Rolls back when it is significant on all requests so far and the ratio is at least the gate.
    """
    ticks = data.ticks(seconds)
    (errors, requests), (base_errors, base_requests) = (np.moveaxis(side[:, ticks + 1], -1, 0) for side in _sides(data))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate, base_rate = errors / requests, base_errors / base_requests
        pooled = (errors + base_errors) / (requests + base_requests)
        z = (rate - base_rate) / np.sqrt(pooled * (1 - pooled) * (1 / requests + 1 / base_requests))
    bad = (z >= NormalDist().inv_cdf(1 - alpha)) & (rate >= data.limit * base_rate * (1 - 1e-9))
    return first(bad, ticks, data.polls)


def _sides(data: Comparison) -> tuple[Floats, Floats]:
    return data.canary, data.base


def _on_errors(rule: Rule) -> ErrorRule:
    def decide(data: Errors) -> Ints:
        return rule(of_errors(data, ERRORS_RATIO))

    return decide


def _on_latency(rule: Rule) -> LatencyRule:
    def decide(data: Latency) -> Ints:
        parts = [slice(start, start + _AT_ONCE) for start in range(0, len(data.canary), _AT_ONCE)]
        return np.concatenate([rule(of_latency(data, P99_RATIO, rows)) for rows in parts])

    return decide


def _on_means(rule: Rule) -> MeansRule:
    def decide(data: Means) -> Ints:
        return rule(of_means(data, MEAN_RATIO))

    return decide


_EVERYWHERE: dict[str, Rule] = {
    "old script": old_script,
    "Argo Rollouts, failureLimit 0": partial(argo, failure_limit=0),
    "Argo Rollouts, failureLimit 3": partial(argo, failure_limit=3),
    "Flagger, 5 failed checks": partial(flagger, threshold=5),
}
_FLAGGER_10: dict[str, Rule] = {"Flagger, 10 failed checks": partial(flagger, threshold=10)}
_KAYENTA: dict[str, Rule] = {"Kayenta": kayenta}
_RING: dict[str, Rule] = {"ring buffer of 50": ring_buffer}
_COUNTED: dict[str, Rule] = {"Iter8": iter8, **_RING, "z test, every 5 s": z_test}

ERRORS: dict[str, ErrorRule] = {
    name: _on_errors(rule) for name, rule in {**_EVERYWHERE, **_FLAGGER_10, **_KAYENTA, **_COUNTED}.items()
}
"""Error rate, by printed name."""
LATENCY: dict[str, LatencyRule] = {
    name: _on_latency(rule) for name, rule in {**_EVERYWHERE, **_FLAGGER_10, **_KAYENTA, **_RING}.items()
}
"""p99 interpolated in its bucket; Iter8 has no quantile of its own, and a z test none of a quantile."""
MEANS: dict[str, MeansRule] = {name: _on_means(rule) for name, rule in {**_EVERYWHERE, **_KAYENTA}.items()}
"""Mean of a value per request."""
