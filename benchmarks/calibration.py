"""False rollbacks of a good build before and after calibration on its own history, and what it costs a bad one.

    python benchmarks/calibration.py [--hours 2] [--histories 2] [--plays 200] [--rollouts 200] [--only WORLD]

In each world: some hours of history, the levels that ``pytest-canary calibrate`` finds on them, and fresh rollouts with
replicas of their own, of the same build and of one with three times the errors.  100 requests/s, 1 % errors, 20
replicas, 5/25/50 % of the traffic for five minutes each.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from lab.histories import WORLDS, World, cast_of, hours, plan, rollouts

from pytest_canary.calibrated import raised
from pytest_canary.calibration import Asked, calibrate
from pytest_canary.play import play
from pytest_canary.stats.binomial import share_interval
from pytest_canary.verdict import share_alpha

RATE, BASE, TIMES = 100.0, 0.01, 3.0


@dataclass(frozen=True)
class Told:
    """One world: shares 0..1, requests."""

    world: World
    rollouts: int
    levels: list[tuple[float, float]]
    """Design effect and threshold of replicas, per history."""
    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]
    caught_before: float
    exposed_before: float
    caught: float
    exposed: float
    predicted: float
    """What the plays on the history itself said of the rate afterwards."""
    seconds: float


def look(world: World, options: argparse.Namespace) -> Told:
    """Calibrate on several histories, and let each be tried on fresh rollouts."""
    told, (gate,) = plan(), share_alpha(plan().gates)
    before, after, bad_before, bad_after, levels, predicted = [], [], [], [], [], []
    began = time.monotonic()
    for nth in range(options.histories):
        rng = np.random.default_rng([options.seed, list(WORLDS).index(world), nth])
        history = hours(world, options.hours, RATE, BASE, rng)
        found = calibrate(told, history, Asked(options.plays, 0.01, nth)).found[0]
        setting = found.phi, found.replicas
        fresh = rollouts(world, options.rollouts, RATE, BASE, TIMES, rng)
        cast = cast_of(fresh, told, rng)
        floor = gate.design_effect, gate.levels.replicas
        before.append(play(told, raised(gate, *floor), fresh.good, cast))
        after.append(before[-1] if setting == floor else play(told, raised(gate, *setting), fresh.good, cast))
        bad_before.append(play(told, raised(gate, *floor), fresh.good, cast, fresh.bad))
        same = setting == floor
        bad_after.append(bad_before[-1] if same else play(told, raised(gate, *setting), fresh.good, cast, fresh.bad))
        levels.append(setting)
        predicted.append(found.after.false.rate)
    number = options.histories * options.rollouts
    stops = [sum(one.stops for one in each) for each in (before, after)]
    return Told(
        world, number, levels, stops[0] / number, share_interval(stops[0], number), stops[1] / number,
        share_interval(stops[1], number), *(
            float(np.mean([getattr(one, name).mean() for one in each]))
            for each in (bad_before, bad_after) for name in ("stopped", "exposed")
        ), float(np.mean(predicted)), time.monotonic() - began,
    )  # fmt: skip


def line(told: Told) -> str:
    """A row of the table."""
    before, after = (
        f"{100 * rate:5.1f} ({100 * low:.1f}-{100 * high:.1f})"
        for rate, (low, high) in ((told.before, told.before_interval), (told.after, told.after_interval))
    )
    levels = ", ".join(f"phi {phi:g}" if phi > 1 else f"k {k:g}" for phi, k in told.levels)
    return (
        f"{told.world:<9}{before:>18}{after:>18}  {100 * told.caught_before:3.0f} % /{told.exposed_before:>6.0f}"
        f"  {100 * told.caught:3.0f} % /{told.exposed:>6.0f}  {100 * told.predicted:4.1f}  {levels}"
    )


def main() -> None:
    """Draw, calibrate, try, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--histories", type=int, default=2)
    parser.add_argument("--plays", type=int, default=200)
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(WORLDS), action="append")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    print(f"{'':<9}{'A/A before, %':>18}{'after, %':>18}  x3 before         x3 after          played  levels")
    rows = []
    for world in options.only or WORLDS:
        rows.append(look(world, options))
        print(line(rows[-1]))
        sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
