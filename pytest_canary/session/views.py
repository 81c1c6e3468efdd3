"""What the fixtures hand to a test: read-only views of the rollout, and the statistics for a test body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_canary.errors import NoData
from pytest_canary.plan import Plan, Stage
from pytest_canary.ports import Answer, Prompt, Revision, Role, Sample

if TYPE_CHECKING:
    from pytest_canary.rollout import Rollout
    from pytest_canary.session.holds import Holds
    from pytest_canary.steps.baseline import Baseline


@dataclass(frozen=True)
class Side:
    """What one role has counted at this stage.  A number that nobody counted raises NoData: never a pass."""

    role: Role
    sample: Sample | None

    def count(self, name: str) -> float:
        """How often ``name`` was counted, such as ``requests`` or ``errors``."""
        if self.sample is None or name not in self.sample.counters:
            raise NoData(f"nobody counts {name!r} for the {self.role}")
        return self.sample.counters[name]

    def rate(self, name: str, among: str = "requests") -> float:
        """``name`` among ``among``, 0..1."""
        events, total = self.count(name), self.count(among)
        if not total:
            raise NoData(f"the {self.role} has had no {among} yet")
        return events / total

    def quantile(self, q: float, name: str = "latency") -> float:
        """The value, in seconds, below which a share ``q`` of ``name`` lies."""
        histogram = self.sample.histograms.get(name) if self.sample else None
        value = histogram.quantile(q) if histogram else None
        if value is None:
            raise NoData(f"there is no p{q * 100:g} of {name!r} for the {self.role}")
        return value

    @property
    def requests(self) -> float:
        """Requests counted."""
        return self.count("requests")


class RolloutView:
    """The fixture ``rollout``: what is being shipped, and where."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @property
    def service(self) -> str:
        """Name of the service."""
        return self.plan.service

    @property
    def image(self) -> str | None:
        """The image of the canary; None when nothing is shipped in this run."""
        return self.plan.image

    @property
    def target(self) -> str:
        """Name of the target."""
        return self.plan.target


class CanaryView:
    """The fixture ``canary``: the running canary, reached directly.  Its requests are never counted."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout

    @property
    def revision(self) -> Revision:
        """The pinned build that is being shipped."""
        return self._rollout.canary

    @property
    def address(self) -> str:
        """Base URL, past the router."""
        return self._rollout.address

    @property
    def model(self) -> str | None:
        """The model version it reports."""
        return self._rollout.world.platform.model(self.revision)

    def ask(self, prompt: Prompt | str, *, stream: bool = False) -> Answer:
        """Send one request: a :class:`~pytest_canary.Prompt`, or text for ``/v1/chat/completions``."""
        if isinstance(prompt, str):
            body = {"model": "default", "messages": [{"role": "user", "content": prompt}], "stream": stream}
            prompt = Prompt(body=body, stream=stream)
        return self._rollout.world.probe.ask(self.address, prompt)


class StageView:
    """The fixture ``stage``: a share of the traffic that the canary has now, and what it did with it."""

    def __init__(self, holds: Holds, stage: Stage) -> None:
        self._holds, self._stage = holds, stage

    @property
    def index(self) -> int:
        """0 for the first stage."""
        return self._stage.index

    @property
    def weight(self) -> float:
        """Share of the traffic, 0..1."""
        return self._stage.weight

    def __str__(self) -> str:
        return str(self._stage)

    @property
    def canary(self) -> Side:
        """What the canary has counted at this stage until now."""
        return Side(Role.CANARY, self._holds.counted(Role.CANARY))

    @property
    def baseline(self) -> Side:
        """What the baseline has counted in the same time."""
        return Side(Role.BASELINE, self._holds.counted(Role.BASELINE))

    def check(self, metric: str, **limits: Any) -> None:
        """Apply the statistics to ``metric``: polled from now on, waits until decided or the stage's deadline.

        Fails the test when there is evidence that the canary is worse than the limits say.
        """
        __tracebackhide__ = True
        verdict = self._holds.check(self._stage, metric, limits)
        if verdict.status != "pass" and not verdict.alert:
            pytest.fail(verdict.sentence, pytrace=False)

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass, with every gate still watched; fails at once when one of them does."""
        __tracebackhide__ = True
        self._holds.wait(seconds)

    def report(self, gate: str) -> None:
        """Pass, fail or skip with what the hold of this stage found for a declared gate."""
        __tracebackhide__ = True
        self._holds.report(self._stage, gate)


@dataclass(frozen=True)
class BaselineView:
    """The fixture ``baseline``: what the stable build did in the window before the ramp."""

    captured: Baseline

    @property
    def side(self) -> Side:
        """The same numbers as at a stage."""
        return Side(Role.BASELINE, self.captured.counted)

    @property
    def model(self) -> str | None:
        """Model version of both sides."""
        return self.captured.model

    def rate(self, name: str, among: str = "requests") -> float:
        """``name`` among ``among``, 0..1."""
        return self.side.rate(name, among)

    def quantile(self, q: float, name: str = "latency") -> float:
        """Quantile of ``name`` in seconds."""
        return self.side.quantile(q, name)
