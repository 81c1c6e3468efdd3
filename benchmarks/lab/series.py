"""What every rule gets to see: requests of a batch of rollouts, poll by poll."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Errors:
    """Requests and errors of one batch of rollouts.

    ``stage`` has one entry per poll: the index of the stage it belongs to.  All counts have shape (rollouts, polls)
    and are what was counted in that poll alone, never cumulative.  With replicas, ``replica_requests`` and
    ``replica_errors`` have shape (rollouts, polls, replicas); the first ``canaries[poll]`` of them are the canary's.
    ``captured_...`` is the baseline alone before the ramp, shape (rollouts, polls before).
    """

    poll_seconds: float
    stage: Ints
    canary_requests: Floats
    canary_errors: Floats
    base_requests: Floats
    base_errors: Floats
    replica_requests: Floats | None = None
    replica_errors: Floats | None = None
    canaries: Ints | None = None
    captured_requests: Floats | None = None
    captured_errors: Floats | None = None


@dataclass(frozen=True)
class Latency:
    """Latencies of one batch as counts per bucket, shape (rollouts, polls, buckets); one bucket more than ``bounds``.

    ``captured`` has shape (rollouts, polls before, buckets): the baseline's counts before the ramp.
    """

    poll_seconds: float
    stage: Ints
    bounds: Floats
    canary: Floats
    base: Floats
    captured: Floats


@dataclass(frozen=True)
class Means:
    """A value per request (tokens): number, sum and sum of squares per poll, each of shape (rollouts, polls)."""

    poll_seconds: float
    stage: Ints
    canary: tuple[Floats, Floats, Floats]
    base: tuple[Floats, Floats, Floats]


ErrorRule = Callable[[Errors], Ints]
"""The poll after which each rollout is rolled back (0 is the first poll); the number of polls where it never is."""
LatencyRule = Callable[[Latency], Ints]
MeansRule = Callable[[Means], Ints]
