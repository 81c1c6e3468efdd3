"""What tests at a stage meet in a replay: the rollout over a recording, in the place of one that ships."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_canary.outcome import Outcome
from pytest_canary.plan import Stage
from pytest_canary.replay import Player
from pytest_canary.rollout import Rollout, State
from pytest_canary.session.collection import Home, stage_of
from pytest_canary.session.holds import Holds
from pytest_canary.verdict import Decision


class Playback:
    """Of one recording; the conductor and the fixtures ask it what they ask a rollout that is live."""

    def __init__(self, session: pytest.Session, home: Home, player: Player, items: Sequence[pytest.Item]) -> None:
        self.home, self.plan, self._player, self._session = home, player.plan, player, session
        self.stopped = self.stopped_short = ""
        self.interrupted = False
        self.passed: set[str] = set()
        self.failed_tests = 0
        self.outcome: Outcome | None = None
        self.holds = Holds(self)
        self._items = items

    @property
    def rollout(self) -> Rollout:
        """The state machine, over the recording."""
        return self._player.rollout

    def reach(self, state: State) -> Rollout:
        """It has come as far as any test can ask."""
        del state
        return self.rollout

    def watch(self) -> None:
        """The tape looks."""

    def tick(self, text: str) -> None:
        """Nobody waits."""

    def stop(self, why: str, short: str = "", *, interrupted: bool = False) -> None:
        """Go no further; a test that fails because the recording has no more for it speaks against nobody."""
        if self._player.tape.ended is not None:
            return
        if not self.stopped:
            self.stopped, self.stopped_short, self.interrupted = why, short or why, interrupted
        self.rollout.traffic.cut(why)

    def tests(self, stage: Stage | None, decision: Decision | None, began: float) -> str:
        """Run the tests of ``stage``, or those that ask for the baseline alone; why it must not go on, if so."""
        if stage is not None and decision is not None:
            self.holds.entered(stage, decision, began)
        mine, later = self._of(stage), self._after(stage)
        for item, following in zip(mine, [*mine[1:], *later[:1], None], strict=False):
            if stage is not None:
                item.callspec.params["stage"] = stage  # type: ignore[attr-defined]  # the recorded one of this weight
            self._run(item, following)
            if self.stopped:
                return self.stopped
        return ""

    def _of(self, stage: Stage | None) -> list[pytest.Item]:
        weight = None if stage is None else stage.weight
        return [item for item in self._items if _weight(item) == weight]

    def _after(self, stage: Stage | None) -> list[pytest.Item]:
        index = -1 if stage is None else stage.index
        return [item for later in self.plan.stages if later.index > index for item in self._of(later)]

    def _run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        runner = self._session.config.pluginmanager.get_plugin("runner")
        reports = runner.runtestprotocol(item, log=False, nextitem=following)  # type: ignore[union-attr]
        ended, self._player.tape.ended = self._player.tape.ended, None
        if ended is not None and ended.cut:
            raise ended
        if ended is not None:
            name = getattr(item, "originalname", item.name)
            self._player.note(f"{name} asks for more of a stage than was recorded, and was left out there")
        elif not self.stopped and not _good(item, reports):
            self.stop(f"{item.nodeid} did not pass", f"{item.name} did not pass")


def _weight(item: pytest.Item) -> float | None:
    stage = stage_of(item)
    return stage.weight if stage is not None else None


def _good(item: pytest.Item, reports: Sequence[pytest.TestReport]) -> bool:
    """Whether a test spoke for the canary; one that is advisory need not."""
    called = any(report.when == "call" and report.passed for report in reports)
    return called or item.get_closest_marker("advisory") is not None
