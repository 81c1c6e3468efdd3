"""What can be gated: the table name -> kind of metric, and the frozen values that a gate consists of."""

from pytest_canary.gates.values import Action, Decide, Gate, Kind, Limits, Metric

__all__ = ["Action", "Decide", "Gate", "Kind", "Limits", "Metric"]
