"""Loaded for ``rollouts/`` and ``tests/``."""

pytest_plugins = ["pytester"]
