"""The builds of the demo gateway, good and bad: everything in which two builds differ stands in one row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Build:
    """How one build behaves; the defaults are those of a healthy one."""

    name: str
    model_version: str = "7"
    error_ratio: float = 0.002
    """Share of chat requests answered with a 500; even a healthy build has some."""
    good_requests: int = 20
    """So many chat requests are answered well first: errors come with load, and what leaks passes every smoke test."""
    slowdown: float = 1.0
    """Factor on every time a user waits."""


BUILDS = {
    build.name: build
    for build in (
        Build("v1"),
        Build("v2"),
        Build("v2-errors", error_ratio=0.12, good_requests=80),
        Build("v2-slow", slowdown=2.0),
        Build("v2-model8", model_version="8"),
    )
}
