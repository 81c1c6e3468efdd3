"""What a team needs to unit-test its gates and its rollout.yaml in plain pytest; see docs/testing-gates.md.

Spec, plan, gates, state machine and simulation are those of a rollout: nothing here decides anything.
"""

from pytest_canary.testing.counted import Counts, counts, lognormal
from pytest_canary.testing.given import at_stage
from pytest_canary.testing.judged import verdict_of
from pytest_canary.testing.many import simulate_many
from pytest_canary.testing.once import simulate
from pytest_canary.testing.simulated import Simulated

__all__ = ["Counts", "Simulated", "at_stage", "counts", "lognormal", "simulate", "simulate_many", "verdict_of"]
