"""What happens before the baseline is read: one rollout of the plan, brought so far by the state machine itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_canary import world as worlds
from pytest_canary.errors import CanaryError
from pytest_canary.outcome import Row
from pytest_canary.plan import Plan
from pytest_canary.ports import Clock, MetricSource, Role, Sample, Shared
from pytest_canary.rollout import Rollout
from pytest_canary.scenario import Scenario
from pytest_canary.spec import Spec
from pytest_canary.standin import Unrecorded, apart, ledger, put_on, stand_ins
from pytest_canary.verdict import Judge

WORLD = "memory"
"""The handle of the world whose weights the simulated counters follow."""


@dataclass(frozen=True, slots=True)
class Span:
    """A while in which every role had one share of the traffic, and somebody counted at its end."""

    seconds: float
    shares: tuple[tuple[Role, float], ...]


@dataclass(frozen=True, slots=True)
class Prelude:
    """The spans until the baseline is first read: the same in every rollout of a plan, whatever its chance."""

    spans: tuple[Span, ...] = ()
    now: float = 0.0
    """On the rollout's clock, at the first reading."""
    until: float = 0.0
    """The end of the last span."""


class _Enough(CanaryError):
    """The baseline is about to be read."""


class _Ears:
    """Between a rollout and its metrics: notes when something is counted, and ends it at the baseline."""

    def __init__(self, source: MetricSource, clock: Clock, state: Any) -> None:
        self._source, self._clock, self._state = source, clock, state
        self.spans: list[Span] = []
        self.until = clock.now()
        self.last = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        if self.last:
            raise _Enough("enough")
        self.count()
        return self._source.poll(roles)

    def count(self) -> None:
        """As the simulated metrics do: what has happened until now, at the shares of that time."""
        seconds, self.until = self._clock.now() - self.until, self._clock.now()
        if seconds > 0 and self._state.places:
            self.spans.append(Span(seconds, tuple(self._state.shares.items())))


class _Nobody:
    """Hears nothing."""

    def tick(self, text: str) -> None:
        """Nothing."""

    def row(self, row: Row) -> None:
        """Nothing."""

    def said(self, text: str) -> None:
        """Nothing."""


def prelude_of(spec: Spec, plan: Plan, scenario: Scenario, shared: Shared) -> Prelude:
    """Bring one rollout of ``plan`` to its baseline, and tell what was counted when.

    Raises:
        CanaryError: it does not come so far, whatever its traffic.

    """
    put_on(shared, plan, scenario)
    clock = shared.clock
    shared.state = apart(shared.state)
    world = worlds.connect(stand_ins(spec, plan, scenario), shared, worlds.nobody)
    memory = shared.handles[WORLD]
    ears = _Ears(world.source, clock, memory.state)
    memory.counters.append(ears.count)
    book = Unrecorded(shared.state / "power.jsonl")
    rollout = Rollout(
        plan, replace(world, source=ears), ledger(), book, Judge((), len(plan.stages)), _Nobody(), "power"
    )
    rollout.open(again=True)
    rollout.deploy()
    rollout.smoke()
    rollout.warm()
    ears.last = True
    try:
        rollout.baseline()
    except _Enough:
        return Prelude(tuple(ears.spans), clock.now(), ears.until)
    finally:
        world.probe.close()
    raise AssertionError("a baseline is read from counters")


def shared_of(spec: Spec, state: Any) -> Shared:
    """What the adapters of the simulated target are given."""
    return Shared(spec.service, worlds.clock_of(spec), state, spec.folder, "power")
