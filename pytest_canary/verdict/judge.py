"""Keeps the evidence of every gate over one rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates.values import Action, By, Gate
from pytest_canary.ports import Role, Sample
from pytest_canary.verdict.sides import Sides
from pytest_canary.verdict.tally import StageTally, Totals, sound, totals_of
from pytest_canary.verdict.values import Verdict

if TYPE_CHECKING:  # numpy loads with the first judge, not in every pytest run that has this package installed
    from pytest_canary.gates.finding import Finding
    from pytest_canary.gates.watch import Watch
    from pytest_canary.verdict.guards import ControlGuard, SplitGuard


class Judge:
    """Keeps the evidence of every gate over one rollout, and says at any poll what each finds.

    Counters go in as samples; a role that is missing, or whose counters went back, adds nothing for that time.
    """

    def __init__(self, gates: Sequence[Gate], stages: int) -> None:
        # All that judging takes is loaded before users are at stake: a signal does not like to meet an import.
        from pytest_canary.gates.watch import Watch
        from pytest_canary.verdict import guards, noise, readings  # noqa: F401

        self._stages = stages
        self._watches: list[Watch] = [Watch(gate, stages) for gate in gates]
        self._captured = Sample(0.0)
        self._normal: Sequence[Sample] = ()
        self._frozen = Sample(0.0)
        self._split: SplitGuard | None = None
        self._control: ControlGuard | None = None
        self._stage: StageTally | None = None

    def capture(self, baseline: Sample, polls: Sequence[Sample] = ()) -> None:
        """Learn what is normal from the counts of a window before the ramp, and choose latency boundaries from it.

        ``polls`` are the same counts poll by poll: whether events come in bursts shows there.

        Raises:
            BaselineFailed: a histogram cannot resolve a gate; the text names the boundary to add.

        """
        self._captured = self._frozen = _numbers(baseline)
        self._normal = tuple(clean for poll in polls if (clean := sound(poll)) is not None)
        for watch in self._watches:
            self._capture(watch)

    def foresee(self, baseline: Sample) -> None:
        """See from what the stable build has counted so far whether every gate can be judged; nothing is kept.

        Raises:
            BaselineFailed: one cannot, whatever the canary does.

        """
        from pytest_canary.gates.watch import Watch

        counted = _numbers(baseline)
        counted_by_now = [watch.gate for watch in self._watches if not watch.gate.metric.probed]
        wrong = [unresolved(Watch(gate, self._stages), counted) for gate in counted_by_now]
        if any(wrong):
            raise BaselineFailed("; ".join(one for one in wrong if one))

    def notes(self) -> list[str]:
        """How gates are judged where that is not just as they were written."""
        from pytest_canary.verdict.noise import told

        gates = [watch.gate for watch in self._watches]
        return [note for watch in self._watches for note in watch.notes()] + told(gates, self._captured, self._normal)

    def _capture(self, watch: Watch) -> None:
        from pytest_canary.verdict.noise import noisy
        from pytest_canary.verdict.readings import latency_of, reading_of

        wrong = unresolved(watch, self._captured) or _unjudged(
            watch.gate, noisy(watch.gate, self._captured, self._normal)
        )
        if wrong:
            raise BaselineFailed(wrong)
        watch.patience(latency_of(self._captured))
        for poll in self._normal:
            reading = reading_of(watch.gate, poll)
            if reading is not None:
                watch.normal(reading)

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
        allowance: float = 1.0,
        young_seconds: float = 0.0,
    ) -> None:
        """Begin the stage ``index``: its traffic was set at ``at``, ``samples`` are the counters from which it counts.

        ``compared`` says whether the baseline serves beside the canary; ``label`` stands in sentences, the share by
        default, after whose it is where that is not the canary's; ``allowance`` is how many times what a gate allows
        proof must exclude at this stage.
        For ``young_seconds`` after ``at`` gates compare with the control alone, where there is one.
        """
        before = self._stage
        if before is not None and before.compared and before.normal.counters.get("requests"):
            self._frozen = before.normal
        label = label or f"{share * 100:g}%"
        self._stage = StageTally(index, at, share, compared, hold_seconds, min_requests, label, samples, allowance)
        self._stage.young_until = at + young_seconds
        self._split = None
        for watch in self._watches:
            self._enter(watch, self._stage)

    def _enter(self, watch: Watch, stage: StageTally) -> None:
        from pytest_canary.gates.reading import Window
        from pytest_canary.verdict.readings import reading_or_nothing

        watch.start_stage(
            Window(
                stage.index, stage.at, stage.share, stage.compared or watch.gate.metric.probed,
                stage.hold_seconds, stage.min_requests,
                frozen=reading_or_nothing(watch.gate, self._frozen),
                captured=reading_or_nothing(watch.gate, self._captured),
                allowance=stage.allowance,
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
            for since, seen_at, increments in stage.polls:
                _feed(watch, stage.compared_with(increments, seen_at), increments, since, seen_at)

    def observe(self, samples: Mapping[Role, Sample], at: float) -> None:
        """Take in one poll; before the first stage it is passed over."""
        if self._stage is None:
            return
        since, increments = self._stage.observe(samples, at)
        for watch in self._watches:
            _feed(watch, self._stage.compared_with(increments, at), increments, since, self._stage.seen_at)
        if self._split is not None:
            self._split.observe(increments, since, self._stage.spans)
        if Role.CONTROL in increments:
            self._control_guard().observe(increments)

    def _control_guard(self) -> ControlGuard:
        from pytest_canary.verdict.guards import ControlGuard

        self._control = self._control or ControlGuard(self._captured)
        return self._control

    def split_seen(self) -> None:
        """The split of this stage has been verified; from here on it is watched."""
        from pytest_canary.verdict.guards import SplitGuard

        if self._stage is not None:
            self._split = SplitGuard(self._stage.share, self._stage.at, self._captured)

    def wrong(self) -> str:
        """What makes any comparison worthless, in one line; empty while nothing does."""
        guards = (self._split, self._control)
        return self.sides.said(next((guard.wrong for guard in guards if guard is not None and guard.wrong), ""))

    @property
    def sides(self) -> Sides:
        """What the two sides are called at the current stage."""
        return Sides.of(self._stage.label) if self._stage else Sides()

    def verdicts(self) -> tuple[Verdict, ...]:
        """What every gate that gates at the current stage says now."""
        stage = self._stage
        if stage is None:
            return ()
        served = stage.elapsed >= stage.hold_seconds and self.requests >= stage.min_requests
        asked = [watch for watch in self._watches if watch.gate.gates(stage.index)]
        return tuple(_verdict(watch.gate, stage, watch.finding(served, stage.elapsed)) for watch in asked)

    @property
    def requests(self) -> int:
        """Requests of users that the canary has answered at the current stage."""
        return int(max(self._stage.total(Role.CANARY).of_users, 0.0)) if self._stage else 0

    def stage_counts(self) -> dict[Role, Totals]:
        """What each role that was seen has counted at the current stage."""
        return {role: totals_of(total) for role, total in self._stage.totals.items()} if self._stage else {}


def _numbers(baseline: Sample) -> Sample:
    clean = sound(baseline)
    if clean is None:
        raise BaselineFailed("the baseline cannot be read: some of its counters are no numbers; see the metric source")
    return clean


def unresolved(watch: Watch, baseline: Sample) -> str | None:
    """Why the gate of ``watch`` cannot be judged against ``baseline``, in one line; None when it can."""
    from pytest_canary.verdict.readings import missing_labels, reading_or_nothing, uncounted

    wrong = uncounted(watch.gate, baseline) or missing_labels(watch.gate, baseline)
    wrong = wrong or watch.capture(reading_or_nothing(watch.gate, baseline))
    if wrong and watch.gate.preset:
        wrong = f"{wrong}; `{watch.gate.name}: off` under `gates` leaves it out of `{watch.gate.preset}`"
    return _unjudged(watch.gate, wrong)


def _unjudged(gate: Gate, wrong: str | None) -> str | None:
    place = f"{gate.where}: " if gate.where else ""
    return f"{place}{gate.name} cannot be judged: {wrong}" if wrong else None


def _verdict(gate: Gate, stage: StageTally, found: Finding) -> Verdict:
    pace = found.canary.requests / stage.elapsed if stage.elapsed > 0 else 0.0
    sides = Sides.of(stage.label)
    says = f"{found.says}; counted by probes" if gate.metric.probed else found.says
    return Verdict(
        gate.name, stage.index, found.status, found.by, found.canary, found.baseline, found.limit, found.ratio,
        found.interval, found.evidence, found.odds, gate.alpha, found.harmless, found.by is By.PROOF,
        found.needed, gate.action is Action.ALERT, f"{gate.name}[{stage.label}]: {sides.said(says)}",
        found.needed / pace if found.needed is not None and pace else None, sides.judged, gate.metric.of,
    )  # fmt: skip


def _feed(watch: Watch, reference: Sample | None, increments: Mapping[Role, Sample], since: float, at: float) -> None:
    from pytest_canary.verdict.readings import reading_of

    canary, baseline = (
        reading_of(watch.gate, sample) if sample is not None else None
        for sample in (increments.get(Role.CANARY), reference)
    )
    watch.observe(canary, baseline, since, at)
