"""What Prometheus has counted of each role, by the labels that the router tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import RLock

from pytest_canary.adapters.profiles import Profile, Snapshot, Suspects, Tally, in_one_unit, load, names_of
from pytest_canary.adapters.prometheus.answer import models_of, nothing, snapshot_of
from pytest_canary.adapters.prometheus.apart import Apart
from pytest_canary.adapters.prometheus.choice import found_out
from pytest_canary.adapters.prometheus.options import PrometheusOptions
from pytest_canary.adapters.prometheus.past import past
from pytest_canary.adapters.prometheus.queries import Questions
from pytest_canary.adapters.prometheus.rhythm import Rhythm
from pytest_canary.adapters.prometheus.server import PrometheusServer
from pytest_canary.errors import AdapterError, SourceUnavailable
from pytest_canary.ports import Asked, Fact, Role, Sample, Shared

CHECK_SECONDS = 3.0
IN_FLIGHT = "in_flight"
"""The handle by which a router asks what has begun and not ended."""
PROXY = "contour"
"""The profile of a proxy that tells the Services behind it apart."""


class PrometheusMetrics:
    """Reads raw counters of all roles at one instant of the server's time and adds up what each target counted.

    ``Sample.at`` is the newest scrape that all replicas of the role have.  Nothing is a rate over a window, so
    nothing of one stage is mixed into the next.
    """

    Options = PrometheusOptions

    def __init__(self, options: PrometheusOptions, shared: Shared) -> None:
        self._options, self._shared, self._clock = options, shared, shared.clock
        self._server = PrometheusServer(options, shared)
        self._profile = load(options.profile, shared.home) if options.profile else None
        self._rhythm = Rhythm(options.scrape_interval)
        self._suspects, self._apart = Suspects(self._server.kinds), Apart(self._server)
        self._tallies: dict[str, Tally] = {}
        self._layouts: dict[str, tuple[float, ...]] = {}
        self._in_front: bool | None = None
        self._proxy_profile: Profile | None = None
        self._said: set[str] = set()
        self._lock = RLock()  # a watcher polls while the main thread asks what is in flight
        shared.handles[IN_FLIGHT] = self.in_flight

    @classmethod
    def connect(cls, options: PrometheusOptions, shared: Shared) -> PrometheusMetrics:
        """The metric source of one target; asks nobody yet.

        Raises:
            UsageError: the profile is not there or not right.

        """
        return cls(options, shared)

    @property
    def interval_seconds(self) -> float | None:
        """How often targets are scraped; None until that was seen."""
        return self._rhythm.interval

    @property
    def lag_seconds(self) -> float | None:
        """How old a sample was at most, lately; None before the first."""
        return self._rhythm.lag

    def check(self) -> Sequence[str]:
        if self._server.malformed:
            return [f"metrics.prometheus.url: found {self._server.url!r}, {self._server.malformed}"]
        try:
            with self._lock, self._server.within(min(CHECK_SECONDS, self._options.timeout)):
                self._server.time()
        except SourceUnavailable as error:
            return [str(error)]
        finally:
            self._server.close()
        return []

    def recover(self, facts: Sequence[Fact]) -> None:
        """Nothing: what was counted is still there."""

    def start(self) -> None:
        """Nothing: Prometheus runs."""

    def stop(self) -> None:
        """Let go of connections."""
        self._server.close()

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        if not self._shared.labels and not self._options.roles:
            raise SourceUnavailable(
                "the router of this target does not say which series are whose; write `metrics.prometheus.roles`, such "
                "as {baseline: {job: gateway-a}, canary: {job: gateway-b}}"
            )
        placed = [role for role in roles if self._placed(role)]
        if not placed:
            return {}
        with self._lock, self._server.within(self._options.timeout):
            asked = {role: self._questions(role) for role in placed}
            self._apart.alike(asked)
            now, at = self._clock.now(), self._server.time()
            self._rhythm.learn(self._server, next(iter(asked.values())).rhythm, at)
            read = {role: self._count(role, one, at) for role, one in asked.items()}
            profile = next(iter(asked.values())).profile
            nobodys = self._nobodys(profile, [*asked.values()])
            young = self._young(asked, read)
            old = {role: one for role, one in asked.items() if role not in young}
            samples = {role: self._sample(role, one, read[role], (at, now), nobodys) for role, one in old.items()}
            true_at = min((sample.at for sample in samples.values()), default=now)
            for role in young:
                samples[role] = self._tally(asked[role]).sample(role, read[role], true_at, self._layouts, nobodys)
            self._suspects.counts(profile)
            self._apart.look(asked, samples)
            in_one_unit(samples)
        if self._rhythm.known:
            self._say("rhythm", interval=self._rhythm.interval, lag=round(self._rhythm.lag or 0.0, 3))
        return samples

    def queries(self, role: Role) -> Mapping[str, str]:
        """What is asked about ``role``: name -> PromQL, to paste into Prometheus.

        Raises:
            SourceUnavailable: nobody tells which series the role has, or no built-in profile fits.

        """
        with self._lock, self._server.within(self._options.timeout):
            return self._questions(role).parts

    def explain(self, role: Role) -> Mapping[str, Asked]:
        """As the port has it; of a number with several names, the one that there are series of."""
        with self._lock, self._server.within(self._options.timeout):
            questions = self._questions(role)
            return questions.explained(self._server.ask(questions.presence))

    def models(self, role: Role) -> Mapping[str, str]:
        """As the port has it, by the labels that the profile names."""
        with self._lock, self._server.within(self._options.timeout):
            questions = self._questions(role)
            labels = questions.profile.model
            telling = {label for own in self._options.roles.values() for label in own}
            if labels is None or telling & {labels.name, labels.version}:
                return {}  # a label that tells the roles apart differs, whatever they serve
            return models_of(questions.profile, self._server.ask(questions.models))

    def past(self, role: Role, begin: float, end: float, step_seconds: float) -> Iterator[Sample]:
        """As the port has it; times are the server's own."""
        with self._lock, self._server.within(self._options.timeout):
            questions = self._questions(role)
            behind = self._server.time() - self._clock.wall()
        for sample in past(self._server, role, questions, begin + behind, end + behind, step_seconds):
            yield replace(sample, at=sample.at - behind)

    def in_flight(self, role: Role, since_wall: float) -> int:
        """Requests of ``role`` that have begun and not ended, by a scrape after ``since_wall`` (seconds since 1970).

        Raises:
            AdapterError: there was no such scrape of every replica, or the profile has no gauge ``in_flight``.

        """
        try:
            with self._lock, self._server.within(self._options.timeout):
                return self._in_flight(role, since_wall)
        except SourceUnavailable as error:
            raise AdapterError(f"in-flight requests of {role} are not known: {error}") from error

    def _in_flight(self, role: Role, since_wall: float) -> int:
        if not self._placed(role):
            raise AdapterError(f"in-flight requests of {role} are not known: no router has attached it")
        asked = [
            each for each in (self._questions(role), self._proxy(role)) if each and IN_FLIGHT in each.profile.gauges
        ]
        if not asked:
            raise AdapterError(f"profile {self._questions(role).profile.name} has no [gauges.{IN_FLIGHT}]; add one")
        # Whoever stands in front knows of requests that its pods have not met yet, or have forgotten.
        return max(self._waiting(role, questions, since_wall) for questions in asked)

    def _proxy(self, role: Role) -> Questions | None:
        """What the proxy in front counts, where it is one that a built-in profile knows."""
        if self._in_front is False or (self._profile and self._profile.name == PROXY):
            return None
        self._proxy_profile = self._proxy_profile or load(PROXY, self._shared.home)
        with suppress(SourceUnavailable):  # it needs a label that this router does not tell, or nobody answers now
            asked = Questions.about(role, self._proxy_profile, self._shared.labels.get(role, {}), {})
            if self._in_front is None:
                self._in_front = bool(self._server.ask(asked.existence))
            return asked if self._in_front else None
        return None

    def _waiting(self, role: Role, questions: Questions, since_wall: float) -> int:
        wall, at = self._clock.wall(), self._server.time()
        snapshot = self._snapshot(questions, questions.readiness, at)
        values = {source: gauges[IN_FLIGHT] for source, gauges in snapshot.gauges.items() if IN_FLIGHT in gauges}
        known = self._tally(questions).live(snapshot).keys() | values.keys()
        since = since_wall + (at - wall)
        late = [s for s in known if s not in values or s in snapshot.down or snapshot.scraped.get(s, 0.0) <= since]
        if late or not known:
            raise AdapterError(f"{names_of(late) or role} was not scraped in the last {wall - since_wall:.1f} s")
        return round(sum(values.values()))

    def _count(self, role: Role, questions: Questions, at: float) -> Snapshot:
        snapshot = self._snapshot(questions, questions.whole, at)
        wrong = snapshot.twice or (snapshot.odd and f"{snapshot.odd}; mend what counts it, or the profile")
        if wrong:
            raise SourceUnavailable(f"{role}: {wrong}")
        tally = self._tally(questions)
        tally.count(snapshot)
        if tally.doubt:
            raise SourceUnavailable(f"{role}: {tally.doubt}")
        return snapshot

    def _nobodys(self, profile: Profile, asked: Sequence[Questions]) -> frozenset[str]:
        """Counters that none of the roles has, though there are requests."""
        nobodys = self._suspects.nobodys(profile, [tally for tally in map(self._tally, asked) if tally.asked])
        if nobodys:
            self._say("unseen", unseen=sorted(nobodys), why="no series of their metrics anywhere, which is not 0")
        return nobodys

    def _young(self, asked: Mapping[Role, Questions], read: Mapping[Role, Snapshot]) -> list[Role]:
        """Roles without series as yet, where those of another role show that they are born with the first request."""
        if not any(snapshot.born for snapshot in read.values()):
            return []
        return [r for r, one in asked.items() if not read[r].scraped and not self._tally(one).live(read[r])]

    def _sample(
        self, role: Role, questions: Questions, snapshot: Snapshot, times: tuple[float, float], nobodys: frozenset[str]
    ) -> Sample:
        tally, (at, now) = self._tally(questions), times
        live = tally.live(snapshot)
        if not live:
            raise SourceUnavailable(nothing(snapshot, role, questions, self._server.url))
        age = at - min(live.values())
        if self._rhythm.stale(at - max(live.values()), age):
            oldest = min(live, key=lambda source: live[source])
            raise SourceUnavailable(
                f"{role}: the newest scrape of {names_of([oldest])} is {age:.0f} s old, and no data is not good news; "
                f"see {self._server.url}/targets"
            )
        self._rhythm.read(age)
        if snapshot.unsummed:
            names = sorted(snapshot.unsummed)
            self._say("unsummed", unsummed=names, why="a sum is NaN: no data until its pods begin anew")
        return tally.sample(role, snapshot, now - age, self._layouts, nobodys)

    def _snapshot(self, questions: Questions, query: str, at: float) -> Snapshot:
        answered = self._server.ask(query, at)
        try:
            return snapshot_of(questions.profile, answered, at)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SourceUnavailable(f"prometheus at {self._server.url} answers no vector to {query}") from error

    def _tally(self, questions: Questions) -> Tally:
        """By the series, not by the role: what the canary has counted stays counted when it is the baseline."""
        return self._tallies.setdefault(questions.match, Tally(questions.profile))

    def _placed(self, role: Role) -> bool:
        """Whether there is such a role: a router that tells labels knows, else the target does."""
        return role in (self._shared.labels or self._options.roles)

    def _questions(self, role: Role) -> Questions:
        if not self._placed(role):
            raise SourceUnavailable(f"nothing is asked about {role}: no router has attached it")
        self._profile = self._profile or self._found_out(role)
        told, own = self._shared.labels.get(role, {}), self._options.roles.get(role)
        return Questions.about(role, self._profile, told, self._options.labels, own)

    def _found_out(self, role: Role) -> Profile:
        """The first built-in profile whose metrics the role has, preferably the baseline."""
        role = Role.BASELINE if self._placed(Role.BASELINE) else role
        return found_out(self._server, role, self._options, self._shared)

    def _say(self, once: str, **data: object) -> None:
        if once not in self._said:
            self._said.add(once)
            self._shared.note("prometheus", **data)
