"""Asks a build over HTTP: representative requests, streamed and not, straight at its address."""

from pytest_canary.adapters.http.probe import HttpProbe, ProbeOptions

OFFERS = {"probe": HttpProbe}

__all__ = ["OFFERS", "HttpProbe", "ProbeOptions"]
