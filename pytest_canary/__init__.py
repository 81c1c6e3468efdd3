"""A rollout is a test suite: pytest ships the build and puts the old one back when a gate fails."""

__version__ = "0.1.0"
