"""One round of probes: who is asked what and when, from its beginning to its end.

Every turn asks all builds the same prompt at the same moment, or none: where one of them is so slow that it has all it
may have in flight, the others wait with it, so none is asked more than another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_canary.ports import Answer, Clock, Fault, Probe, Prompt, Role
from pytest_canary.probing.tally import Tally

LATE_TURNS = 4
"""More turns than these that were missed at once (a machine that slept, a run that was stopped) are not made up."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be asked of whom, how often, and who counts the answers."""

    probe: Probe
    addresses: Mapping[Role, str]
    prompts: Sequence[Prompt]
    tallies: Mapping[Role, Tally]
    rate: float
    """Turns per second."""
    concurrency: int
    """Probes that one build may have in flight."""
    cost: Callable[[Role, Answer], float | None]

    def prompt(self, turn: int) -> Prompt:
        """What is asked at ``turn``, which counts from 0."""
        return self.prompts[turn % len(self.prompts)]

    def ask(self, role: Role, prompt: Prompt) -> Answer:
        """The answer of the build of ``role``; a probe that raises instead has got none."""
        try:
            return self.probe.ask(self.addresses[role], prompt)
        except Exception as error:
            return Answer(0, 0.0, finished=False, error=str(error) or type(error).__name__, fault=Fault.NO_ANSWER)

    def take(self, role: Role, answer: Answer) -> None:
        """Count ``answer``."""
        self.tallies[role].take(answer, self.cost(role, answer))


class Round(Protocol):
    """From one beginning to its end."""

    def catch_up(self) -> None:
        """Ask what has become due, where nobody else does."""

    def end(self) -> None:
        """Ask nobody any more, and count nothing that is still to come; returns at once."""


class AtPolls:
    """A round on a virtual clock: what has become due is asked whenever somebody polls, one after another."""

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work, self._clock = work, clock
        self._began, self._turns, self._over = clock.now(), 0, False
        self._lock = threading.RLock()

    def catch_up(self) -> None:
        with self._lock:
            while not self._over and self._turns <= (self._clock.now() - self._began) * self._work.rate:
                prompt, self._turns = self._work.prompt(self._turns), self._turns + 1
                for role in self._work.addresses:
                    self._work.take(role, self._work.ask(role, prompt))

    def end(self) -> None:
        self._over = True


class Alongside:
    """A round on a real clock: one thread keeps the time, and every probe in flight has one of its own.

    None of them keeps the process: a build that never answers holds up nothing.
    """

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work, self._clock, self._over = work, clock, threading.Event()
        self._free = {role: threading.Semaphore(work.concurrency) for role in work.addresses}
        threading.Thread(target=self._keep_time, name="canary-probes", daemon=True).start()

    def catch_up(self) -> None:
        """Nothing: the threads do."""

    def end(self) -> None:
        self._over.set()

    def _keep_time(self) -> None:
        pause = 1 / self._work.rate
        due, turn = self._clock.now(), 0
        while not self._over.wait(max(0.0, due - self._clock.now())):
            turn += self._take_turn(turn)
            due = max(due + pause, self._clock.now() - LATE_TURNS * pause)

    def _take_turn(self, turn: int) -> bool:
        """Ask everybody, unless somebody is busy; whether it was done.  Who is asked first changes every time."""
        prompt = self._work.prompt(turn)
        free = [role for role, slots in self._free.items() if slots.acquire(blocking=False)]
        busy = [role for role in self._free if role not in free]
        for role in busy:
            self._work.tallies[role].skip()
        for role in free if turn % 2 else reversed(free):
            if busy:
                self._free[role].release()
            else:
                threading.Thread(target=self._ask, args=(role, prompt), name=f"probe-{role}", daemon=True).start()
        return not busy

    def _ask(self, role: Role, prompt: Prompt) -> None:
        try:
            answer = None if self._over.is_set() else self._work.ask(role, prompt)
            if answer is not None and not self._over.is_set():
                self._work.take(role, answer)
        finally:
            self._free[role].release()
