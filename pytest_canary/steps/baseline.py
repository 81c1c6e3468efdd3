"""What "normal" is right now, and whether both sides serve the same model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_canary.errors import BaselineFailed, ModelMismatch, NoData
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Clock, MetricSource, Platform, Revision, Role, Sample
from pytest_canary.steps.deploy import PACE_SECONDS, Tick

PATIENCE = 10.0
"""How many times its own length the baseline window may take to collect its requests."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the stable build did in a recent window: ``counted`` is the window alone, not since its start."""

    counted: Sample
    seconds: float
    model: str | None = None
    polls: tuple[Sample, ...] = ()
    """The same counts poll by poll."""

    @property
    def requests(self) -> float:
        """Requests in the window."""
        return self.counted.counters.get("requests", 0.0)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        errors = self.counted.counters.get("errors", 0.0)
        latency = self.counted.histograms.get("latency")
        p99 = latency.quantile(0.99) if latency else None
        slow = f", p99 {p99 * 1000:.0f} ms" if p99 else ""
        model = f", model {self.model}" if self.model else ""
        bad = f"{errors:.0f} error" + ("" if errors == 1 else "s")
        return f"{self.requests:.0f} requests in {self.seconds:.1f} s, {bad}{slow}{model}"


def same_model(plan: Plan, platform: Platform, stable: Revision, canary: Revision) -> str | None:
    """Return the model version both sides report.

    Raises:
        ModelMismatch: ``same_model`` is asked for and the versions differ, or one side does not say.

    """
    stated_stable, stated_canary = plan.stated_models
    ours = stated_stable or platform.model(stable)
    theirs = stated_canary or platform.model(canary)
    if not plan.same_model or (ours is not None and ours == theirs):
        return ours
    if ours is None or theirs is None:
        silent = (
            "neither side says" if ours is theirs else f"the {'baseline' if ours is None else 'canary'} does not say"
        )
        raise ModelMismatch(
            f"{silent} which model version it serves, and unknown is not equal; "
            "state it (`model: {baseline: ..., canary: ...}`) or write `same_model: false`"
        )
    raise ModelMismatch(
        f"the baseline serves model {ours} and the canary {theirs}: their numbers cannot be compared; "
        "roll out the model by itself, or write `same_model: false`"
    )


def capture(source: MetricSource, clock: Clock, plan: Plan, tick: Tick) -> Baseline:
    """Count the stable build for the seconds and requests that ``plan`` asks for, as often as it polls.

    Raises:
        BaselineFailed: the requests did not come in ten times that time, or the source does not answer.

    """
    seconds, requests = plan.baseline_seconds, plan.baseline_requests
    start, first = clock.now(), _poll(source)
    last, polls = first, list[Sample]()
    while True:
        clock.sleep(min(plan.poll_seconds, max(start + seconds - clock.now(), PACE_SECONDS)))
        now = _poll(source)
        counted = now.since(first)
        if counted is None:  # its counters began anew
            start, first, last, polls = clock.now(), now, now, []
            continue
        step = now.since(last)
        polls += [step] if step is not None else []
        last, baseline = now, Baseline(counted, clock.now() - start, None, tuple(polls))
        if baseline.seconds >= seconds and baseline.requests >= requests:
            return baseline
        if baseline.seconds >= max(PATIENCE * seconds, 10.0):
            raise BaselineFailed(
                f"the stable build had {baseline.requests:.0f} requests in {baseline.seconds:.0f} s, expected at least "
                f"{requests}: there is too little traffic to know what is normal; lower `baseline.min_requests`"
            )
        left = max(0.0, seconds - baseline.seconds)
        tick(f"baseline: {baseline.requests:.0f} of {requests} requests, {left:.0f} s left")


def _poll(source: MetricSource) -> Sample:
    try:
        return source.poll([Role.BASELINE])[Role.BASELINE]
    except (NoData, KeyError) as error:
        raise BaselineFailed(f"the baseline cannot be read: {error}") from error


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
