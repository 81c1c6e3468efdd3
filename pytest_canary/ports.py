"""The ports, and the frozen values that cross them.

Units are in the names: ``seconds``, ``share`` and ``ratio`` are 0..1, ``at`` is seconds on the port's own
:class:`Clock`.  Every adapter passes the contract suite of its port (``tests/adapters/``), the public ``memory``
adapters included.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Role(StrEnum):
    """Whom a share of the traffic belongs to; tables, loops and weights go over roles, never over two names."""

    BASELINE = "baseline"
    CONTROL = "control"
    CANARY = "canary"


Weights = Mapping[Role, float]
"""Role -> share of the traffic, 0..1, adding up to 1."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is new about a canary besides its image; any of these may be what a rollout ships."""

    env: tuple[tuple[str, str], ...] = ()
    args: tuple[str, ...] = ()
    model: str | None = None
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """A build that can be started: image, what the image was resolved to, and configuration.

    ``digest`` is what the platform says the image is now (a registry digest; on one machine a hash of command and
    code), so that a tag that moves later cannot change what is running.
    """

    image: str
    digest: str
    change: Change = Change()
    copy: str = ""
    """Name of a copy that runs beside the original, such as ``control``; empty for the original."""

    @property
    def pin(self) -> str:
        """Twelve hex digits that name digest, model and configuration together (not the number of replicas)."""
        named = [self.digest, sorted(self.change.env), self.change.args, self.change.model]
        named += [self.copy] if self.copy else []
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:12]

    @property
    def tag(self) -> str:
        """The image's tag, ``latest`` when it has none."""
        _, colon, tag = self.image.rpartition("/")[2].partition(":")
        return tag if colon else "latest"

    def to_data(self) -> dict[str, Any]:
        """Plain values for a :class:`Fact`; :meth:`from_data` reads them back."""
        change = self.change
        named = {"env": dict(change.env), "args": list(change.args), "model": change.model, "replicas": change.replicas}
        copy = {"copy": self.copy} if self.copy else {}
        return {"image": self.image, "digest": self.digest, "change": named, "pin": self.pin, **copy}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Revision:
        """The revision that :meth:`to_data` wrote."""
        named = data.get("change", NOTHING)
        change = Change(
            tuple(sorted(named.get("env", NOTHING).items())),
            tuple(named.get("args", ())),
            named.get("model"),
            named.get("replicas"),
        )
        return cls(data["image"], data["digest"], change, data.get("copy", ""))

    def __str__(self) -> str:
        return f"{self.image} ({self.copy + ' ' if self.copy else ''}{self.pin})"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a revision can take requests, and if not, why not (one line for the user).

    ``hopeless`` means that waiting longer cannot help: the process has ended, the image does not exist.
    """

    ready: bool
    why: str = ""
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts by bucket: ``bounds`` are upper edges in the metric's unit, rising; one more count than bounds.

    ``counts[i]`` holds observations in ``(bounds[i-1], bounds[i]]``; the last holds all that are above every bound.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float = 0.0
    """Sum of all observed values (not their number)."""

    @property
    def number(self) -> float:
        """How many observations there are."""
        return sum(self.counts)

    def above(self, bound: float) -> float:
        """How many observations are greater than ``bound``, which must be one of ``bounds``."""
        return sum(self.counts[bisect_left(self.bounds, bound) + 1 :])

    def quantile(self, q: float) -> float | None:
        """The value below which a share ``q`` lies, interpolated in its bucket; None if empty or above all bounds."""
        rank, below, lower = q * self.number, 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and below + count >= rank:
                return lower + (bound - lower) * (rank - below) / count
            below, lower = below + count, bound
        return None


@dataclass(frozen=True, slots=True)
class Sample:
    """What one role has counted since its counters began, and the time at which that was true.

    Counters are cumulative.  Names that built-in gates know: ``requests``, ``errors``, ``client_errors``; histograms
    ``latency`` and ``ttft`` in seconds.  ``gauges`` are values of this moment.  ``replicas`` holds the same per
    replica, and ``strata`` per value of a label (label -> value -> sample), where the source knows them.
    """

    at: float
    counters: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    histograms: Mapping[str, Histogram] = field(default_factory=lambda: NOTHING)
    replicas: Mapping[str, Sample] = field(default_factory=lambda: NOTHING)
    gauges: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    strata: Mapping[str, Mapping[str, Sample]] = field(default_factory=lambda: NOTHING)

    def since(self, earlier: Sample | None) -> Sample | None:
        """What was counted after ``earlier``; None when a counter went back (the source restarted)."""
        if earlier is None:
            return self
        counters = {name: value - earlier.counters.get(name, 0.0) for name, value in self.counters.items()}
        histograms: dict[str, Histogram] = {}
        for name, now in self.histograms.items():
            then = earlier.histograms.get(name)
            if then is None or not then.counts:
                histograms[name] = now
            elif then.bounds != now.bounds:
                return None
            else:
                counts = tuple(a - b for a, b in zip(now.counts, then.counts, strict=True))
                histograms[name] = Histogram(now.bounds, counts, now.total - then.total)
        if any(value < 0 for value in counters.values()):
            return None
        if any(count < 0 for histogram in histograms.values() for count in histogram.counts):
            return None
        strata = {
            label: _parts_since(values, earlier.strata.get(label, NOTHING)) for label, values in self.strata.items()
        }
        replicas = _parts_since(self.replicas, earlier.replicas)
        return Sample(self.at, counters, histograms, replicas, self.gauges, strata)


def _parts_since(now: Mapping[str, Sample], earlier: Mapping[str, Sample]) -> dict[str, Sample]:
    """What each part counted; a part whose counters began anew (a pod that restarted) is left out this once."""
    parts = {name: part.since(earlier.get(name)) for name, part in now.items()}
    return {name: part for name, part in parts.items() if part is not None}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One representative request: a method, a path, a JSON body, and what a right answer contains."""

    path: str = "/v1/chat/completions"
    body: Mapping[str, Any] | None = None
    method: str = "POST"
    stream: bool = False
    expect: str | None = None
    """Text that a known-good answer contains; None when any finished answer will do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one :class:`Prompt`."""

    status: int
    """HTTP status; 0 when there was no answer at all."""
    seconds: float
    ttft_seconds: float | None = None
    """Time to the first token of a stream; None where there was none."""
    text: str = ""
    finished: bool = True
    """False when the body or stream ended early."""
    error: str | None = None
    """What was wrong, in one line; an error event inside a 200 stream stands here too."""
    model: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the synthetic users saw, from their side of the router."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    """Answers with a 5xx that a build made: the build's fault."""
    dropped: int = 0
    """Requests that no build answered or whose answer was cut: refused, reset, truncated, or a 5xx the router made."""
    dropped_why: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    lag_p99_seconds: float = 0.0
    """How late requests left, against their own schedule; above 5 ms the run's latencies are not to be trusted."""
    p50_seconds: float | None = None
    p99_seconds: float | None = None
    first_bad: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    """Served-by name (a revision's pin) -> wall time of the first failed or dropped answer."""
    bad: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    """Served-by name -> failed answers."""
    served: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    """Served-by name -> answers."""
    last: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    """Served-by name -> wall time of the last answer that began there."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the ledger: written before the act it names.  ``at`` is wall time, seconds since 1970."""

    kind: str
    at: float
    data: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(slots=True)
class Shared:
    """What the adapters of one target are given when they are connected, and where they find each other.

    ``handles`` is the shared handle of adapters of one technology (Envoy is both router and metric source);
    ``note(kind, **data)`` writes a fact to the ledger before an adapter acts.
    """

    service: str
    clock: Clock
    state: Path
    """This rollout's own folder for what must outlive the process: logs, configuration, pid files."""
    home: Path
    """The folder of the rollout.yaml; relative paths in options are relative to it."""
    run: str = "run"
    note: Callable[..., None] = field(default=lambda *_, **__: None)
    handles: dict[str, Any] = field(default_factory=dict)


class Clock(Protocol):
    """Time.  ``virtual`` clocks move only when somebody sleeps, so nothing waits."""

    virtual: bool

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    def wall(self) -> float:
        """Seconds since 1970, for people and files; may jump."""

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


class Adapter(Protocol):
    """What every platform, router, metric source and load generator can do besides its own work."""

    def check(self) -> Sequence[str]:
        """What is missing on this machine, one line each with the command that mends it; changes nothing."""

    def recover(self, facts: Sequence[Fact]) -> None:
        """Take hold of what an earlier run left, from its facts: processes still alive, files.  Safe to repeat."""

    def start(self) -> None:
        """Bring up what this adapter needs and does not have yet."""

    def stop(self) -> None:
        """Take down everything this adapter has started or taken hold of.  Safe to repeat."""


class Platform(Adapter, Protocol):
    """Where revisions run."""

    def stable(self) -> Revision:
        """The revision that serves users today; after :meth:`promote`, the promoted one."""

    def resolve(self, image: str, change: Change) -> Revision:
        """Pin ``image``: raises :class:`~pytest_canary.errors.ImageNotFound` when no build can be started from it."""

    def deploy(self, revision: Revision) -> None:
        """Start ``revision`` without any traffic; returns before it is ready.  Deploying twice changes nothing."""

    def scale(self, revision: Revision, replicas: int) -> None:
        """Run ``replicas`` copies of ``revision``."""

    def ready(self, revision: Revision) -> Readiness:
        """Whether ``revision`` can take requests now; never waits."""

    def address(self, revision: Revision) -> str:
        """Base URL that reaches ``revision`` directly, past the router; for probes and, on one machine, the router."""

    def model(self, revision: Revision) -> str | None:
        """The model version that ``revision`` reports to serve; None when it does not say."""

    def promote(self, canary: Revision) -> Revision:
        """Make ``canary`` the stable revision and return what is stable now; moves no traffic."""

    def remove(self, revision: Revision) -> None:
        """Stop ``revision``, letting it finish what it serves.  Removing what is gone changes nothing."""


class Router(Adapter, Protocol):
    """Who splits the traffic."""

    def address(self) -> str:
        """Base URL at which users enter."""

    def attach(self, role: Role, revision: Revision, address: str) -> None:
        """Let ``revision`` at ``address`` stand for ``role``; a new role holds no traffic, the others keep theirs."""

    def detach(self, role: Role) -> None:
        """Forget ``role``, which must hold no traffic.  Detaching an unknown role changes nothing."""

    def weights(self) -> Weights:
        """The shares that requests follow now, attached roles only."""

    def set_weights(self, weights: Weights) -> None:
        """Set all shares in one atomic change and return once it is programmed.

        Roles that are attached and not named get 0.  Raises :class:`~pytest_canary.errors.AdapterError` and leaves
        the old weights when a role is unknown, a share is negative or the shares do not add up to 1.
        """

    def in_flight(self, role: Role) -> int:
        """Requests of ``role`` that have begun and not ended."""

    def mirror(self, share: float) -> None:
        """Send a copy of this share of requests to the canary as well; its answers reach nobody and count nowhere."""


class MetricSource(Adapter, Protocol):
    """Who counts."""

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        """Cumulative counters of each attached role; a role without requests has counters of 0, not none.

        Raises :class:`~pytest_canary.errors.SourceUnavailable` when the source does not answer.
        """


class Probe(Protocol):
    """Asks one build directly: smoke, warm-up, model version.  Never part of what is counted."""

    def ask(self, address: str, prompt: Prompt) -> Answer:
        """Send ``prompt`` to the build at ``address``; failures are in the answer, never raised."""

    def close(self) -> None:
        """Let go of connections."""


class Users(Adapter, Protocol):
    """Synthetic traffic, where a target has no real users."""

    def enter(self, address: str) -> None:
        """Begin to send requests to ``address``, open loop: the next request never waits for the last answer."""

    def seen(self) -> Seen:
        """What they saw until now."""

    def leave(self) -> Seen:
        """Send nothing new, wait for the answers that are due, and say what was seen.  Safe to repeat."""


@runtime_checkable
class Ledger(Protocol):
    """The lock and the journal of one rollout: what any other process needs to carry on or to put right."""

    def acquire(self, run: str) -> None:
        """Hold this rollout for ``run``; raises :class:`~pytest_canary.errors.Busy` when another live run holds it."""

    def renew(self) -> None:
        """Say that this run is still alive."""

    def append(self, fact: Fact) -> None:
        """Write ``fact`` so that it outlives this process; returns once it is safe."""

    def read(self) -> Sequence[Fact]:
        """All facts of the current chapter, oldest first; half a last line, left by a kill, is passed over."""

    def close_chapter(self, keep: Sequence[Fact] = ()) -> None:
        """Put the facts read so far away as history and begin a chapter with ``keep``."""

    def release(self) -> None:
        """Let go of the rollout.  Safe to repeat."""


@dataclass(frozen=True, slots=True)
class World:
    """The adapters of one target, connected."""

    platform: Platform
    router: Router
    source: MetricSource
    probe: Probe
    clock: Clock
    shared: Shared
    users: Users | None = None

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """In the order in which they start; they stop the other way round."""
        last = (self.users,) if self.users else ()
        return (self.platform, self.router, self.source, *last)
