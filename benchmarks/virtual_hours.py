"""What four hours of a simulated rollout cost beyond pytest's own start: CPU seconds, side by side, in turn.

    python benchmarks/virtual_hours.py [--rounds 5]

The example with holds of an hour, all of its gates and tests; ``start`` is a session that only collects them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOURS = ("--canary-simulate=7", "--canary-set", "hold=1h", "--canary-set", "deadline=2h", "--canary-set")
CASES = {
    "start": ("--collect-only",),
    "a minute, a poll every 500 ms": ("--canary-simulate=7",),
    "four hours, a poll every 5 s": (*HOURS, "poll=5s"),
    "four hours, a poll every 15 s": (*HOURS, "poll=15s"),
}


def seconds(options: tuple[str, ...]) -> float:
    """CPU of one session and all its children."""
    before = _used()
    command = [sys.executable, "-m", "pytest", "-q", "rollouts", *options]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=compiled)
    return _used() - before


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Every case in every round, so that what else the machine does is shared by all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for options in CASES.values():
        seconds(options)  # what is compiled once is compiled
    told: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, options in CASES.items():
            told[name].append(seconds(options))
    start = statistics.median(told["start"])
    print(f"{'':<32}{'CPU':>8}{'beyond start':>14}{'of start':>10}")
    for name, each in told.items():
        middle = statistics.median(each)
        print(f"{name:<32}{middle:>6.2f} s{middle - start:>12.2f} s{middle / start:>9.1f}x")


if __name__ == "__main__":
    main()
