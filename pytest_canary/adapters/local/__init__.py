"""Revisions as processes on this machine."""

from collections.abc import Mapping

from pytest_canary.adapters.local.platform import LocalPlatform

OFFERS: Mapping[str, type] = {"platform": LocalPlatform}

__all__ = ["OFFERS", "LocalPlatform"]
