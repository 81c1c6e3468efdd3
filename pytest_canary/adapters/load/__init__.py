"""Synthetic users: open-loop load in a process of its own, for targets that have no real users."""

from pytest_canary.adapters.load.users import HttpUsers, LoadOptions

OFFERS = {"load": HttpUsers}

__all__ = ["OFFERS", "HttpUsers", "LoadOptions"]
