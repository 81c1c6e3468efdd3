"""Move a share of the traffic, and see that the requests follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from pytest_canary.errors import NoData, SplitNotSeen
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Clock, Role, Sample, Weights
from pytest_canary.steps.deploy import PACE_SECONDS, Tick

ENOUGH = 40
"""Requests that a split is judged on; fewer only when traffic is so thin that the time runs out first."""
VERIFY_SECONDS = 20.0
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


def pace_of(plan: Plan) -> float:
    """Seconds between two looks at the split."""
    return max(PACE_SECONDS, plan.poll_seconds / POLLS_PER_LOOK)


Poll = Callable[[Sequence[Role]], Mapping[Role, Sample]]
"""How the counters are read: :meth:`~pytest_canary.ports.MetricSource.poll`, or something that guards it."""


def verify(poll: Poll, before: dict[Role, Sample], wanted: float, clock: Clock, pace: float, tick: Tick) -> Shifted:
    """Wait until the requests seen since ``before`` agree with ``wanted``, the canary's share; look every ``pace`` s.

    The tolerance is 4.5 standard deviations of a fair coin, and at least ten points; a split that varies less than a
    coin (round robin) agrees too.  The canary must have been seen, unless so few requests came that it is no surprise.
    No request at all is no disproof: the stage then ends by its deadline.

    Raises:
        SplitNotSeen: after 20 s the requests still disagree.

    """
    start = clock.now()
    while True:
        clock.sleep(pace)
        waited = clock.now() - start
        counted = _requests(poll, before)
        total = sum(counted.values())
        share = counted.get(Role.CANARY, 0.0) / total if total else None
        tolerance = max(0.1, 4.5 * sqrt(wanted * (1 - wanted) / total)) if total else 1.0
        agrees = share is not None and abs(share - wanted) <= tolerance and (share > 0 or wanted * total < 8)
        if agrees and ((total >= ENOUGH and share) or waited >= VERIFY_SECONDS):
            return Shifted(share, total, waited)
        if waited >= VERIFY_SECONDS:
            if share is None:
                return Shifted(None, 0.0, waited)
            raise SplitNotSeen(
                f"the router was told {wanted:.1%} for the canary and accepted it, but {share:.1%} of {total:.0f} "
                f"requests went there in {waited:.0f} s; see whether another rule, retry or sticky session decides"
            )
        tick(f"the split to be seen: {(share or 0.0):.1%} of {total:.0f} requests, {wanted:.1%} wanted")


def _requests(poll: Poll, before: dict[Role, Sample]) -> dict[Role, float]:
    """Requests per role since ``before``; a role whose counters began anew is counted from there on."""
    try:
        now = poll(list(before))
    except NoData:
        return {}
    counted = {}
    for role, sample in now.items():
        since = sample.since(before[role])
        if since is None:
            before[role] = sample
        counted[role] = since.counters.get("requests", 0.0) if since else 0.0
    return counted
