"""The builds of the demo gateway, good and bad: everything in which two builds differ stands in one row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Build:
    """How one build behaves; the defaults are those of a healthy one.  Requests are chat requests, counted from 1."""

    name: str
    model_version: str = "7"
    fingerprint: str = ""
    """Of the checkpoint it has really loaded, as answers have it; that of its model and version unless given."""
    error_ratio: float = 0.002
    """Share of requests answered with a 500; even a healthy build has some."""
    good_requests: int = 20
    """So many requests are answered well first: errors come with load, and what leaks passes every smoke test."""
    bad_minutes: int = 1
    """Of so many minutes only the last has errors; 1 for every minute."""
    slowdown: float = 1.0
    """Factor on every time a user waits."""
    cold_requests: int = 0
    """So many requests begin slowly: caches fill, kernels are compiled."""
    leak: float = 0.0
    """What every request adds to the slowdown of all that follow."""
    stream_slowdown: float = 1.0
    """Factor on the time between one token and the next."""
    cut_ratio: float = 0.0
    """Share of streams that end in the middle, inside a 200."""
    wordiness: float = 1.0
    """How many times as many words as the answer has are said, in the same time."""
    refusal_ratio: float = 0.0
    """Share of requests that the model will not answer."""
    refuses_after: int | None = None
    """After so many requests everyone is answered 401."""
    crashes_after: int | None = None
    """After so many requests the process ends."""
    ready: bool = True
    """Whether the health check is ever answered."""
    deaf: bool = False
    """Whether SIGTERM is ignored."""

    @property
    def system_fingerprint(self) -> str:
        """What stands in every answer, as OpenAI's do."""
        return self.fingerprint or f"fp_{self.model_version}"

    def first_slowness(self, nth: int) -> float:
        """Factor on the time until request ``nth`` has its first token, or its short answer."""
        cold = COLD_SLOWDOWN if nth <= self.cold_requests else 1.0
        return self.slowdown * cold * (1.0 + self.leak * nth)

    def stream_slowness(self, nth: int) -> float:
        """Factor on the time between the tokens of request ``nth``."""
        return self.slowdown * self.stream_slowdown * (1.0 + self.leak * nth)

    def errs_at(self, nth: int, minute: float) -> bool:
        """Whether request ``nth``, so many minutes after the start, may be answered with an error."""
        return nth > self.good_requests and int(minute) % self.bad_minutes == self.bad_minutes - 1


COLD_SLOWDOWN = 6.0

BUILDS = {
    build.name: build
    for build in (
        Build("v1"),
        Build("v2"),
        Build("v2-errors", error_ratio=0.12, good_requests=80),
        Build("v2-slow", slowdown=2.0),
        Build("v2-model8", model_version="8"),
        Build("v2-checkpoint", fingerprint="fp_44"),
        Build("v2-cold", cold_requests=200),
        Build("v2-crash", crashes_after=300),
        Build("v2-hangs", ready=False),
        Build("v2-lies", error_ratio=1.0, good_requests=0),
        Build("v2-truncates", cut_ratio=0.4, good_requests=80),
        Build("v2-empty", wordiness=0.0),
        Build("v2-leaks", leak=0.005),
        Build("v2-unauthorized", refuses_after=0),
        Build("v2-expires", refuses_after=80),
        Build("v2-flaky", error_ratio=0.5, good_requests=0, bad_minutes=3),
        Build("v2-chatty", wordiness=2.0),
        Build("v2-verbose", wordiness=1.4),
        Build("v2-refuses", refusal_ratio=0.15, good_requests=80),
        Build("v2-slowstream", stream_slowdown=2.5),
        Build("v2-deaf", deaf=True),
    )
}
