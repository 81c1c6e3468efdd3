"""The cells of a table: a good build, and for every gate a build that is so many times worse; and their batches."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace

from pytest_canary.gates import Gate
from pytest_canary.plan import Plan
from pytest_canary.power.ended import Ended
from pytest_canary.power.prelude import Prelude
from pytest_canary.simulation.injection import Injection
from pytest_canary.simulation.scene import Scene

LEAST, BATCH = 100, 500
"""Rollouts that are played together: what each poll costs whatever their number is shared."""
ALONE_SECONDS = 0.5
"""How often a worker looks whether somebody still waits for it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Rollouts of one kind of build; an empty gate is a build that is no worse."""

    gate: str = ""
    size: float = 1.0
    """How many times as bad as the stable build what the gate counts is."""

    def __str__(self) -> str:
        return f"{self.gate} x{self.size:g}" if self.gate else "a good build"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all cells have in common."""

    plan: Plan
    scene: Scene
    prelude: Prelude
    seed: int
    rollouts: int
    """Of a good build."""
    each: int
    """Of each regression."""

    def number(self, cell: Cell) -> int:
        """Rollouts of ``cell``."""
        return self.each if cell.gate else self.rollouts

    def of(self, cell: Cell) -> Scene:
        """The scene with what is wrong in ``cell``."""
        injected = (injection_of(self.gate(cell), cell.size),) if cell.gate else ()
        return replace(self.scene, injections=injected)

    def gate(self, cell: Cell) -> Gate:
        """The gate that a cell is about."""
        return next(gate for gate in self.plan.gates if gate.name == cell.gate)


def injection_of(gate: Gate, size: float) -> Injection:
    """What makes the metric of ``gate`` so many times worse; where more is better, so many times less."""
    factor = size if gate.metric.lower_is_better and not gate.metric.missed else 1 / size
    return Injection(f"{gate.name} x{factor:g}", "times", factor, 0.0, gate.metric)


@dataclass(slots=True)
class Results:
    """What is known of each cell so far."""

    ended: dict[Cell, Ended] = field(default_factory=dict)

    def add(self, cell: Cell, part: Ended) -> None:
        """Take in one more batch."""
        self.ended[cell] = Ended.together([self.ended[cell], part]) if cell in self.ended else part


Progress = Callable[[int, int, Cell], None]
"""Called with how many rollouts are done, of how many, and what was played last."""


def played(
    setting: Setting, cells: Sequence[Cell], progress: Progress, workers: int | None = None
) -> dict[Cell, Ended]:
    """Play every cell, one process per core; each rollout of a cell has a seed of its own, from ``seed`` on."""
    tasks = [(cell, seeds) for cell in cells for seeds in _batches(setting, cell, workers or os.cpu_count() or 1)]
    many = min(workers or os.cpu_count() or 1, len(tasks))
    results, done, whole = Results(), 0, sum(map(setting.number, cells))
    progress(0, whole, cells[0])
    for cell, part in _each(setting, tasks, many):
        results.add(cell, part)
        done += part.size
        progress(done, whole, cell)
    return {cell: results.ended[cell] for cell in cells}


def _batches(setting: Setting, cell: Cell, workers: int) -> Iterator[range]:
    number = setting.number(cell)
    first, last = setting.seed, setting.seed + number
    size = min(BATCH, max(-(-number // workers), LEAST)) if not cell.gate else BATCH
    for begin in range(first, last, size):
        yield range(begin, min(begin + size, last))


_Task = tuple[Cell, range]


def _each(setting: Setting, tasks: Sequence[_Task], workers: int) -> Iterator[tuple[Cell, Ended]]:
    """The results as they come, in whatever order: together they are the same."""
    if workers <= 1 or "fork" not in multiprocessing.get_all_start_methods():
        _take(setting)
        for cell, seeds in tasks:
            yield cell, _play(cell, seeds)
        return
    context, others = multiprocessing.get_context("fork"), set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_work, initargs=(setting,)) as pool:
        waiting: dict[Future[Ended], Cell] = {pool.submit(_play, cell, seeds): cell for cell, seeds in tasks}
        try:
            while waiting:
                for one in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(one), one.result()
        except BaseException:  # Ctrl-C among them: what has not begun is not begun, what has is not waited for
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise


_SETTINGS: list[Setting] = []
"""Of this process."""


def _work(setting: Setting) -> None:
    """Begin as a worker: Ctrl-C is for the one that waits for it, without whom it has nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _take(setting)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """A parent that was killed says nothing, and its workers would wait for ever."""
    while os.getppid() == parent:
        time.sleep(ALONE_SECONDS)
    os._exit(1)


def _take(setting: Setting) -> None:
    _SETTINGS[:] = [setting]


def _play(cell: Cell, seeds: Sequence[int]) -> Ended:
    from pytest_canary.power.batch import play

    setting = _SETTINGS[0]
    return play(setting.plan, setting.of(cell), seeds, setting.prelude)
