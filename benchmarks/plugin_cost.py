"""What an unrelated pytest run pays for the plugin being installed: the same run with and without it, in turn.

    python benchmarks/plugin_cost.py [PAIRS]

Each pair is two runs one after the other, and every second pair the other way round, so that a machine that is busy
for a while slows both sides.  Prints the median and the middle half of what the pairs differ by, in time on the clock
and on the processor; ends with 1 when the goal is missed.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

GOAL_MS = 15.0
FOLDERS = 20
OTHERS = ("embedded", "replay", "randomly", "repeat", "rerunfailures", "timeout", "xdist", "hypothesispytest", "anyio")
"""Plugins that may be installed beside us; out of both sides, because some cannot be loaded together."""


class Took(NamedTuple):
    """Milliseconds of one pytest process."""

    clock: float
    processor: float


def once(folder: Path, *args: str) -> Took:
    """Run pytest in ``folder``."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    command += [part for name in OTHERS for part in ("-p", f"no:{name}")]
    start, spent = time.perf_counter(), _processor()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    took = Took((time.perf_counter() - start) * 1000, (_processor() - spent) * 1000)
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}, expected 0:\n{done.stdout}{done.stderr}")
    return took


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, pairs: int) -> list[tuple[Took, Took]]:
    """Pairs of (with us, without us); the first of each side fills caches and is thrown away."""
    without = ("-p", "no:canary")
    once(folder), once(folder, *without)
    found = []
    for number in range(pairs):
        if number % 2:
            bare = once(folder, *without)
            found.append((once(folder), bare))
        else:
            found.append((once(folder), once(folder, *without)))
    return found


def spread(values: Sequence[float], form: str) -> str:
    """Median and middle half."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:{form}} (middle half {low:{form}} to {high:{form}})"


def main() -> int:
    """Measure and print; 0 when the goal is met."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FOLDERS):
            part = folder / f"part{number}"
            part.mkdir()
            (part / f"test_{number}.py").write_text("def test_one(): pass\n")
        found = measure(folder, pairs)
    print(f"an unrelated run of {FOLDERS} tests in {FOLDERS} folders, {pairs} pairs, {os.cpu_count()} processors")
    cost = 0.0
    for field in Took._fields:
        ours, bare = ([getattr(took, field) for took in side] for side in zip(*found, strict=True))
        differences = [a - b for a, b in zip(ours, bare, strict=True)]
        ratios = [a / b for a, b in zip(ours, bare, strict=True)]
        print(f"  {field:<9}  with us {statistics.median(ours):.0f} ms, without {statistics.median(bare):.0f} ms")
        print(f"  {'':<9}  ratio   x{spread(ratios, '.3f')}")
        print(f"  {'':<9}  cost    {spread(differences, '+.1f')} ms")
        cost = max(cost, statistics.median(differences))
    met = cost < GOAL_MS
    print(f"  goal       less than {GOAL_MS:g} ms: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
