"""What every adapter of a port must do: one class per port, one test per promise of its docstrings.

A test module inherits a class, says in ``connect`` how its adapter is made, and has the whole suite.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.errors import AdapterError, Busy, ImageNotFound, SourceUnavailable
from pytest_canary.ports import (
    Adapter,
    Change,
    Clock,
    Fact,
    Fault,
    Ledger,
    MetricSource,
    Platform,
    Probe,
    Prompt,
    Revision,
    Role,
    Router,
    Sample,
    Seen,
    Shared,
    Users,
)

STABLE = Revision("gateway:v1", "sha256:1")
CANARY = Revision("gateway:v2", "sha256:2")
OTHER = Revision("gateway:v3", "sha256:3")
NOWHERE = "http://127.0.0.1:9"
BOTH = (Role.BASELINE, Role.CANARY)


@dataclass
class Bench:
    """One target: a folder, a clock, and a ledger that outlives the adapters."""

    folder: Path
    clock: Clock
    facts: list[Fact] = field(default_factory=list)

    def shared(self) -> Shared:
        """What the adapters of one process are given; a second one is a second process."""
        (self.folder / "state").mkdir(exist_ok=True)
        return Shared("gateway", self.clock, self.folder / "state", self.folder, note=self.note)

    def note(self, kind: str, **data: Any) -> None:
        """Keep a fact."""
        self.facts.append(Fact(kind, self.clock.wall(), data))

    def until(self, true: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait on the bench's own clock."""
        end = self.clock.now() + seconds
        while not true():
            assert self.clock.now() < end, "waited in vain"
            self.clock.sleep(0.05)


class Benched:
    """A bench for each test."""

    clock: Callable[[], Clock] = SystemClock

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Bench:
        """A target in a folder of its own."""
        return Bench(tmp_path, type(self).clock())


class AdapterContract(Benched):
    """What every platform, router, metric source and load generator promises besides its own work."""

    def connect(self, shared: Shared) -> Adapter:
        """The adapter on test."""
        raise NotImplementedError

    @pytest.fixture
    def adapter(self, bench: Bench) -> Adapter:
        """The adapter, not started, and stopped at the end."""
        adapter = self.connect(bench.shared())
        yield adapter
        adapter.stop()

    def test_nothing_is_missing_where_these_tests_run(self, adapter: Adapter) -> None:
        """`check` names what is missing, and here nothing is."""
        assert list(adapter.check()) == []

    def test_checking_changes_nothing(self, adapter: Adapter, bench: Bench) -> None:
        """It is asked before anybody holds the rollout."""
        before = sorted(bench.folder.rglob("*"))
        adapter.check()

        assert sorted(bench.folder.rglob("*")) == before
        assert bench.facts == []

    def test_recovering_from_nothing_may_be_repeated(self, adapter: Adapter) -> None:
        """Every run begins with it."""
        adapter.recover([])
        adapter.recover([])

    def test_stopping_what_never_started_may_be_repeated(self, adapter: Adapter) -> None:
        """The way back stops whatever there is."""
        adapter.stop()
        adapter.stop()


class PlatformContract(AdapterContract):
    """Where revisions run."""

    stable_image = "gateway:v1"
    image = "gateway:v2"
    missing_image = "gateway:missing"
    model: str | None = None
    """What both builds report to serve."""

    @pytest.fixture
    def platform(self, adapter: Platform) -> Platform:
        """The platform, with its stable build up."""
        adapter.start()
        return adapter

    @pytest.fixture
    def canary(self, platform: Platform, bench: Bench) -> Revision:
        """A second build, ready."""
        revision = platform.resolve(self.image, Change())
        platform.deploy(revision)
        bench.until(lambda: platform.ready(revision).ready)
        return revision

    def runs(self, platform: Platform, revision: Revision) -> bool:
        """Whether the platform has an address for ``revision``."""
        try:
            platform.address(revision)
        except AdapterError:
            return False
        return True

    def test_the_stable_build_serves_after_start(self, platform: Platform) -> None:
        """A world begins with it."""
        stable = platform.stable()

        assert stable.image == self.stable_image
        assert platform.ready(stable).ready

    def test_starting_twice_starts_one(self, platform: Platform) -> None:
        """A recovered world is started again."""
        before = platform.address(platform.stable())
        platform.start()

        assert platform.address(platform.stable()) == before

    def test_an_image_is_pinned_to_the_same_build_every_time(self, platform: Platform) -> None:
        """Otherwise nobody could tell that it is stable already."""
        assert platform.resolve(self.image, Change()).pin == platform.resolve(self.image, Change()).pin
        assert platform.resolve(self.stable_image, Change()).pin == platform.stable().pin

    def test_another_image_or_configuration_is_another_build(self, platform: Platform) -> None:
        """A rollout may ship an environment variable alone."""
        plain = platform.resolve(self.stable_image, Change())
        changed = platform.resolve(self.stable_image, Change(env=(("BATCH", "8"),)))

        assert len({plain.pin, changed.pin, platform.resolve(self.image, Change()).pin}) == 3

    def test_an_image_that_names_no_build_is_refused(self, platform: Platform) -> None:
        """Before anything is deployed, and by name."""
        with pytest.raises(ImageNotFound, match=self.missing_image.rpartition(":")[2]):
            platform.resolve(self.missing_image, Change())

    def test_resolving_starts_nothing(self, platform: Platform) -> None:
        """Looking must be free."""
        assert not self.runs(platform, platform.resolve(self.image, Change()))

    def test_a_deployed_build_becomes_ready_at_an_address_of_its_own(
        self, platform: Platform, canary: Revision
    ) -> None:
        """Probes reach it past the router."""
        assert platform.ready(canary).ready
        assert "://" in platform.address(canary)
        assert platform.address(canary) != platform.address(platform.stable())

    def test_deploying_twice_changes_nothing(self, platform: Platform, canary: Revision) -> None:
        """A step that is repeated after a crash must not start a second one."""
        before = platform.address(canary)
        platform.deploy(canary)

        assert platform.address(canary) == before
        assert platform.ready(canary).ready

    def test_a_build_that_does_not_run_has_no_address(self, platform: Platform) -> None:
        """A made-up address would be given to users."""
        with pytest.raises(AdapterError, match="deploy"):
            platform.address(OTHER)

    def test_one_copy_is_a_scale_that_every_platform_has(self, platform: Platform, canary: Revision) -> None:
        """`replicas: 1`."""
        platform.scale(canary, 1)

        assert platform.ready(canary).ready

    def test_both_builds_tell_their_model(self, platform: Platform, canary: Revision) -> None:
        """Two model versions cannot be compared."""
        assert platform.model(canary) == platform.model(platform.stable()) == self.model

    def test_promotion_makes_the_canary_stable_and_stops_nothing(self, platform: Platform, canary: Revision) -> None:
        """The old build still has requests in flight."""
        old = platform.stable()

        assert platform.promote(canary).pin == canary.pin
        assert platform.stable().pin == canary.pin
        assert platform.ready(old).ready

    def test_a_removed_build_is_gone_and_may_be_removed_again(self, platform: Platform, canary: Revision) -> None:
        """The way back is repeated when it was killed."""
        platform.remove(canary)
        platform.remove(canary)

        assert not self.runs(platform, canary)
        assert platform.ready(platform.stable()).ready

    def test_another_process_takes_hold_of_what_a_dead_one_left(
        self, platform: Platform, canary: Revision, bench: Bench
    ) -> None:
        """Nothing runs after kill -9 but the builds."""
        second = self.connect(bench.shared())
        second.recover(bench.facts)
        second.recover(bench.facts)
        try:
            assert second.address(canary) == platform.address(canary)
            assert second.stable().pin == platform.stable().pin
            second.remove(canary)
            assert not self.runs(second, canary)
        finally:
            second.stop()

    def test_another_process_knows_what_was_promoted(self, platform: Platform, canary: Revision, bench: Bench) -> None:
        """After the point of no return the new build stays."""
        platform.promote(canary)
        second = self.connect(bench.shared())
        second.recover(bench.facts)
        try:
            assert second.stable().pin == canary.pin
        finally:
            second.stop()

    def test_a_stopped_world_runs_nothing_and_begins_anew(
        self, platform: Platform, canary: Revision, bench: Bench
    ) -> None:
        """What was promoted in a rehearsal is forgotten."""
        platform.promote(canary)
        platform.stop()
        second = self.connect(bench.shared())
        second.recover(bench.facts)

        assert not self.runs(platform, canary)
        assert not self.runs(second, canary)
        assert second.stable().image == self.stable_image


class RouterContract(AdapterContract):
    """Who splits the traffic."""

    @pytest.fixture
    def router(self, adapter: Router) -> Router:
        """The router with a baseline that holds everything."""
        adapter.start()
        adapter.attach(Role.BASELINE, STABLE, NOWHERE)
        adapter.set_weights({Role.BASELINE: 1.0})
        return adapter

    @pytest.fixture
    def both(self, router: Router) -> Router:
        """And a canary at zero traffic."""
        router.attach(Role.CANARY, CANARY, NOWHERE)
        return router

    def test_users_enter_at_an_address(self, router: Router) -> None:
        """The load generator is given it."""
        assert "://" in router.address()

    def test_a_new_role_holds_no_traffic_and_the_others_keep_theirs(self, both: Router) -> None:
        """Attaching is not shifting."""
        assert both.weights() == {Role.BASELINE: 1.0, Role.CANARY: 0.0}

    def test_weights_are_what_was_set(self, both: Router) -> None:
        """The rollout reads back what it asked for."""
        both.set_weights({Role.BASELINE: 0.95, Role.CANARY: 0.05})

        assert both.weights() == pytest.approx({Role.BASELINE: 0.95, Role.CANARY: 0.05})

    def test_a_role_that_is_not_named_gets_nothing(self, both: Router) -> None:
        """`set_weights({BASELINE: 1})` is the whole way back."""
        both.set_weights({Role.BASELINE: 0.5, Role.CANARY: 0.5})
        both.set_weights({Role.BASELINE: 1.0})

        assert both.weights() == {Role.BASELINE: 1.0, Role.CANARY: 0.0}

    @pytest.mark.parametrize(
        "wrong",
        [
            {Role.BASELINE: 0.5},
            {Role.BASELINE: 0.9, Role.CANARY: 0.2},
            {Role.BASELINE: 1.1, Role.CANARY: -0.1},
            {Role.BASELINE: 0.5, Role.CONTROL: 0.5},
            {Role.BASELINE: float("nan"), Role.CANARY: 1.0},
            {},
        ],
        ids=lambda wrong: " ".join(f"{role}={share}" for role, share in wrong.items()) or "nothing",
    )
    def test_weights_that_make_no_sense_leave_the_old_ones(self, both: Router, wrong: Mapping[Role, float]) -> None:
        """Half a change would be the worst of all."""
        both.set_weights({Role.BASELINE: 0.75, Role.CANARY: 0.25})
        with pytest.raises(AdapterError):
            both.set_weights(wrong)

        assert both.weights() == pytest.approx({Role.BASELINE: 0.75, Role.CANARY: 0.25})

    def test_another_build_in_a_role_keeps_its_share(self, both: Router) -> None:
        """After promotion only the name of the role changes."""
        both.set_weights({Role.BASELINE: 0.75, Role.CANARY: 0.25})
        both.attach(Role.BASELINE, OTHER, NOWHERE)

        assert both.weights() == pytest.approx({Role.BASELINE: 0.75, Role.CANARY: 0.25})

    def test_attaching_twice_changes_nothing(self, both: Router) -> None:
        """Recovery attaches what may still be attached."""
        both.attach(Role.BASELINE, STABLE, NOWHERE)

        assert both.weights() == {Role.BASELINE: 1.0, Role.CANARY: 0.0}

    def test_a_detached_role_is_forgotten(self, both: Router) -> None:
        """And may be detached again."""
        both.detach(Role.CANARY)
        both.detach(Role.CANARY)

        assert both.weights() == {Role.BASELINE: 1.0}

    def test_a_role_that_holds_traffic_is_not_detached(self, both: Router) -> None:
        """Its requests would go nowhere."""
        both.set_weights({Role.BASELINE: 0.5, Role.CANARY: 0.5})
        with pytest.raises(AdapterError, match="canary"):
            both.detach(Role.CANARY)

        assert both.weights() == pytest.approx({Role.BASELINE: 0.5, Role.CANARY: 0.5})

    def test_nothing_is_in_flight_where_nobody_asks(self, both: Router) -> None:
        """Draining ends at 0, for roles that are unknown too."""
        assert [both.in_flight(role) for role in Role] == [0, 0, 0]

    def test_mirroring_changes_no_weight(self, both: Router) -> None:
        """A copy is not a share."""
        both.mirror(0.1)
        both.mirror(0.0)

        assert both.weights() == {Role.BASELINE: 1.0, Role.CANARY: 0.0}

    @pytest.mark.parametrize("share", [-0.1, 1.5])
    def test_a_mirror_that_makes_no_sense_is_refused(self, both: Router, share: float) -> None:
        """0..1."""
        with pytest.raises(AdapterError, match="mirror"):
            both.mirror(share)


class MetricSourceContract(Benched):
    """Who counts."""

    histograms: Sequence[str] = ("latency",)

    def connect(self, shared: Shared) -> tuple[Router, MetricSource]:
        """The source on test and the router that it counts for, started."""
        raise NotImplementedError

    def silent(self, shared: Shared) -> MetricSource:
        """A source that does not answer."""
        raise NotImplementedError

    def ask(self, router: Router, bench: Bench, requests: int) -> None:
        """Let so many requests come, about."""
        raise NotImplementedError

    def addresses(self) -> tuple[str, str]:
        """Where the two builds are."""
        return NOWHERE, NOWHERE

    @pytest.fixture
    def world(self, bench: Bench) -> tuple[Router, MetricSource]:
        """A router with both roles, the baseline holding everything, and the source."""
        router, source = self.connect(bench.shared())
        stable, canary = self.addresses()
        router.attach(Role.BASELINE, STABLE, stable)
        router.attach(Role.CANARY, CANARY, canary)
        router.set_weights({Role.BASELINE: 1.0})
        yield router, source
        source.stop()
        router.stop()

    def counted(self, source: MetricSource, router: Router, bench: Bench, requests: int) -> Mapping[Role, Sample]:
        """What both roles count when so many requests come."""
        before = source.poll(BOTH)
        self.ask(router, bench, requests)

        def since() -> dict[Role, Sample]:
            return {role: sample.since(before[role]) for role, sample in source.poll(BOTH).items()}

        bench.until(lambda: sum(sample.counters["requests"] for sample in since().values()) >= requests * 0.5)
        return since()

    def test_a_role_without_requests_has_counters_of_zero(self, world: tuple[Router, MetricSource]) -> None:
        """None would read as "nobody counts"."""
        sample = world[1].poll([Role.CANARY])[Role.CANARY]

        assert {name: sample.counters[name] for name in ("requests", "errors", "client_errors")} == {
            "requests": 0,
            "errors": 0,
            "client_errors": 0,
        }
        assert [sample.histograms[name].number for name in self.histograms] == [0] * len(self.histograms)

    def test_only_roles_that_were_asked_for_and_are_attached_are_told(self, world: tuple[Router, MetricSource]) -> None:
        """A number for a role that is not there would be made up."""
        assert set(world[1].poll([Role.BASELINE])) == {Role.BASELINE}
        assert set(world[1].poll(list(Role))) == {Role.BASELINE, Role.CANARY}

    def test_requests_are_counted_where_the_weights_send_them(
        self, world: tuple[Router, MetricSource], bench: Bench
    ) -> None:
        """All to the baseline, then all to the canary."""
        router, source = world
        first = self.counted(source, router, bench, 40)
        router.set_weights({Role.CANARY: 1.0})
        second = self.counted(source, router, bench, 40)

        assert first[Role.BASELINE].counters["requests"] > 0 == first[Role.CANARY].counters["requests"]
        assert second[Role.CANARY].counters["requests"] > 0 == second[Role.BASELINE].counters["requests"]

    def test_counters_never_go_back(self, world: tuple[Router, MetricSource], bench: Bench) -> None:
        """A step back means that the source began anew."""
        router, source = world
        router.set_weights({Role.BASELINE: 0.7, Role.CANARY: 0.3})
        earlier = source.poll(BOTH)
        for _ in range(5):
            self.ask(router, bench, 7)
            now = source.poll(BOTH)
            assert all(now[role].since(earlier[role]) is not None for role in BOTH)
            earlier = now

    def test_every_request_stands_in_the_histograms(self, world: tuple[Router, MetricSource], bench: Bench) -> None:
        """Rising bounds, one count more, whole numbers."""
        router, source = world
        self.counted(source, router, bench, 40)
        bench.until(
            lambda: (
                (sample := source.poll(BOTH)[Role.BASELINE]).histograms["latency"].number == sample.counters["requests"]
            )
        )
        for name in self.histograms:
            histogram = source.poll(BOTH)[Role.BASELINE].histograms[name]
            assert list(histogram.bounds) == sorted(set(histogram.bounds))
            assert len(histogram.counts) == len(histogram.bounds) + 1
            assert all(count == int(count) >= 0 for count in histogram.counts)

    def test_errors_are_among_the_requests(self, world: tuple[Router, MetricSource], bench: Bench) -> None:
        """A rate is a share."""
        router, source = world
        counters = self.counted(source, router, bench, 40)[Role.BASELINE].counters

        assert counters["errors"] + counters["client_errors"] <= counters["requests"]

    def test_a_sample_says_when_it_was_true(self, world: tuple[Router, MetricSource], bench: Bench) -> None:
        """On the clock of the run."""
        before = bench.clock.now()

        assert before <= world[1].poll([Role.BASELINE])[Role.BASELINE].at <= bench.clock.now()

    def test_nothing_is_missing_where_these_tests_run(self, world: tuple[Router, MetricSource]) -> None:
        """`check` names what is missing, and here nothing is."""
        assert list(world[1].check()) == []

    def test_recovering_starting_and_stopping_may_be_repeated(self, world: tuple[Router, MetricSource]) -> None:
        """Whatever a run did before it was killed, the next one does again."""
        source = world[1]
        for act in (lambda: source.recover([]), source.start, source.stop):
            act()
            act()
        source.start()

        assert set(source.poll(BOTH)) == set(BOTH)

    def test_it_explains_every_number_that_it_tells(self, world: tuple[Router, MetricSource]) -> None:
        """`pytest-canary check` prints how each is learnt; a number that nobody can explain is a number of nobody."""
        source = world[1]
        asked = source.explain(Role.BASELINE)
        sample = source.poll([Role.BASELINE])[Role.BASELINE]
        kinds = {"counters": sample.counters, "histograms": sample.histograms, "gauges": sample.gauges}

        assert {f"{kind}.{name}" for kind, told in kinds.items() for name in told} <= asked.keys()
        assert all(one.by for one in asked.values())

    def test_a_source_that_does_not_answer_says_so(self, bench: Bench) -> None:
        """No data is not zero errors."""
        with pytest.raises(SourceUnavailable):
            self.silent(bench.shared()).poll(BOTH)


class UsersContract(AdapterContract):
    """Synthetic traffic."""

    def address(self) -> str:
        """Where they enter; what is there answers."""
        raise NotImplementedError

    def some_time(self, bench: Bench) -> None:
        """Long enough for a few requests."""
        bench.clock.sleep(0.5)

    @pytest.fixture
    def users(self, adapter: Users) -> Users:
        """Users who have not entered."""
        adapter.start()
        return adapter

    def entered(self, users: Users, bench: Bench) -> None:
        """Let them in and wait until they have seen something."""
        users.enter(self.address())
        self.some_time(bench)
        bench.until(lambda: users.seen().answered > 0)

    def test_who_has_not_entered_has_seen_nothing(self, users: Users) -> None:
        """And leaves with nothing."""
        assert users.seen() == users.leave() == Seen()

    def test_they_see_answers_while_they_are_inside(self, users: Users, bench: Bench) -> None:
        """The live line shows it."""
        self.entered(users, bench)

        assert users.seen().sent >= users.seen().answered > 0

    def test_every_request_ended_in_exactly_one_way(self, users: Users, bench: Bench) -> None:
        """Nothing is lost between the counts."""
        self.entered(users, bench)
        seen = users.leave()

        assert seen.sent == seen.answered + seen.failed + seen.dropped > 0
        assert sum(seen.dropped_why.values()) == seen.dropped

    def test_a_healthy_build_drops_nothing(self, users: Users, bench: Bench) -> None:
        """Leaving waits for the answers that are due."""
        self.entered(users, bench)

        assert users.leave().dropped == 0

    def test_they_leave_once_and_send_nothing_new(self, users: Users, bench: Bench) -> None:
        """The way back may ask twice."""
        self.entered(users, bench)
        seen = users.leave()
        self.some_time(bench)

        assert users.leave() == users.seen() == seen

    def test_they_cannot_enter_twice(self, users: Users, bench: Bench) -> None:
        """Twice the load would be nobody's wish."""
        self.entered(users, bench)
        with pytest.raises(AdapterError, match="leave first"):
            users.enter(self.address())


class ProbeContract:
    """Asks one build directly."""

    prompt = Prompt(body={"messages": [{"role": "user", "content": "The capital of France?"}]}, expect="Paris")
    stream = Prompt(body={**prompt.body, "stream": True, "stream_options": {"include_usage": True}}, stream=True)
    health = Prompt(path="/health", method="GET")

    @pytest.fixture
    def probe(self) -> Probe:
        """The probe on test."""
        raise NotImplementedError

    @pytest.fixture
    def address(self) -> str:
        """A build that answers as it should."""
        raise NotImplementedError

    @pytest.fixture
    def nowhere(self) -> str:
        """An address at which nobody answers."""
        return NOWHERE

    def test_a_good_answer_is_whole_and_right(self, probe: Probe, address: str) -> None:
        """Known answers are found in it."""
        answer = probe.ask(address, self.prompt)

        assert (answer.status, answer.error, answer.finished) == (200, None, True)
        assert "Paris" in answer.text
        assert 0 <= answer.seconds < 30

    def test_a_stream_has_a_time_to_its_first_token(self, probe: Probe, address: str) -> None:
        """And it lies before the end."""
        answer = probe.ask(address, self.stream)

        assert (answer.status, answer.error, answer.finished) == (200, None, True)
        assert answer.ttft_seconds is not None
        assert 0 <= answer.ttft_seconds <= answer.seconds

    def test_a_stream_has_times_between_its_tokens(self, probe: Probe, address: str) -> None:
        """The mean is no longer than the longest, and all fit between the first token and the end."""
        answer = probe.ask(address, self.stream)

        assert answer.gap_mean_seconds is not None
        assert answer.gap_longest_seconds is not None
        assert 0 <= answer.gap_mean_seconds <= answer.gap_longest_seconds + 1e-9
        assert answer.gap_longest_seconds <= answer.seconds - (answer.ttft_seconds or 0.0) + 1e-9

    def test_tokens_are_counted_where_the_answer_says_them(self, probe: Probe, address: str) -> None:
        """In both directions, streamed or not; and how it ended."""
        for prompt in (self.prompt, self.stream):
            answer = probe.ask(address, prompt)

            assert (answer.tokens or 0) > 0
            assert (answer.prompt_tokens or 0) > 0
            assert (answer.finish, answer.refusal, answer.fault) == ("stop", None, None)

    def test_a_whole_answer_has_none(self, probe: Probe, address: str) -> None:
        """It would be a number without a meaning."""
        answer = probe.ask(address, self.prompt)

        assert (answer.ttft_seconds, answer.gap_mean_seconds, answer.gap_longest_seconds) == (None, None, None)

    def test_health_is_asked_like_everything_else(self, probe: Probe, address: str) -> None:
        """Smoke begins with it."""
        answer = probe.ask(address, self.health)

        assert (answer.status, answer.error) == (200, None)

    def test_failures_are_in_the_answer_and_never_raised(self, probe: Probe, nowhere: str) -> None:
        """A smoke test repeats, a warm-up goes on."""
        answer = probe.ask(nowhere, self.prompt)

        assert answer.status == 0
        assert answer.fault is Fault.NO_ANSWER
        assert answer.error
        assert "\n" not in answer.error

    def test_closing_may_be_repeated(self, probe: Probe) -> None:
        """Also when nothing was asked."""
        probe.close()
        probe.close()


class LedgerContract:
    """The lock and the journal of one rollout."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        """The ledger on test, held by nobody."""
        raise NotImplementedError

    def other(self, ledger: Ledger) -> Ledger:
        """The same rollout as another process has it."""
        raise NotImplementedError

    def test_it_is_a_ledger(self, ledger: Ledger) -> None:
        """The port is checked at run time too."""
        assert isinstance(ledger, Ledger)

    def test_facts_are_read_in_the_order_they_were_written(self, ledger: Ledger) -> None:
        """Kind, time and data as they were."""
        ledger.acquire("run-1")
        facts = [Fact("run", 1.5, {"run": "run-1"}), Fact("weights", 2.0, {"canary": 0.05}), Fact("settled", 3.0)]
        for fact in facts:
            ledger.append(fact)

        assert [(fact.kind, fact.at, dict(fact.data)) for fact in ledger.read()] == [
            ("run", 1.5, {"run": "run-1"}),
            ("weights", 2.0, {"canary": 0.05}),
            ("settled", 3.0, {}),
        ]

    def test_a_new_ledger_is_empty(self, ledger: Ledger) -> None:
        """And reading it needs no lock."""
        assert list(ledger.read()) == []

    def test_another_process_reads_what_was_written(self, ledger: Ledger) -> None:
        """Without taking the lock, while the run is alive."""
        ledger.acquire("run-1")
        ledger.append(Fact("run", 1.0))

        assert [fact.kind for fact in self.other(ledger).read()] == ["run"]

    def test_a_second_run_is_refused_and_told_who_holds_it(self, ledger: Ledger) -> None:
        """Two runs of one rollout cannot overlap."""
        ledger.acquire("run-1")
        with pytest.raises(Busy, match="run-1") as busy:
            self.other(ledger).acquire("run-2")

        assert busy.value.run == "run-1"

    def test_holding_it_again_is_holding_it(self, ledger: Ledger) -> None:
        """For the same run."""
        ledger.acquire("run-1")
        ledger.acquire("run-1")
        with pytest.raises(Busy):
            self.other(ledger).acquire("run-2")

    def test_a_released_rollout_is_free(self, ledger: Ledger) -> None:
        """Releasing may be repeated."""
        ledger.acquire("run-1")
        ledger.release()
        ledger.release()
        other = self.other(ledger)
        other.acquire("run-2")
        other.release()

    def test_a_run_that_renews_keeps_it(self, ledger: Ledger) -> None:
        """Some ledgers time out."""
        ledger.acquire("run-1")
        ledger.renew()
        with pytest.raises(Busy):
            self.other(ledger).acquire("run-2")

    def test_a_closed_chapter_leaves_what_is_to_be_kept(self, ledger: Ledger) -> None:
        """Facts of the adapters outlive the run."""
        ledger.acquire("run-1")
        ledger.append(Fact("run", 1.0))
        ledger.append(Fact("process", 2.0, {"pid": 7}))
        ledger.close_chapter([fact for fact in ledger.read() if fact.kind == "process"])
        ledger.append(Fact("run", 3.0))

        assert [(fact.kind, fact.at) for fact in ledger.read()] == [("process", 2.0), ("run", 3.0)]

    def test_an_empty_chapter_can_be_closed(self, ledger: Ledger) -> None:
        """The first run closes one."""
        ledger.acquire("run-1")
        ledger.close_chapter()
        ledger.close_chapter()

        assert list(ledger.read()) == []


class ClockContract:
    """Time."""

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock on test."""
        raise NotImplementedError

    def test_it_never_goes_back(self, clock: Clock) -> None:
        """Durations are differences."""
        moments = [clock.now() for _ in range(100)]

        assert moments == sorted(moments)

    def test_sleeping_lets_that_time_pass(self, clock: Clock) -> None:
        """No less."""
        before = clock.now()
        clock.sleep(0.02)

        assert clock.now() - before >= 0.02

    def test_sleeping_for_no_time_is_allowed(self, clock: Clock) -> None:
        """Somebody computed what is left, and it was not positive."""
        before = clock.now()
        clock.sleep(0)
        clock.sleep(-1)

        assert clock.now() - before >= 0

    def test_the_wall_shows_the_time_of_day(self, clock: Clock) -> None:
        """Files and people need it."""
        assert abs(clock.wall() - time.time()) < 60

    def test_both_clocks_run_alike(self, clock: Clock) -> None:
        """A report subtracts walls, a hold subtracts nows."""
        now, wall = clock.now(), clock.wall()
        clock.sleep(0.02)

        assert clock.wall() - wall == pytest.approx(clock.now() - now, abs=0.01)
