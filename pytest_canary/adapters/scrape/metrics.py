"""What the replicas of each role have counted, as their own pages say."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from threading import RLock

from pytest_canary.adapters.profiles import Snapshot, Source, Suspects, Tally, in_one_unit, names_of
from pytest_canary.adapters.scrape.explained import explained
from pytest_canary.adapters.scrape.look import Look, Looks
from pytest_canary.adapters.scrape.options import ScrapeOptions
from pytest_canary.adapters.scrape.targets import WRITE, placed
from pytest_canary.errors import AdapterError, SourceUnavailable
from pytest_canary.ports import Asked, Fact, Role, Sample, Shared

IN_FLIGHT = "in_flight"
"""The handle by which a router asks what has begun and not ended."""
ARRIVED_SECONDS = 3.0
"""So long after a shift requests may still be on their way to a replica."""


class ScrapeMetrics:
    """Reads the pages of all replicas at the same time and adds up what each has counted.

    ``Sample.at`` is the moment at which the replica that was read longest ago was read: now, unless one is silent.
    """

    Options = ScrapeOptions
    interval_seconds = 0.0

    def __init__(self, options: ScrapeOptions, shared: Shared) -> None:
        self._options, self._shared, self._clock = options, shared, shared.clock
        self._looks = Looks(options, shared)
        self._kinds: dict[str, str] = {}
        self._suspects = Suspects(lambda metrics: {m: self._kinds[m] for m in metrics if m in self._kinds})
        self._tallies: dict[Hashable, Tally] = {}
        self._well: dict[Hashable, Mapping[Source, float]] = {}
        """When each replica answered last, on the run's clock."""
        self._layouts: dict[str, tuple[float, ...]] = {}
        self._said: set[Hashable] = set()
        self._lock = RLock()  # a watcher polls while the main thread asks what is in flight
        shared.handles[IN_FLIGHT] = self.in_flight

    @classmethod
    def connect(cls, options: ScrapeOptions, shared: Shared) -> ScrapeMetrics:
        """The metric source of one target; asks nobody yet.

        Raises:
            UsageError: the profile is not there or not right.

        """
        return cls(options, shared)

    def check(self) -> Sequence[str]:
        files = [self._options.bearer_file, self._options.tls.ca, self._options.tls.cert, self._options.tls.key]
        paths = [self._shared.home / file for file in files if file]
        return [
            f"metrics.scrape: there is no file {path}; write it, or mend the rollout.yaml"
            for path in paths
            if not path.is_file()
        ]

    def recover(self, facts: Sequence[Fact]) -> None:
        """Nothing: what was counted is still there."""

    def start(self) -> None:
        """Nothing: the replicas tell."""

    def stop(self) -> None:
        """Let go of connections."""
        with self._lock:
            self._looks.close()

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        if not (self._shared.replicas or self._shared.labels or self._options.roles):
            raise SourceUnavailable(f"the router of this target does not say where replicas are; {WRITE}")
        wanted = [role for role in roles if placed(role, self._options, self._shared)]
        if not wanted:
            return {}
        with self._lock:
            look = self._look(wanted)
            read = {role: self._count(look, role) for role in wanted}
            nobodys = self._nobodys(look)
            samples = {
                role: self._tally(look, role).sample(role, snapshot, at, self._layouts, nobodys)
                for role, (snapshot, at) in read.items()
            }
            self._suspects.counts(look.reading.profile)
            in_one_unit(samples)
        return samples

    def explain(self, role: Role) -> Mapping[str, Asked]:
        """As the port has it: a line for a shell, of one of the replicas."""
        if not placed(role, self._options, self._shared):
            raise SourceUnavailable("nothing runs here before a run, so there is nothing to scrape yet")
        with self._lock:
            return explained(self._look([role]), role)

    def in_flight(self, role: Role, since_wall: float) -> int:
        """Requests of ``role`` that have begun and not ended, a while after ``since_wall`` (seconds since 1970).

        Raises:
            AdapterError: a replica does not answer, it is too early, or the profile has no gauge ``in_flight``.

        """
        unknown = f"in-flight requests of {role} are not known"
        if self._clock.wall() - since_wall < ARRIVED_SECONDS:
            raise AdapterError(f"{unknown}: less than {ARRIVED_SECONDS:g} s have passed since the last shift")
        try:
            with self._lock:
                look = self._look([role])
                snapshot = look.snapshot(role)
        except SourceUnavailable as error:
            raise AdapterError(f"{unknown}: {error}") from error
        if IN_FLIGHT not in look.reading.profile.gauges:
            raise AdapterError(f"{unknown}: profile {look.reading.profile.name} has no [gauges.{IN_FLIGHT}]; add one")
        values = {source: told[IN_FLIGHT] for source, told in snapshot.gauges.items() if IN_FLIGHT in told}
        if untold := snapshot.scraped.keys() - values.keys():
            raise AdapterError(f"{unknown}: {names_of(untold)} does not tell them")
        return round(sum(values.values()))

    def _look(self, roles: Sequence[Role]) -> Look:
        look = self._looks.take(roles)
        self._kinds |= look.kinds()
        return look

    def _tally(self, look: Look, role: Role) -> Tally:
        """By the processes, not by the role: what the canary has counted stays counted when it is the baseline."""
        return self._tallies.setdefault(look.targets[role].key, Tally(look.profile(role)))

    def _nobodys(self, look: Look) -> frozenset[str]:
        """Counters that none of the roles has, though there are requests."""
        tallies = [tally for role in look.targets if (tally := self._tally(look, role)).asked]
        nobodys = self._suspects.nobodys(look.reading.profile, tallies)
        if nobodys:
            self._say("unseen", unseen=sorted(nobodys), why="no replica has their metrics, which is not 0")
        return nobodys

    def _count(self, look: Look, role: Role) -> tuple[Snapshot, float]:
        """What the role's pages say, and when that was true of all of them."""
        snapshot, tally = look.snapshot(role), self._tally(look, role)
        at = self._read_at(look, role, snapshot)
        tally.count(snapshot)
        if tally.doubt:
            raise SourceUnavailable(f"{role}: {tally.doubt}")
        if snapshot.unsummed:
            names = sorted(snapshot.unsummed)
            self._say("unsummed", unsummed=names, why="a sum is NaN: no data until its replicas begin anew")
        return snapshot, at

    def _read_at(self, look: Look, role: Role, snapshot: Snapshot) -> float:
        """When the replica was read that was read longest ago; one that never answered is as old as our wait for it."""
        before = self._well.get(look.targets[role].key, {})
        silent = {source: before.get(source, look.now) for source in snapshot.down}
        well = {source: at for source, at in snapshot.scraped.items() if source not in silent}
        self._well[look.targets[role].key] = {**silent, **well}
        for source in silent:
            why = f"{look.why(source)}; the others count, and nothing goes on before it answers"
            self._say(source, silent=names_of([source]), say=f"{role}: {names_of([source])} {why}")
        self._said -= well.keys()
        return min({**silent, **well}.values())

    def _say(self, once: Hashable, **data: object) -> None:
        if once not in self._said:
            self._said.add(once)
            self._shared.note("scrape", **data)
