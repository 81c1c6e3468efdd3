"""Pseudo-canaries: random replicas of the stable build, played against the others through a plan's own rules."""

from pytest_canary.play.cast import Cast, Part, cast
from pytest_canary.play.history import Buckets, History
from pytest_canary.play.joining import together
from pytest_canary.play.player import Played, play
from pytest_canary.play.reading import of_samples
from pytest_canary.play.worse import regression, worse

__all__ = [
    "Buckets",
    "Cast",
    "History",
    "Part",
    "Played",
    "cast",
    "of_samples",
    "play",
    "regression",
    "together",
    "worse",
]
