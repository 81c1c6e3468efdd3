"""Probes: the same prompts to every build of a rollout, straight at its address, counted for gates of their own."""

from pytest_canary.probing.probes import Pace, PacedProbes
from pytest_canary.probing.source import ProbedSource

__all__ = ["Pace", "PacedProbes", "ProbedSource"]
