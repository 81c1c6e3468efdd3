"""rollout.yaml -> Spec, with the line of every mistake."""

from pytest_canary.spec.gating import gate_from, stage_limits
from pytest_canary.spec.levels import levels_of
from pytest_canary.spec.reading import AdapterChoice, Spec, is_ours, load, place, schema

__all__ = ["AdapterChoice", "Spec", "gate_from", "is_ours", "levels_of", "load", "place", "schema", "stage_limits"]
