"""Move a share of the traffic, and see that the requests follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from pytest_canary.errors import NoData, SplitNotSeen
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Clock, MetricSource, Role, Sample, Weights
from pytest_canary.steps.deploy import PACE_SECONDS, Tick

ENOUGH = 40
"""Requests that a split is judged on; fewer only when traffic is so thin that the time runs out first."""
VERIFY_SECONDS = 20.0
FRESH_SECONDS = 0.3
"""What was counted up to so long before a shift is as good as counted at it."""
VERIFY_INTERVALS = 4
"""A source that tells of the past is given as many of its own intervals."""
POLLS_PER_LOOK = 5
"""A split is looked at more often than gates are, but a slow source is not asked ten times a second."""


@dataclass(frozen=True, slots=True)
class Shifted:
    """The split that was seen: share of the canary, among how many requests, and the seconds it took to see it."""

    share: float | None
    requests: float
    seconds: float

    def __str__(self) -> str:
        if self.share is None:
            return f"no request in {self.seconds:.1f} s, split not seen"
        return f"{self.share * 100:.1f}% of {self.requests:.0f} requests seen on the canary after {self.seconds:.1f} s"


def weights_of(plan: Plan, stage: Stage) -> Weights:
    """The weights of ``stage``; at 100 % the holdback stays on the baseline.

    A control has as much as the canary while both have room, above 50 % what is left, and nothing at 100 %.
    """
    canary = min(stage.weight, 1.0 - plan.holdback)
    left = 1.0 - canary
    if not plan.control:
        return {Role.BASELINE: left, Role.CANARY: canary}
    control = 0.0 if stage.weight >= 1.0 else min(canary, left)
    return {Role.BASELINE: left - control, Role.CONTROL: control, Role.CANARY: canary}


def patience(source: MetricSource) -> float:
    """Seconds that a split may take until ``source`` has seen it."""
    return max(VERIFY_SECONDS, VERIFY_INTERVALS * (source.interval_seconds or 0.0))


def pace_of(plan: Plan) -> float:
    """Seconds between two looks at the split."""
    return max(PACE_SECONDS, plan.poll_seconds / POLLS_PER_LOOK)


Poll = Callable[[Sequence[Role]], Mapping[Role, Sample]]
"""How the counters are read: :meth:`~pytest_canary.ports.MetricSource.poll`, or something that guards it."""


def verify(
    poll: Poll,
    before: Mapping[Role, Sample],
    wanted: float,
    clock: Clock,
    pace: float,
    tick: Tick,
    seconds: float = VERIFY_SECONDS,
) -> Shifted:
    """Wait until the requests seen since ``before`` agree with ``wanted``, the canary's share; look every ``pace`` s.

    Where ``before`` was old when the weights moved, requests count from the first look that is newer than the shift.
    The tolerance is 4.5 standard deviations of a fair coin, and at least ten points; a split that varies less than a
    coin (round robin) agrees too.  The canary must have been seen, unless so few requests came that it is no surprise.
    No request at all is no disproof: the stage then ends by its deadline.

    Raises:
        SplitNotSeen: after ``seconds`` the requests still disagree.

    """
    start = clock.now()
    base = {role: sample for role, sample in before.items() if sample.at >= start - FRESH_SECONDS}
    while True:
        clock.sleep(pace)
        waited = clock.now() - start
        counted = _requests(poll, base, list(before), start)
        total = sum(counted.values())
        share = counted.get(Role.CANARY, 0.0) / total if total else None
        told = split_seen(counted.get(Role.CANARY, 0.0), total, wanted, out_of_time=waited >= seconds)
        if told:
            return Shifted(share, total, waited)
        if told is False and share is not None:
            raise SplitNotSeen(
                f"the router was told {wanted:.1%} for the canary and accepted it, but {share:.1%} of {total:.0f} "
                f"requests went there in {waited:.0f} s; see whether another rule, retry or sticky session decides",
                share,
            )
        tick(f"the split to be seen: {(share or 0.0):.1%} of {total:.0f} requests, {wanted:.1%} wanted")


def split_seen(canary: float, total: float, wanted: float, *, out_of_time: bool) -> bool | None:
    """Whether ``canary`` of ``total`` requests agree with the share that is ``wanted``; None while that is open.

    No request at all is no disproof once the time is out.
    """
    if not total:
        return True if out_of_time else None
    share, tolerance = canary / total, max(0.1, 4.5 * sqrt(wanted * (1 - wanted) / total))
    agrees = abs(share - wanted) <= tolerance and (share > 0 or wanted * total < 8)
    if agrees and ((total >= ENOUGH and share) or out_of_time):
        return True
    return False if out_of_time else None


def _requests(poll: Poll, base: dict[Role, Sample], roles: Sequence[Role], start: float) -> dict[Role, float]:
    """Requests per role since ``base``, none before all of it is newer than ``start``; learns and mends ``base``.

    A role whose counters began anew is counted from there on.
    """
    try:
        now = poll(roles)
    except NoData:
        return {}
    whole = set(roles) <= set(base)
    if not whole:
        base |= {role: sample for role, sample in now.items() if sample.at >= start}
        return {}
    counted = {}
    for role, sample in now.items():
        since = sample.since(base[role])
        if since is None:
            base[role] = sample
        counted[role] = max(since.of_users, 0.0) if since else 0.0
    return counted
