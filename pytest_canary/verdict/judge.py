"""Keeps the evidence of every gate over one rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_canary.errors import BaselineFailed
from pytest_canary.gates.values import Action, By, Gate
from pytest_canary.ports import Foreseen, Role, Sample
from pytest_canary.verdict.decision import decide, still_waits
from pytest_canary.verdict.sides import Sides
from pytest_canary.verdict.values import Decision, Totals, Verdict

if TYPE_CHECKING:  # numpy loads with the first judge, not in every pytest run that has this package installed
    from pytest_canary.gates.finding import Finding
    from pytest_canary.verdict.ahead import Ahead
    from pytest_canary.verdict.frame import Frame
    from pytest_canary.verdict.tally import StageTally


class Judge:
    """Keeps the evidence of every gate over one rollout, and says at any poll what each finds.

    A :class:`~pytest_canary.verdict.panel.Panel` of one; sentences are made when somebody asks for them.
    Counters go in as samples; a role that is missing, or whose counters went back, adds nothing for that time.
    """

    def __init__(self, gates: Sequence[Gate], stages: int) -> None:
        # All that judging takes is loaded before users are at stake: a signal does not like to meet an import.
        from pytest_canary.verdict import course  # noqa: F401
        from pytest_canary.verdict.panel import Panel

        self._stages, self._panel = stages, Panel(gates, stages)
        self._last: dict[Role, Frame] = {}

    def capture(self, baseline: Sample, polls: Sequence[Sample] = ()) -> None:
        """Learn what is normal from the counts of a window before the ramp, and choose latency boundaries from it.

        ``polls`` are the same counts poll by poll: whether events come in bursts shows there.

        Raises:
            BaselineFailed: a histogram cannot resolve a gate; the text names the boundary to add.

        """
        captured = _numbers(baseline)
        wrong = self._panel.capture(captured, [(_framed(poll, captured), None) for poll in polls])[0]
        if wrong:
            raise BaselineFailed(wrong)

    def foresee(self, baseline: Sample) -> None:
        """See from what the stable build has counted so far whether every gate can be judged; nothing is kept.

        Raises:
            BaselineFailed: one cannot, whatever the canary does.

        """
        from pytest_canary.gates.watch import Watch
        from pytest_canary.verdict.panel import unresolved

        counted = _numbers(baseline)
        gates = [watch.gate for watch in self._panel.watches if not watch.gate.metric.probed]
        wrong = [one for gate in gates if (one := unresolved(Watch(gate, self._stages), counted)[0])]
        if wrong:
            raise BaselineFailed("; ".join(wrong))

    def notes(self) -> list[str]:
        """How gates are judged where that is not just as they were written."""
        return self._panel.notes()

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
        """Begin the stage ``index``; as :meth:`~pytest_canary.verdict.panel.Panel.start_stage` has it."""
        frames = self._framed(samples)
        self._panel.start_stage(
            index, at, share, compared, hold_seconds, min_requests, frames, label, allowance, young_seconds
        )

    def _framed(self, samples: Mapping[Role, Sample]) -> Mapping[Role, Frame]:
        from pytest_canary.verdict.tally import framed

        frames = framed(samples, self._last)
        self._last.update(frames)
        return frames

    def add(self, gate: Gate) -> None:
        """Take in a gate that appears at this stage; what the stage has counted so far counts for it too.

        Raises:
            BaselineFailed: a histogram cannot resolve it.

        """
        wrong = self._panel.add(gate)
        if wrong:
            raise BaselineFailed(wrong)

    def observe(self, samples: Mapping[Role, Sample], at: float) -> None:
        """Take in one poll; before the first stage it is passed over."""
        if self._stage is not None:
            self._panel.observe(self._framed(samples), at)

    @property
    def follows(self) -> bool:
        """Whether :meth:`ahead` can tell anything now."""
        return self._panel.follows

    def ahead(
        self, told: Mapping[Role, Foreseen], at: Sequence[float], began: float, rules: Mapping[str, Any]
    ) -> Ahead | None:
        """What would be after each of the polls to come, read at these times; None where only one by one can tell.

        ``began`` is when the split was verified; ``rules`` are those of :meth:`decide`.
        """
        from pytest_canary.verdict.ahead import look_ahead

        return look_ahead(self._panel, told, at, began, rules, self._last)

    def go_on(self, ahead: Ahead, polls: int) -> None:
        """Be where :meth:`ahead` has seen that it would be after so many polls."""
        self._panel = self._panel.after(ahead.panel, polls)
        self._last.update(ahead.last(polls))

    @property
    def _stage(self) -> StageTally | None:
        return self._panel.stage

    def split_seen(self) -> None:
        """The split of this stage has been verified; from here on it is watched."""
        self._panel.split_seen()

    def wrong(self) -> str:
        """What makes any comparison worthless, in one line; empty while nothing does."""
        return self.sides.said(self._panel.wrong_of(0)) if self._panel.worthless[0] else ""

    @property
    def sides(self) -> Sides:
        """What the two sides are called at the current stage."""
        return Sides.of(self._stage.label) if self._stage else Sides()

    def verdicts(self) -> tuple[Verdict, ...]:
        """What every gate that gates at the current stage says now."""
        stage = self._stage
        return tuple(_verdict(gate, stage, found) for gate, found in self._panel.findings()) if stage else ()

    def failures(self) -> list[str]:
        """The sentences of gates that fail now and have a say; costs little while none does."""
        if not self._panel.failing().any():
            return []
        return [verdict.sentence for verdict in self.verdicts() if verdict.status == "fail" and not verdict.alert]

    def decide(
        self, *, elapsed: float, hold: float, min_requests: int, deadline: float | None, pace: str, when_undecided: str
    ) -> Decision:
        """As :func:`~pytest_canary.verdict.decide` has it; gates are asked closely only where that can matter."""
        from pytest_canary.verdict.course import Rules
        from pytest_canary.verdict.frame import one

        rules = Rules(hold, min_requests, deadline, pace, when_undecided)
        if rules.open(one(elapsed), one(self.requests))[0] or self._panel.failing().any():
            return decide(
                self.verdicts(), elapsed=elapsed, requests=self.requests, hold=hold, min_requests=min_requests,
                deadline=deadline, pace=pace, when_undecided=when_undecided,
            )  # fmt: skip
        blind = [watch.gate.name for watch in self._panel.required if watch.blind()[0]]
        return still_waits(elapsed, self.requests, hold, min_requests, blind, self.sides.judged)

    @property
    def requests(self) -> int:
        """Requests of users that the canary has answered at the current stage."""
        return int(self._stage.requests[0]) if self._stage else 0

    def stage_counts(self) -> dict[Role, Totals]:
        """What each role that was seen has counted at the current stage."""
        from pytest_canary.verdict.tally import totals_of

        return {role: totals_of(total) for role, total in self._stage.totals.items()} if self._stage else {}


def _framed(sample: Sample, like: Frame | None = None) -> Frame:
    from pytest_canary.verdict.frame import Frame

    return Frame.of(sample, like)


def _numbers(baseline: Sample) -> Frame:
    clean = _framed(baseline).sound()
    if clean is None:
        raise BaselineFailed("the baseline cannot be read: some of its counters are no numbers; see the metric source")
    return clean


def _verdict(gate: Gate, stage: StageTally, found: Finding) -> Verdict:
    elapsed = float(stage.elapsed[0])
    pace = found.canary.requests / elapsed if elapsed > 0 else 0.0
    sides = Sides.of(stage.label)
    says = f"{found.says}; counted by probes" if gate.metric.probed else found.says
    return Verdict(
        gate.name, stage.index, found.status, found.by, found.canary, found.baseline, found.limit, found.ratio,
        found.interval, found.evidence, found.odds, gate.alpha, found.harmless, found.by is By.PROOF,
        found.needed, gate.action is Action.ALERT, f"{gate.name}[{stage.label}]: {sides.said(says)}",
        found.needed / pace if found.needed is not None and pace else None, sides.judged, gate.metric.of,
    )  # fmt: skip
