"""rollout.yaml -> Spec, with the line of every mistake."""

from pytest_canary.spec.gating import gate_from, stage_limits
from pytest_canary.spec.levels import levels_of
from pytest_canary.spec.pricing import prices_of
from pytest_canary.spec.probed import probe_warnings, refuse_what_probes_cannot_tell
from pytest_canary.spec.reading import AdapterChoice, Spec, is_ours, load, place, schema
from pytest_canary.spec.simulated import traffic_of

__all__ = [
    "AdapterChoice",
    "Spec",
    "gate_from",
    "is_ours",
    "levels_of",
    "load",
    "place",
    "prices_of",
    "probe_warnings",
    "refuse_what_probes_cannot_tell",
    "schema",
    "stage_limits",
    "traffic_of",
]
