"""What can be gated: the table name -> kind of metric, the values a gate consists of, and the rules that judge it."""

from pytest_canary.gates.table import metric, names
from pytest_canary.gates.values import Action, By, Counted, Decide, Gate, Kind, Limits, Metric, Status

__all__ = [
    "Action",
    "By",
    "Counted",
    "Decide",
    "Gate",
    "Kind",
    "Limits",
    "Metric",
    "Status",
    "metric",
    "names",
]
