"""What "normal" is right now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pytest_canary.errors import BaselineFailed, ModelMismatch, NoData
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Clock, MetricSource, Platform, Revision, Role, Sample
from pytest_canary.steps.deploy import PACE_SECONDS, Tick

PATIENCE = 10.0
"""How many times its own length the baseline window may take to collect its requests."""
SILENT_SECONDS = 30.0
"""How long nothing may be told of the stable build: a service that was quiet is counted from its next scrape on."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the stable build did in a recent window: ``counted`` is the window alone, not since its start."""

    counted: Sample
    seconds: float
    model: str | None = None
    """The model that the stable build serves; None where nobody says."""
    served: str = ""
    """The models of both sides, and who says so, in words."""
    polls: tuple[Sample, ...] = ()
    """The same counts poll by poll."""

    @property
    def requests(self) -> float:
        """Requests of users in the window."""
        return max(self.counted.of_users, 0.0)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        errors = self.counted.counters.get("errors", 0.0)
        latency = self.counted.histograms.get("latency")
        p99 = latency.quantile(0.99) if latency else None
        slow = f", p99 {p99 * 1000:.0f} ms" if p99 else ""
        bad = f"{errors:.0f} error" + ("" if errors == 1 else "s")
        served = f", {self.served}" if self.served else ""
        return f"{self.requests:.0f} requests in {self.seconds:.1f} s, {bad}{slow}{served}"


def same_as_measured(plan: Plan, platform: Platform, stable: Revision) -> None:
    """See that the file under ``baseline`` tells of the model that the stable build serves.

    Builds say ``id@version``; a tool was told the one or the other.

    Raises:
        ModelMismatch: ``same_model`` is asked for, and it tells of another one or does not say.

    """
    if plan.measured is None or not (plan.models.same and plan.models.served):
        return
    stated = plan.models.of(Role.BASELINE)
    ours = (stated.text if stated is not None else "") or platform.model(stable)
    file, theirs = plan.measured.name, plan.measured.model
    if ours is not None and theirs in (ours, *ours.split("@", 1)):
        return
    if ours is None or theirs is None:
        silent = f"{file} does not say which model it was measured on"
        silent = silent if theirs is None else "the stable build does not say which model it serves"
        mend = "`baseline: {file: ..., model: NAME}`" if theirs is None else "`model: {baseline: ..., canary: ...}`"
        raise ModelMismatch(f"{silent}, and unknown is not equal; state it ({mend}) or write `same_model: false`")
    raise ModelMismatch(
        f"{file} was measured on model {theirs}, and the stable build serves {ours}; measure that one, or where it is "
        f"another name of the same, write `baseline: {{file: {file}, model: {ours}}}`"
    )


def capture(
    source: MetricSource, clock: Clock, plan: Plan, tick: Tick, heard: Callable[[float, Sample], None] | None = None
) -> Baseline:
    """Count the stable build for the seconds and requests that ``plan`` asks for, as often as it polls.

    ``heard`` is told of every poll, and when on the clock it was.

    Raises:
        BaselineFailed: the requests did not come in ten times that time, or the source tells nothing for half a minute.

    """
    seconds, requests = plan.baseline_seconds, plan.baseline_requests
    heard = heard or (lambda *_: None)
    first, start = _poll(source, clock, tick), clock.now()
    last, polls = first, list[Sample]()
    heard(start, first)
    while True:
        clock.sleep(min(plan.poll_seconds, max(start + seconds - clock.now(), PACE_SECONDS)))
        now, at = _poll(source, clock, tick), clock.now()
        heard(at, now)
        counted = now.since(first)
        if counted is None:  # its counters began anew
            start, first, last, polls = at, now, now, []
            continue
        step = now.since(last)
        polls += [step] if step is not None else []
        last, baseline = now, Baseline(counted, at - start)
        if baseline.seconds >= seconds and baseline.requests >= requests:
            return replace(baseline, polls=tuple(polls))
        if baseline.seconds >= longest(seconds):
            raise BaselineFailed(
                f"the stable build had {baseline.requests:.0f} requests in {baseline.seconds:.0f} s, expected at least "
                f"{requests}: there is too little traffic to know what is normal; lower `baseline.min_requests`"
            )
        left = max(0.0, seconds - baseline.seconds)
        tick(f"baseline: {baseline.requests:.0f} of {requests} requests, {left:.0f} s left")


def longest(seconds: float) -> float:
    """How long a window of ``seconds`` may take to collect its requests."""
    return max(PATIENCE * seconds, 10.0)


def _poll(source: MetricSource, clock: Clock, tick: Tick) -> Sample:
    asked = clock.now()
    while True:
        try:
            return source.poll([Role.BASELINE])[Role.BASELINE]
        except (NoData, KeyError) as error:
            if clock.now() - asked >= SILENT_SECONDS:
                raise BaselineFailed(f"the baseline cannot be read: {error}") from error
            tick(f"the source to tell of the stable build: {error}")
        clock.sleep(1.0)


def fits(stages: Sequence[Stage], rate: float) -> list[str]:
    """Each stage's least time at ``rate`` requests per second, in words.

    Raises:
        BaselineFailed: a stage cannot have its ``min_requests`` before its deadline at this traffic.

    """
    lines = list[tuple[str, str]]()
    for stage in stages:
        needed = stage.min_requests / (rate * stage.weight) if rate > 0 else float("inf")
        if stage.deadline_seconds is not None and needed > stage.deadline_seconds:
            possible = int(rate * stage.weight * stage.deadline_seconds)
            wait = "no deadline would do" if needed == float("inf") else f"`deadline: {needed * 1.2:.0f}s`"
            raise BaselineFailed(
                f"stage {stage} can never pass: {stage.min_requests} canary requests take {needed:.0f} s at "
                f"{rate:.3g} requests/s, and its deadline is {stage.deadline_seconds:g} s; "
                f"write {wait} or `min_requests: {possible}`"
            )
        lines.append((str(stage), f"about {max(stage.hold_seconds, needed):.0f} s"))
    if len({time for _, time in lines}) == 1:
        return [f"every stage {lines[0][1]}"]
    return [f"{stage} {time}" for stage, time in lines]
