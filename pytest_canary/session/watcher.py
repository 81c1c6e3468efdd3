"""The thread that looks while the main thread holds, tests or waits; it may do one thing: weight 0."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from pytest_canary.rollout import Rollout

PACE_SECONDS = 0.1


class Watcher:
    """Polls from the first weight to the outcome, so that a slow test body never leaves the canary unwatched."""

    def __init__(self, rollout: Rollout, told_to_stop: Callable[[], str], abort_file: Path) -> None:
        self._rollout, self._told_to_stop, self._abort = rollout, told_to_stop, abort_file
        self._over = threading.Event()
        self.started = False
        self._thread = threading.Thread(target=self._watch, name="canary-watcher", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self.started = True
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when the last look is over."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _watch(self) -> None:
        poll = self._rollout.plan.poll_seconds
        clock = self._rollout.world.clock
        due = clock.now()
        while not self._over.wait(min(PACE_SECONDS, poll)):
            try:
                if self._told_to_stop():
                    self._rollout.traffic.cut(self._told_to_stop())
                elif self._abort.exists():
                    self._rollout.traffic.cut(self._abort.read_text().strip() or "aborted by hand (no reason given)")
                elif clock.now() >= due:
                    due = clock.now() + poll
                    self._rollout.traffic.look()
            except Exception as error:  # an unwatched canary must not carry traffic, whatever went wrong here
                self._rollout.traffic.cut(f"the watcher failed: {type(error).__name__}: {error}")
                return
