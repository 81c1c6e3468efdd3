"""The console command ``pytest-canary``: what is done by hand, outside a pytest run."""

from pytest_canary.command.arguments import main

__all__ = ["main"]
