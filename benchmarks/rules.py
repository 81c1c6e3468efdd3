"""Our rules and those of every peer, side by side on the same simulated requests.

    python benchmarks/rules.py [--quick] [--json FILE] [--only TEXT] [--jobs N]

Tables on the terminal, the goals last; with ``--json`` a row per rule, metric, world, rate, base and regression.
Every rule looks at the very same requests.  ``--quick`` draws a thirtieth of the rollouts, in about a minute.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lab import ours, peers, worlds
from lab.goals import GOALS, Row, told
from lab.measure import Measured, measured, together
from lab.pace import minutes_to_full
from lab.series import Ints

RATES, BASES = (10.0, 100.0, 1000.0), (0.001, 0.005, 0.01, 0.05)
ALIKE, HARMLESS, OTHERS = 2000, 600, 600
"""Rollouts per cell: of the same build, of a harmless one, and of all others."""
BATCH = 250
"""Rollouts that are drawn together; more would not fit into a small machine."""
WORLDS: tuple[worlds.Kind, ...] = ("clump3", "clump10", "burst20", "burst5", "outage", "pods")


@dataclass(frozen=True)
class Cell:
    """One world that all rules look at: how it is drawn, and what is printed of it."""

    metric: str
    world: str
    rate: float
    base: float
    regression: float
    rollouts: int
    draw: Callable[[int, np.random.Generator], Any]

    @property
    def title(self) -> str:
        """Head of its column."""
        return f"x{self.regression:g}" if self.regression < 50 else "95 % fail"


def error_cell(kind: worlds.Kind, rate: float, base: float, times: float, rollouts: int) -> Cell:
    """Errors ``times`` as frequent as the baseline's; 95 and more means that 95 of 100 requests fail."""
    canary = 0.95 if times >= 50 else min(base * times, 0.97)
    return Cell(
        "error rate", kind, rate, base, times, rollouts,
        lambda batch, rng: worlds.errors(batch, rate, base, canary, kind, rng),
    )  # fmt: skip


def slow_cell(times: float, rollouts: int) -> Cell:
    """100 requests/s, 1 % errors, and stages of ten minutes instead of five."""
    return Cell(
        "error rate", "iid, 10 min", 100, 0.01, times, rollouts,
        lambda batch, rng: worlds.errors(batch, 100, 0.01, 0.01 * times, "iid", rng, stage_seconds=600.0),
    )  # fmt: skip


def latency_cell(shape: worlds.Shape, rate: float, times: float, rollouts: int) -> Cell:
    """Everything ``times`` as slow."""
    return Cell(
        "p99", shape, rate, 0.0, times, rollouts, lambda batch, rng: worlds.latency(batch, rate, times, shape, rng)
    )


def means_cell(cv: float, rate: float, times: float, rollouts: int) -> Cell:
    """``times`` as many tokens."""
    draw = lambda batch, rng: worlds.means(batch, rate, times, cv, rng)  # noqa: E731
    return Cell("mean tokens", f"cv {cv:g}", rate, 0.0, times, rollouts, draw)


def cells(part: float) -> Iterator[tuple[str, list[Cell]]]:
    """Tables: a title, and the cells that are its columns; ``part`` of the usual number of rollouts."""
    alike, harmless, others = (max(int(number * part), 60) for number in (ALIKE, HARMLESS, OTHERS))
    for rate in RATES:
        row = [error_cell("iid", rate, base, 1, alike) for base in BASES]
        yield f"the same build, errors, {rate:g} requests/s, base .1 .5 1 5 %", row
    for rate in RATES:
        row = [error_cell("iid", rate, base, 1.2, harmless) for base in BASES]
        yield f"1.2 times the errors (harmless), {rate:g} requests/s, base .1 .5 1 5 %", row
    bad = [error_cell("iid", 100, 0.01, times, others) for times in (1.5, 2, 3, 5, 20, 95)]
    yield "errors, 100 requests/s, base 1 %", bad
    yield "errors, stages of ten minutes, base 1 %", [slow_cell(times, others) for times in (1, 2, 3)]
    yield "the same build, 100 requests/s, base 1 %, worlds", [error_cell(w, 100, 0.01, 1, others) for w in WORLDS]
    yield "3 times the errors, 100 requests/s, base 1 %, worlds", [error_cell(w, 100, 0.01, 3, others) for w in WORLDS]
    for shape in ("lognormal", "pareto", "tail"):
        row = [latency_cell(shape, 100, times, others) for times in (1, 1.1, 1.2, 1.5, 2)]
        yield f"p99, {shape}, 100 requests/s", row
    yield (
        "p99, the same build, lognormal, 10 and 1000 requests/s",
        [latency_cell("lognormal", rate, 1, others) for rate in (10, 1000)],
    )
    for cv in (1.0, 2.9):
        row = [means_cell(cv, 100, times, others // 4) for times in (1, 1.1, 1.2, 1.5)]
        yield f"mean tokens, cv {cv:g}, 100 requests/s", row


RULES: dict[str, dict[str, Callable[[Any], Ints]]] = {
    "error rate": {**ours.ERRORS, **peers.ERRORS},
    "p99": {**ours.LATENCY, **peers.LATENCY},
    "mean tokens": {**ours.MEANS, **peers.MEANS},
}


def run(cell: Cell, rules: dict[str, Callable[[Any], Ints]], seed: int) -> dict[str, Measured]:
    """Draw the cell in batches and let every rule look at each."""
    parts: dict[str, list[Measured]] = {name: [] for name in rules}
    for start in range(0, cell.rollouts, BATCH):
        series = cell.draw(min(BATCH, cell.rollouts - start), np.random.default_rng([seed, start]))
        served = {
            "error rate": lambda one: one.canary_requests,
            "p99": lambda one: one.canary.sum(axis=2),
            "mean tokens": lambda one: one.canary[0],
        }[cell.metric](series)
        for name, rule in rules.items():
            parts[name].append(measured(rule(series), served, worlds.POLL_SECONDS))
    return {name: together(each) for name, each in parts.items()}


def run_one(where: tuple[float, int, int]) -> dict[str, Measured]:
    """One cell, by its place in what :func:`cells` yields; in a process of its own."""
    part, number, at = where
    cell = next(columns for n, (_, columns) in enumerate(cells(part)) if n == number)[at]
    return run(cell, RULES[cell.metric], 1000 * number + at)


def table(title: str, columns: list[Cell], found: list[dict[str, Measured]]) -> None:
    """Print what every rule did: rollbacks in per cent / canary requests until then."""
    heads = [
        cell.title if cell.world.startswith("iid") or cell.metric != "error rate" else cell.world for cell in columns
    ]
    if len({cell.base for cell in columns}) > 1:
        heads = [f"{100 * cell.base:g} %" for cell in columns]
    if len({cell.rate for cell in columns}) > 1:
        heads = [f"{cell.rate:g}/s" for cell in columns]
    print(f"\n{title}   (rolled back % / requests exposed; {columns[0].rollouts} rollouts)")
    print(f"{'':<32}" + "".join(f"{head:>16}" for head in heads))
    for name in found[0]:
        row = "".join(f"{100 * one[name].rollback:>7.1f} /{one[name].exposed_mean:>7.0f}" for one in found)
        print(f"{name:<32}{row}")
    sys.stdout.flush()


def time_to_full(part: float) -> list[Row]:
    """How long a good build takes at 100 requests/s and 1 % errors, with stages that end by proof."""
    tries = max(int(200 * part), 40)
    took = [minutes_to_full(100, 0.01, (4.0, 2.0, 1.0), seed) for seed in range(tries)]
    good = [minutes for minutes in took if minutes is not None]
    mean = statistics.mean(good)
    print(f"\na good build, 100 requests/s, base 1 %, pace: proof: {len(good)} of {tries} reach 100 %,")
    print(f"after {mean:.1f} min on average, {statistics.quantiles(good, n=10)[-1]:.1f} min in nine of ten;")
    print("stages of five minutes take 15.0 min whatever the build does")
    return [Row("ours, pace: proof", "minutes to 100 %", "iid", 100, 0.01, 1, tries, 0, 0, 0, mean)]


def main() -> None:
    """Draw, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a thirtieth of the rollouts, in about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row for each rule and cell")
    parser.add_argument("--only", metavar="TEXT", default="", help="only tables whose title has this text")
    parser.add_argument("--jobs", type=int, metavar="N", default=os.cpu_count(), help="processes; one per core")
    options = parser.parse_args()
    part, rows, began = (1 / 30 if options.quick else 1.0), list[Row](), time.monotonic()
    asked = [(n, title, columns) for n, (title, columns) in enumerate(cells(part)) if options.only in title]
    places = [(part, n, at) for n, _, columns in asked for at in range(len(columns))]
    with multiprocessing.Pool(options.jobs) as pool:
        results = pool.imap(run_one, places)
        for _, title, columns in asked:
            print(f"{time.monotonic() - began:5.0f} s  {title}", file=sys.stderr, flush=True)
            found = [next(results) for _ in columns]
            table(title, columns, found)
            for cell, one in zip(columns, found, strict=True):
                rows += [told(name, cell, result) for name, result in one.items()]
    if not options.only:
        rows += time_to_full(part)
        print("\ngoals")
        for goal in GOALS:
            print(goal.line(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
