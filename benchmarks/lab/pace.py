"""How long a good build takes to 100 %: the judge and the decisions of a live run, on drawn counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.ports import Role, Sample
from pytest_canary.verdict import Judge, Step, decide

POLL_SECONDS = 5.0
SHARES = (0.05, 0.25, 0.50)
HOLD_SECONDS, LEAST, DEADLINE_SECONDS = 120.0, 500, 1800.0


def minutes_to_full(rate: float, base: float, allowances: tuple[float, ...], seed: int) -> float | None:
    """Minutes until the 100 % stage may begin, of a build like the baseline; None when it is stopped before.

    A stage ends at the first poll at which everything is proved, ``HOLD_SECONDS`` and ``LEAST`` requests are served.

    ``allowances`` is what each stage has to prove, as a multiple of what the gate allows: 4, 2, 1 proves 3x, 2x, 1.5x.
    """
    rng = np.random.default_rng(seed)
    found = metric("error_rate")
    assert found is not None
    gate = Gate("error_rate", found, Limits(ratio=1.5))
    judge = Judge([gate], len(SHARES) + 1)
    now, totals = 600.0, {Role.CANARY: [0, 0], Role.BASELINE: [0, 0]}
    polls = [_counted(rng, 0.0, rate, base, 1.0) for _ in range(120)]
    judge.capture(Sample(now, _sum([poll.counters for poll in polls])), polls)
    for index, share in enumerate(SHARES):
        begun, served = now, totals[Role.CANARY][0]
        samples = {role: _sample(now, counts) for role, counts in totals.items()}
        judge.start_stage(index, now, share, True, HOLD_SECONDS, LEAST, samples, allowance=allowances[index])
        while True:
            now += POLL_SECONDS
            for role, part in ((Role.CANARY, share), (Role.BASELINE, 1 - share)):
                requests = int(rng.poisson(rate * POLL_SECONDS * part))
                totals[role][0] += requests
                totals[role][1] += int(rng.binomial(requests, base))
            judge.observe({role: _sample(now, counts) for role, counts in totals.items()}, now)
            decision = decide(
                judge.verdicts(), elapsed=now - begun, requests=totals[Role.CANARY][0] - served, hold=HOLD_SECONDS,
                min_requests=LEAST, deadline=DEADLINE_SECONDS, pace="proof", when_undecided="rollback",
            )  # fmt: skip
            if decision.step is Step.STOP:
                return None
            if decision.step is Step.ADVANCE:
                break
    return (now - 600.0) / 60


def _counted(rng: np.random.Generator, at: float, rate: float, base: float, share: float) -> Sample:
    requests = int(rng.poisson(rate * POLL_SECONDS * share))
    return _sample(at, [requests, int(rng.binomial(requests, base))])


def _sample(at: float, counts: list[int]) -> Sample:
    return Sample(at, {"requests": float(counts[0]), "errors": float(counts[1]), "client_errors": 0.0})


def _sum(polls: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(poll[name] for poll in polls) for name in polls[0]}
