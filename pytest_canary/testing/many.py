"""Many rollouts of one plan at once, as the batch of ``pytest-canary power``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pytest_canary.outcome import End
from pytest_canary.plan import Plan
from pytest_canary.power.batch import play
from pytest_canary.power.ended import Ended, How
from pytest_canary.power.prelude import prelude_of, shared_of
from pytest_canary.scenario import scenario_of
from pytest_canary.testing.arguments import seeds_of, texts
from pytest_canary.testing.once import Alone, Test, named
from pytest_canary.testing.simulated import Simulated
from pytest_canary.testing.wanted import Source, planned

ENDS = {How.PROMOTED: End.PROMOTED, How.NOT_STARTED: End.NOT_STARTED}
WHYS = {
    How.GATE: "a gate failed",
    How.DEADLINE: "undecided when a stage's time was over",
    How.SPLIT: "the split was not the one that was set",
}


def simulate_many(
    rollout: Source,
    inject: str | Sequence[str] = (),
    *,
    seeds: int | Iterable[int] = 20,
    target: str | None = None,
    overrides: Sequence[str] = (),
    tests: Sequence[Test] = (),
) -> list[Simulated]:
    """:func:`simulate` with each of ``seeds`` (a number of them, from 1), up to the end of the last stage.

    Each seed ends as it does alone.  Without ``tests`` they are played together, hundreds in a second or a few.

    Raises:
        UsageError: as :func:`simulate`.

    """
    chosen, injected, names = seeds_of(seeds), texts(inject, "inject", "error_rate x3"), named(tests)
    with planned(rollout, target=target, overrides=overrides, tests=names) as (spec, plan):
        if tests or any(gate.metric.probed for gate in plan.gates):
            scenes = (scenario_of(spec, plan, injected, seed=seed, everything=bool(tests)) for seed in chosen)
            return [Alone(spec, plan, scene, tests).play() for scene in scenes]
        scenario = scenario_of(spec, plan, injected)
        prelude = prelude_of(spec, plan, scenario, shared_of(spec, Path("nowhere")))
        ended = play(plan, scenario.scene, chosen, prelude)
        return [_one(plan, ended, row, seed) for row, seed in enumerate(chosen)]


def _one(plan: Plan, ended: Ended, row: int, seed: int) -> Simulated:
    how, gate, stage = How(ended.how[row]), int(ended.gate[row]), int(ended.stage[row])
    end = ENDS.get(how, End.ROLLED_BACK)
    return Simulated(
        seed, end,
        str(plan.stages[stage]) if end is End.ROLLED_BACK else "",
        (plan.gates[gate].name,) if gate >= 0 and end is End.ROLLED_BACK else (),
        int(ended.exposed[row]), float(ended.seconds[row]), ended.why[row] or WHYS.get(how, "every gate passed"),
    )  # fmt: skip
