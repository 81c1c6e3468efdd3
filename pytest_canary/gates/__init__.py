"""What can be gated: the table name -> kind of metric, the values a gate consists of, and the rules that judge it."""

from pytest_canary.gates.itself import inside_stated_noise
from pytest_canary.gates.table import metric, names
from pytest_canary.gates.values import (
    PRESETS,
    Action,
    Bursts,
    By,
    Counted,
    Decide,
    Gate,
    Kind,
    Levels,
    Limits,
    Metric,
    Noise,
    Status,
)

__all__ = [
    "PRESETS",
    "Action",
    "Bursts",
    "By",
    "Counted",
    "Decide",
    "Gate",
    "Kind",
    "Levels",
    "Limits",
    "Metric",
    "Noise",
    "Status",
    "inside_stated_noise",
    "metric",
    "names",
]
