"""The ports, and the frozen values that cross them.

Units are in the names: ``seconds``, ``share`` and ``ratio`` are 0..1, ``at`` is seconds on the port's own
:class:`Clock`.  Every adapter passes the contract suite of its port (``tests/adapters/``), the public ``memory``
adapters included.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

NOTHING: Mapping[str, Any] = MappingProxyType({})

PROBED = "probe."
"""How the names of counters and histograms begin that probes have counted, and no user."""
PROBES_TOO = f"{PROBED}counted_as_users"
"""Counter of the probes that the metric source took for requests of users; only where it does."""


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
    place: str = ""
    """Where a platform runs it, if the same build can run twice there: not part of what it is."""

    @property
    def key(self) -> tuple[str, str]:
        """What runs, and where: equal only for one and the same set of processes."""
        return self.pin, self.place

    @property
    def pin(self) -> str:
        """Twelve hex digits that name digest, model and configuration together (not the number of replicas)."""
        return _pin(self.digest, self.change, self.copy)

    @property
    def tag(self) -> str:
        """The image's tag, ``latest`` when it has none."""
        _, colon, tag = self.image.rpartition("/")[2].partition(":")
        return tag if colon else "latest"

    def to_data(self) -> dict[str, Any]:
        """Plain values for a :class:`Fact`; :meth:`from_data` reads them back."""
        change = self.change
        named = {"env": dict(change.env), "args": list(change.args), "model": change.model, "replicas": change.replicas}
        more = {name: value for name, value in (("copy", self.copy), ("place", self.place)) if value}
        return {"image": self.image, "digest": self.digest, "change": named, "pin": self.pin, **more}

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
        return cls(data["image"], data["digest"], change, data.get("copy", ""), data.get("place", ""))

    def __str__(self) -> str:
        return f"{self.image} ({self.copy + ' ' if self.copy else ''}{self.pin})"


@lru_cache(maxsize=1024)  # asked for at every poll
def _pin(digest: str, change: Change, copy: str) -> str:
    named = [digest, sorted(change.env), change.args, change.model]
    named += [copy] if copy else []
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:12]


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

    @property
    def of_users(self) -> float:
        """Requests that users sent: those that the source counts, without the probes that it counts as well."""
        return self.counters.get("requests", 0.0) - self.counters.get(PROBES_TOO, 0.0)

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
            elif then.bounds != now.bounds or len(then.counts) != len(now.counts):
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


class Fault(StrEnum):
    """What kind of wrong an answer is, in the order of how little of it there was."""

    NO_ANSWER = "no answer"
    STATUS = "status"
    """Another status than 2xx."""
    STREAM_ERROR = "error in the answer"
    """An error that a 2xx answer holds, mostly as an event of its stream: no gateway sees it."""
    TRUNCATED = "truncated"
    """Neither [DONE] nor a finish_reason, or fewer bytes than were promised, or the time was up."""
    EMPTY = "empty"
    UNEXPECTED = "unexpected"
    """Complete and not what was asked for: no JSON, no stream, not the known answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one :class:`Prompt`, as its user saw it."""

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
    """Output tokens, as the answer's own ``usage`` says; None where it does not."""
    prompt_tokens: int | None = None
    gap_mean_seconds: float | None = None
    """Mean time between one event with a token and the next; None with fewer than two.  An event may hold several."""
    gap_longest_seconds: float | None = None
    """The longest of these: how long a reader saw the text stand still."""
    finish: str | None = None
    """The ``finish_reason``; of several choices the last."""
    refusal: str | None = None
    """What the model said where it would not answer, or ``content_filter``; None when it answered.  Not an error."""
    fault: Fault | None = None
    """The kind of ``error``; None when there is none."""
    fingerprint: str | None = None
    """``system_fingerprint``: the configuration that answered, where it says so."""
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """Headers of the answer, by their names in lower case."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probes of one build have seen."""

    answered: int = 0
    """Probes that have ended, well or not."""
    faults: Mapping[Fault, int] = field(default_factory=dict)
    refused: int = 0
    first_fault: str = ""
    """What was wrong with the first that was, in one line."""
    skipped: int = 0
    """Probes that were due and not sent to any build, because this one still had all it may have in flight."""


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
    unsent: int = 0
    """Requests that were due and could not leave: as many as this machine holds were under way.  Nobody's fault but
    that of the load, so not dropped; the run's figures are those of another load than the one asked for."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the ledger: written before the act it names.  ``at`` is wall time, seconds since 1970."""

    kind: str
    at: float
    data: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Replicas:
    """Who stands for a role, one by one, for a source that asks each of them."""

    key: tuple[str, str]
    """Of the revision: the same means the same processes, in whatever role."""
    where: Callable[[int | None], Mapping[str, str]]
    """Port, or None for the one that users reach -> the base URL of each that takes requests now, by name."""


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
    labels: dict[Role, Mapping[str, str]] = field(default_factory=dict)
    """What tells each role's counters from the others', where a source counts by labels; a router that attaches a role
    writes ``namespace``, ``service``, ``port``, ``deployment`` and ``pod``, a regular expression of its pods' names; of
    a build that is one process ``instance``, the ``host:port`` where it is scraped."""
    replicas: dict[Role, Replicas] = field(default_factory=dict)
    """Where each role's replicas are; a router that attaches a role writes it too, where that is known."""


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

    lasting: bool
    """Whether what runs here serves users between rollouts, so that starting and stopping it is nothing."""

    def stable(self) -> Revision:
        """The revision that serves users today; after :meth:`promote`, the promoted one."""

    def previous(self) -> Revision | None:
        """The revision that was stable before, as the platform remembers it; None when it does not."""

    def resolve(self, image: str, change: Change) -> Revision:
        """Pin ``image``: raises :class:`~pytest_canary.errors.ImageNotFound` when no build can be started from it."""

    def deploy(self, revision: Revision) -> None:
        """Start ``revision`` without any traffic; returns before it is ready.  Deploying twice changes nothing."""

    def scale(self, revision: Revision, replicas: int) -> None:
        """Run ``replicas`` copies of ``revision``."""

    def grow(self, revision: Revision, share: float) -> None:
        """Run as many copies of ``revision`` as ``share`` (0..1) of the traffic takes; returns before they are ready.

        Never fewer than before.
        """

    def ready(self, revision: Revision) -> Readiness:
        """Whether every copy of ``revision`` that was asked for can take requests now; never waits."""

    def strays(self) -> Sequence[Revision]:
        """What a rollout runs beside the stable revision, as it says itself: for when no fact tells of it."""

    def copies(self, revision: Revision) -> frozenset[str] | None:
        """Names of the copies of ``revision`` that take requests, as a source that counts them apart calls them.

        None where the platform has no names for them.
        """

    def hurt(self, revision: Revision) -> str:
        """What has happened to copies of ``revision`` that were ready: died, out of memory, not ready any more.

        One line; empty when nothing has, or where nobody can tell.
        """

    def address(self, revision: Revision) -> str:
        """Base URL that reaches ``revision`` directly, past the router; for probes and, on one machine, the router."""

    def model(self, revision: Revision) -> str | None:
        """The model version that ``revision`` reports to serve; None when it does not say."""

    def promote(self, canary: Revision) -> Revision:
        """Make ``canary`` the stable revision and return what is stable now; moves no traffic.

        The same :attr:`~Revision.key` means the very processes that have been proven.  Another means new ones: they
        come up while the old canary still serves, and promoting the revision that was stable before undoes it.
        """

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

    interval_seconds: float | None
    """How often what it tells is renewed; 0 where it is always of this moment, None while it is not known."""

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        """Cumulative counters of each attached role; a role without requests has counters of 0, not none.

        Raises :class:`~pytest_canary.errors.SourceUnavailable` when the source does not answer.
        """


@dataclass(frozen=True, slots=True)
class Asked:
    """How a metric source learns one number."""

    query: str
    """What it asks, to be pasted where somebody wants to see for himself."""
    series: int | None = None
    """How many series there are of its metric now; None where it is always counted."""
    by: str = ""
    """What says so, such as the name of a profile."""


class Explains(Protocol):
    """What a :class:`MetricSource` may do besides: say how it learns each number, to people and never to a verdict."""

    def explain(self, role: Role) -> Mapping[str, Asked]:
        """``counters.errors`` and so on, for every name that a sample of ``role`` may have -> how it is learnt.

        Raises :class:`~pytest_canary.errors.SourceUnavailable` when that cannot be told now.
        """


class Remembers(Protocol):
    """What a :class:`MetricSource` may do besides: tell what a role had counted in the hours before."""

    def past(self, role: Role, begin: float, end: float, step_seconds: float) -> Iterator[Sample]:
        """Cumulative counters of ``role`` at every step from ``begin`` to ``end`` (wall times), oldest first.

        ``at`` of a sample is wall time too.  Counters never go back; times of which nothing is known are left out, and
        ``replicas`` are those that could be read then.
        Raises :class:`~pytest_canary.errors.SourceUnavailable` when the source does not answer.
        """


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What one role will have counted at some times, without its replicas and strata."""

    times: Sequence[float]
    like: Sample
    """The first of them; all have its names and boundaries."""
    counters: Mapping[str, Sequence[float]]
    """Each at every time."""
    others: Any
    """A row for each time: the counts and the sum of each histogram, then gauges, in the order of ``like``."""

    def brief(self) -> Iterator[Sample]:
        """Samples without buckets: counters, and of each histogram its sum alone."""
        at, sums = 0, dict[str, int]()
        for name, histogram in self.like.histograms.items():
            at += len(histogram.counts)
            sums[name], at = at, at + 1
        totals = self.others[:, [*sums.values()]].tolist()
        for time, counted, total in zip(self.times, zip(*self.counters.values(), strict=True), totals, strict=True):
            histograms = {name: Histogram((), (), one) for name, one in zip(sums, total, strict=True)}
            yield Sample(time, dict(zip(self.counters, counted, strict=True)), histograms)

    def sample(self, index: int) -> Sample:
        """All that is told of the time with this index."""
        row, at, histograms = self.others[index].tolist(), 0, dict[str, Histogram]()
        for name, one in self.like.histograms.items():
            end = at + len(one.counts)
            histograms[name], at = Histogram(one.bounds, tuple(row[at:end]), row[end]), end + 1
        counters = {name: counted[index] for name, counted in self.counters.items()}
        return Sample(
            self.times[index], counters, histograms, gauges=dict(zip(self.like.gauges, row[at:], strict=True))
        )


class Foresees(Protocol):
    """What a :class:`MetricSource` on a virtual clock may do besides: tell what will have been counted."""

    def ahead(self, roles: Sequence[Role], times: Sequence[float]) -> Mapping[Role, Foreseen]:
        """What :meth:`MetricSource.poll` will return at these times, if nothing happens but that they pass.

        Nothing is spent: who does not wait for them, or lets something happen first, finds what is true then.
        Empty where that cannot be told.
        """


class NamesModels(Protocol):
    """What a :class:`MetricSource` may do besides: say which model its series are of."""

    def models(self, role: Role) -> Mapping[str, str]:
        """Replica -> the model that ``role`` serves there by the labels of its series, ``name@version``.

        Empty where no series says; one entry, of the replica ``""``, where replicas are not told apart.
        Raises :class:`~pytest_canary.errors.SourceUnavailable` when that cannot be told now.
        """


class Probe(Protocol):
    """Asks one build directly: smoke, warm-up, model version, probes.  Never part of what users are counted by."""

    def ask(self, address: str, prompt: Prompt) -> Answer:
        """Send ``prompt`` to the build at ``address``; failures are in the answer, never raised."""

    def close(self) -> None:
        """Let go of connections."""


class Probes(Protocol):
    """Asks all builds of a rollout the same prompts, again and again, straight at their addresses, and counts."""

    def begin(self, addresses: Mapping[Role, str], prompts: Sequence[Prompt]) -> None:
        """Ask the builds at ``addresses`` from now on, and no others; what each role has counted stays."""

    def end(self) -> None:
        """Ask nobody any more; returns at once.  Safe to repeat."""

    def counted_too(self) -> None:
        """Know from now on that the metric source counts these requests as well."""

    def seen(self) -> Mapping[Role, Probed]:
        """What they have seen of each role until now."""


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
    probes: Probes | None = None

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """In the order in which they start; they stop the other way round."""
        last = (self.users,) if self.users else ()
        return (self.platform, self.router, self.source, *last)
