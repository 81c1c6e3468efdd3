"""A load tool's result file -> what it has measured, and gates that are held against it."""

from pytest_canary.results.against import Held, held, hold
from pytest_canary.results.files import FORMATS, read_result
from pytest_canary.results.values import Figure, Result

__all__ = ["FORMATS", "Figure", "Held", "Result", "held", "hold", "read_result"]
