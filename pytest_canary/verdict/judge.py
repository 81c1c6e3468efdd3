"""Keeps the evidence of every gate over one rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates.values import Action, By, Gate, Kind, Metric
from pytest_canary.ports import Role, Sample
from pytest_canary.verdict.tally import StageTally, Totals, totals_of
from pytest_canary.verdict.values import Verdict

if TYPE_CHECKING:  # numpy loads with the first judge, not in every pytest run that has this package installed
    from pytest_canary.gates.finding import Finding
    from pytest_canary.gates.reading import Reading
    from pytest_canary.gates.watch import Watch


class Judge:
    """Keeps the evidence of every gate over one rollout, and says at any poll what each finds.

    Counters go in as samples; a role that is missing, or whose counters went back, adds nothing for that time.
    """

    def __init__(self, gates: Sequence[Gate], stages: int) -> None:
        from pytest_canary.gates.watch import Watch

        self._stages = stages
        self._watches: list[Watch] = [Watch(gate, stages) for gate in gates]
        self._captured = Sample(0.0)
        self._frozen = Sample(0.0)
        self._stage: StageTally | None = None

    def capture(self, baseline: Sample) -> None:
        """Learn what is normal from the counts of a window before the ramp, and choose latency boundaries from it.

        Raises:
            BaselineFailed: a histogram cannot resolve a gate; the text names the boundary to add.

        """
        self._captured = self._frozen = baseline
        for watch in self._watches:
            self._capture(watch)

    def _capture(self, watch: Watch) -> None:
        wrong = watch.capture(_reading(watch.gate.metric, self._captured) or _nothing())
        if wrong:
            place = f"{watch.gate.where}: " if watch.gate.where else ""
            raise BaselineFailed(f"{place}{watch.gate.name} cannot be judged: {wrong}")

    def start_stage(
        self,
        index: int,
        at: float,
        share: float,
        compared: bool,
        hold_seconds: float,
        min_requests: int,
        samples: Mapping[Role, Sample],
        label: str = "",
    ) -> None:
        """Begin the stage ``index``: its traffic was set at ``at``, ``samples`` are the counters from which it counts.

        ``compared`` says whether the baseline serves beside the canary; ``label`` stands in sentences, the share by
        default.
        """
        before = self._stage
        if before is not None and before.compared and before.total(Role.BASELINE).counters.get("requests"):
            self._frozen = before.total(Role.BASELINE)
        label = label or f"{share * 100:g}%"
        self._stage = StageTally(index, at, share, compared, hold_seconds, min_requests, label, samples)
        for watch in self._watches:
            self._enter(watch, self._stage)

    def _enter(self, watch: Watch, stage: StageTally) -> None:
        from pytest_canary.gates.reading import Window

        watch.start_stage(
            Window(
                stage.index, stage.at, stage.share, stage.compared, stage.hold_seconds, stage.min_requests,
                frozen=_reading(watch.gate.metric, self._frozen) or _nothing(),
                captured=_reading(watch.gate.metric, self._captured) or _nothing(),
            )
        )  # fmt: skip

    def add(self, gate: Gate) -> None:
        """Take in a gate that appears at this stage; what the stage has counted so far counts for it too.

        Raises:
            BaselineFailed: a histogram cannot resolve it.

        """
        from pytest_canary.gates.watch import Watch

        stage = self._stage
        watch = Watch(gate, self._stages - (stage.index if stage else 0))
        self._capture(watch)
        self._watches.append(watch)
        if stage is not None:
            self._enter(watch, stage)
            for since, increments in stage.polls:
                _feed(watch, increments, since)

    def observe(self, samples: Mapping[Role, Sample], at: float) -> None:
        """Take in one poll; before the first stage it is passed over."""
        if self._stage is None:
            return
        since, increments = self._stage.observe(samples, at)
        for watch in self._watches:
            _feed(watch, increments, since)

    def verdicts(self) -> tuple[Verdict, ...]:
        """What every gate that gates at the current stage says now."""
        stage = self._stage
        if stage is None:
            return ()
        served = stage.elapsed >= stage.hold_seconds and self.requests >= stage.min_requests
        asked = [watch for watch in self._watches if watch.gate.gates(stage.index)]
        return tuple(_verdict(watch.gate, stage, watch.finding(served)) for watch in asked)

    @property
    def requests(self) -> int:
        """Canary requests at the current stage."""
        return int(self._stage.total(Role.CANARY).counters.get("requests", 0.0)) if self._stage else 0

    def stage_counts(self) -> dict[Role, Totals]:
        """What each role that was seen has counted at the current stage."""
        return {role: totals_of(total) for role, total in self._stage.totals.items()} if self._stage else {}


def _verdict(gate: Gate, stage: StageTally, found: Finding) -> Verdict:
    return Verdict(
        gate.name, stage.index, found.status, found.by, found.canary, found.baseline, found.limit, found.ratio,
        found.interval, found.evidence, found.odds, gate.alpha, found.harmless, found.by is By.PROOF,
        found.needed, gate.action is Action.ALERT, f"{gate.name}[{stage.label}]: {found.says}",
    )  # fmt: skip


def _feed(watch: Watch, increments: Mapping[Role, Sample], since: float) -> None:
    metric = watch.gate.metric
    read = {role: _reading(metric, increment) for role, increment in increments.items()}
    watch.observe(read.get(Role.CANARY), read.get(Role.BASELINE), since)


def _reading(metric: Metric, sample: Sample) -> Reading | None:
    """What ``sample`` says about ``metric``; None where the source does not count it."""
    from pytest_canary.gates.reading import Reading

    if metric.kind is Kind.RATE:
        if metric.total not in sample.counters or metric.events not in sample.counters:
            return None
        return Reading(sample.counters[metric.total], sample.counters[metric.events])
    histogram = sample.histograms.get(metric.histogram)
    return None if histogram is None else Reading(histogram.number, 0.0, histogram.bounds, histogram.counts)


def _nothing() -> Reading:
    from pytest_canary.gates.reading import Reading

    return Reading()
