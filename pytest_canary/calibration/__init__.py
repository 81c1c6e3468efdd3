"""From a history to the false rollbacks that a plan would have made of it, and the levels that keep them rare."""

from pytest_canary.calibration.calibrate import Result, calibrate
from pytest_canary.calibration.enough import doubts_of
from pytest_canary.calibration.knobs import Asked
from pytest_canary.calibration.noise import Noise, noise_of
from pytest_canary.calibration.result import Found, Measured, as_file

__all__ = ["Asked", "Found", "Measured", "Noise", "Result", "as_file", "calibrate", "doubts_of", "noise_of"]
