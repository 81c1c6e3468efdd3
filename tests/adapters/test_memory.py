"""The memory adapters keep every promise of the ports, and fail exactly as they are asked to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.memory import OFFERS
from pytest_canary.errors import AdapterError, ImageNotFound, SourceUnavailable
from pytest_canary.ports import Change, Fact, Prompt, Revision, Role
from tests.adapters.contracts import (
    BOTH,
    CANARY,
    NOWHERE,
    STABLE,
    Bench,
    MetricSourceContract,
    PlatformContract,
    ProbeContract,
    RouterContract,
    UsersContract,
)


def made(kind: str, shared, options: Mapping[str, Any] | None = None):
    """An adapter of the memory world, from what a rollout.yaml would say."""
    cls = OFFERS[kind]
    return cls.connect(cls.Options.model_validate(options or {}), shared)


class TestMemoryPlatform(PlatformContract):
    """With a store it outlives its process."""

    clock = VirtualClock
    model = "7"

    def connect(self, shared):
        """In a file."""
        return made("platform", shared, {"store": "world.json"})


class TestMemoryRouter(RouterContract):
    """Numbers in a dictionary."""

    clock = VirtualClock

    def connect(self, shared):
        """By itself."""
        return made("router", shared)


class TestMemoryMetrics(MetricSourceContract):
    """Exact counts."""

    clock = VirtualClock
    histograms = ("latency", "ttft")

    def connect(self, shared):
        """Beside the router that it counts for."""
        return made("router", shared), made("metrics", shared, {"error_rate": 0.1, "client_error_rate": 0.1})

    def silent(self, shared):
        """Out from its first second."""
        source = made("metrics", shared, {"outage": {"after": 0, "for": 10}})
        source.start()
        return source

    def ask(self, router, bench, requests):
        """100 come in a second."""
        del router
        bench.clock.sleep(requests / 100)


class TestMemoryUsers(UsersContract):
    """They see what the metrics count."""

    clock = VirtualClock

    def connect(self, shared):
        """With a baseline that answers."""
        router = made("router", shared)
        made("metrics", shared, {"error_rate": 0.1})
        router.attach(Role.BASELINE, STABLE, NOWHERE)
        router.set_weights({Role.BASELINE: 1.0})
        return made("load", shared)

    def address(self):
        """Any will do."""
        return "memory://gateway"


class TestMemoryProbe(ProbeContract):
    """Builds answer by name."""

    @pytest.fixture
    def shared(self, tmp_path):
        """With a stable build that runs."""
        shared = Bench(tmp_path, VirtualClock()).shared()
        made("platform", shared).start()
        return shared

    @pytest.fixture
    def probe(self, shared):
        """Of the same world."""
        return made("probe", shared)

    @pytest.fixture
    def address(self):
        """The stable build."""
        return "memory://v1"

    def test_a_build_that_does_not_run_does_not_answer(self, probe):
        """Its address is as good as none."""
        assert probe.ask("memory://v9", Prompt()).status == 0

    def test_a_bad_build_answers_what_is_wrong_with_it(self, shared):
        """`probe: {memory: {bad: {v1: out of memory}}}`."""
        answer = made("probe", shared, {"bad": {"v1": "out of memory"}}).ask("memory://v1", Prompt())

        assert (answer.status, answer.error, answer.fault) == (500, "out of memory", "status")

    def test_a_cold_build_gets_faster_with_every_answer(self, shared):
        """`probe: {memory: {cold: {v1: {answers: 4, slowdown: 3}}}}`; health is always fast."""
        cold = made("probe", shared, {"cold": {"v1": {"answers": 4, "slowdown": 3}}})
        cold.ask("memory://v1", Prompt("/health", method="GET"))
        took = [cold.ask("memory://v1", Prompt()).seconds for _ in range(6)]

        assert took == pytest.approx([0.06, 0.05, 0.04, 0.03, 0.02, 0.02])

    def test_it_tells_the_model_that_the_platform_tells(self, probe, address):
        """Warm-up looks at it."""
        assert probe.ask(address, Prompt()).model == "7"


@pytest.fixture
def bench(tmp_path):
    """A target in virtual time."""
    return Bench(tmp_path, VirtualClock())


class World:
    """Platform, router and metrics of one process, with v1 and v2 attached at half the traffic each."""

    def __init__(self, bench, platform=None, router=None, share=0.5, **metrics):
        self.shared, self.clock = bench.shared(), bench.clock
        self.platform = made("platform", self.shared, platform)
        self.router = made("router", self.shared, router)
        self.metrics = made("metrics", self.shared, metrics)
        self.platform.start()
        self.router.attach(Role.BASELINE, STABLE, NOWHERE)
        self.router.attach(Role.CANARY, CANARY, NOWHERE)
        self.router.set_weights({Role.BASELINE: 1 - share, Role.CANARY: share})
        self.metrics.start()

    def counted(self, seconds):
        """Counters of the two roles after some time."""
        self.clock.sleep(seconds)
        samples = self.metrics.poll(BOTH)
        return samples[Role.BASELINE].counters, samples[Role.CANARY].counters


# -- platform --------------------------------------------------------------------------------------------------------


def test_only_images_that_are_named_exist(bench):
    """`images: [v2]`; without it, every tag but those that begin with missing."""
    some, every = made("platform", bench.shared(), {"images": ["v2"]}), made("platform", bench.shared())

    assert some.resolve("gateway:v2", Change()).tag == "v2"
    assert every.resolve("gateway:v99", Change()).tag == "v99"
    for platform, image in ((some, "gateway:v3"), (every, "gateway:missing-2")):
        with pytest.raises(ImageNotFound, match=image):
            platform.resolve(image, Change())


def test_a_build_that_never_becomes_ready_says_so(bench):
    """And waiting longer is not hopeless by itself: the timeout decides."""
    platform = made("platform", bench.shared(), {"not_ready": ["v2"]})
    platform.deploy(CANARY)
    state = platform.ready(CANARY)

    assert (state.ready, state.hopeless) == (False, False)
    assert state.why == "v2 never becomes ready"


def test_models_are_told_by_change_then_tag_then_for_all(bench):
    """A rollout may ship a model alone; a build may not say."""
    platform = made("platform", bench.shared(), {"model": "7", "models": {"v2": "8", "v3": None}})
    by_change = Revision("gateway:v2", "sha256:2", Change(model="9"))
    told = []
    for revision in (STABLE, CANARY, by_change, Revision("gateway:v3", "sha256:3")):
        platform.deploy(revision)
        told.append(platform.model(revision))

    assert told == ["7", "8", "9", None]


@pytest.mark.parametrize("fail", [["remove"], {"remove": "it will not go"}])
def test_acts_fail_as_they_are_asked_to(bench, fail):
    """A list of acts, or acts with words."""
    world = World(bench, platform={"fail": fail})
    with pytest.raises(AdapterError, match="it will not go" if isinstance(fail, dict) else "remove"):
        world.platform.remove(STABLE)


@pytest.mark.parametrize("options", [{"fail": ["fly"]}, {"slow": {"fly": 1}}, {"slow": {"remove": -1}}, {"fly": 1}])
def test_options_that_make_no_sense_are_refused(options):
    """A misspelled act would never fail."""
    with pytest.raises(ValidationError):
        OFFERS["platform"].Options.model_validate(options)


def test_slow_acts_take_their_time_on_the_clock(bench):
    """Nobody waits in virtual time."""
    world = World(bench, platform={"slow": {"remove": 30}})
    before = bench.clock.now()
    world.platform.remove(STABLE)

    assert bench.clock.now() - before == 30


def test_the_log_has_a_line_per_act_in_order(bench):
    """What a run did is what a test compares."""
    world = World(bench, platform={"log": "world.log"}, share=0.05)
    canary = world.platform.resolve("gateway:v2", Change())
    world.platform.deploy(canary)
    world.platform.deploy(canary)
    world.platform.promote(canary)
    world.router.set_weights({Role.BASELINE: 1.0})
    world.router.detach(Role.CANARY)
    world.platform.remove(canary)
    world.platform.remove(canary)
    world.platform.stop()
    world.platform.stop()

    assert (bench.folder / "world.log").read_text().splitlines() == [
        "start",
        "attach baseline v1",
        "attach canary v2",
        "weights baseline=0.95 canary=0.05",
        "deploy v2",
        "promote v2",
        "weights baseline=1 canary=0",
        "detach canary",
        "remove v2",
        "stop",
    ]


def test_a_stored_world_is_as_it_was_for_the_next_process(bench):
    """Builds, shares, and what was counted at the last act."""
    store = {"store": "world.json"}
    world = World(bench, platform=store, share=0.25)
    world.platform.deploy(CANARY)
    bench.clock.sleep(10)
    world.router.set_weights({Role.BASELINE: 0.5, Role.CANARY: 0.5})
    shared = bench.shared()
    platform, router, metrics = (
        made(kind, shared, store if kind == "platform" else None) for kind in ("platform", "router", "metrics")
    )

    assert platform.ready(CANARY).ready
    assert router.weights() == {Role.BASELINE: 0.5, Role.CANARY: 0.5}
    assert metrics.poll([Role.CANARY])[Role.CANARY].counters["requests"] == 250


def test_a_stopped_world_is_stored_as_stopped(bench):
    """Nothing of a rehearsal is left but the file."""
    world = World(bench, platform={"store": "world.json"})
    world.platform.deploy(CANARY)
    world.platform.promote(CANARY)
    for adapter in (world.metrics, world.router, world.platform):
        adapter.stop()

    assert "v2" not in (bench.folder / "world.json").read_text()
    assert json.loads((bench.folder / "world.json").read_text())["running"] == {}


def test_a_store_that_is_no_world_is_one_line(bench):
    """With the way on."""
    (bench.folder / "world.json").write_text("[]")
    with pytest.raises(AdapterError, match=r"world\.json: not a world: .*; delete this file"):
        made("platform", bench.shared(), {"store": "world.json"})


# -- router ----------------------------------------------------------------------------------------------------------


def test_a_router_fails_as_it_is_asked_to_and_keeps_its_weights(bench):
    """What a rollout does when the way back is blocked."""
    World(bench, platform={"store": "world.json"})
    shared = bench.shared()
    made("platform", shared, {"store": "world.json"})
    router = made("router", shared, {"fail": ["set_weights"]})
    with pytest.raises(AdapterError, match="set_weights"):
        router.set_weights({Role.BASELINE: 1.0})

    assert router.weights() == {Role.BASELINE: 0.5, Role.CANARY: 0.5}


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_counts_are_rate_times_share_times_time(bench):
    """Floored, the same every time."""
    world = World(bench, share=0.05, rate=100, error_rate={"v1": 0.01, "v2": 0.3}, client_error_rate=0.1)
    baseline, canary = world.counted(10.2)

    assert baseline == {"requests": 969, "errors": 9, "client_errors": 96}
    assert canary == {"requests": 51, "errors": 15, "client_errors": 5}


def test_how_often_somebody_looks_changes_nothing(bench, tmp_path):
    """Whole numbers are told, exact ones are kept."""
    often, once = World(bench, rate=33, share=0.3), World(Bench(tmp_path, VirtualClock()), rate=33, share=0.3)
    for _ in range(1000):
        told = often.counted(0.017)

    assert told == once.counted(17)


def test_traffic_follows_a_change_of_weights_at_once(bench):
    """Also when nobody polls in between."""
    world = World(bench, share=0.5)
    bench.clock.sleep(10)
    world.router.set_weights({Role.BASELINE: 1.0})
    baseline, canary = world.counted(10)

    assert (baseline["requests"], canary["requests"]) == (1500, 500)


def test_latencies_are_lognormal_around_their_median(bench):
    """Per build, or the same for all; every request is somewhere."""
    world = World(bench, latency={"v2": 0.2}, ttft=0.01)
    bench.clock.sleep(200)
    samples = world.metrics.poll(BOTH)

    for role, median in ((Role.BASELINE, 0.05), (Role.CANARY, 0.2)):
        latency = samples[role].histograms["latency"]
        assert latency.number == samples[role].counters["requests"] == 10_000
        assert latency.quantile(0.5) == pytest.approx(median, rel=0.02)
        assert latency.quantile(0.99) == pytest.approx(median * math.exp(0.5 * 2.326), rel=0.03)
        assert latency.total == pytest.approx(10_000 * median * math.exp(0.125))
        assert samples[role].histograms["ttft"].quantile(0.5) == pytest.approx(0.01, rel=0.02)


def test_another_build_in_a_role_counts_from_zero(bench):
    """As its own counters would."""
    world = World(bench)
    before = world.counted(10)[1]["requests"]
    world.router.attach(Role.CANARY, Revision("gateway:v3", "sha256:3"), NOWHERE)
    sample = world.metrics.poll([Role.CANARY])[Role.CANARY]

    assert before == 500
    assert sample.counters["requests"] == sample.histograms["latency"].number == 0


def test_a_silent_build_gets_no_requests(bench):
    """A split that is accepted and not followed."""
    _, canary = World(bench, silent=["v2"]).counted(10)

    assert canary["requests"] == 0


def test_an_outage_begins_and_ends(bench):
    """Seconds after the start of the metrics; what happened meanwhile is counted."""
    bench.clock.sleep(100)
    world = World(bench, outage={"after": 12, "for": 5})
    world.counted(11.9)
    with pytest.raises(SourceUnavailable, match="the metrics are out"):
        world.counted(0.2)
    baseline, _ = world.counted(5)

    assert baseline["requests"] == 855


def test_a_build_turns_bad_at_its_time(bench):
    """However often somebody looks."""
    world = World(bench, turns_bad={"v2": {"after": 60, "error_rate": 0.9}})
    before = world.counted(60)[1]["errors"]
    baseline, canary = world.counted(20)

    assert before == 0
    assert canary["errors"] == 900
    assert baseline["errors"] == 0


def test_a_build_turns_bad_between_two_looks(bench):
    """Only the part after its time is bad."""
    assert World(bench, turns_bad={"v2": {"after": 60, "error_rate": 1}}).counted(80)[1]["errors"] == 1000


def test_users_see_builds_by_their_pins(bench):
    """The report names who failed them."""
    world = World(bench, error_rate={"v2": 0.2})
    users = made("load", world.shared)
    users.enter(world.router.address())
    bench.clock.sleep(10)
    seen = users.leave()

    assert seen.served == {STABLE.pin: 500, CANARY.pin: 500}
    assert (seen.sent, seen.answered, seen.failed, seen.bad) == (1000, 900, 100, {CANARY.pin: 100})


def test_metrics_without_the_memory_router_name_the_missing_line(bench):
    """Before anything starts."""
    [line] = made("metrics", bench.shared()).check()

    assert "router: {memory: {}}" in line


def test_closed_chapters_of_a_ledger_can_be_looked_at():
    """A test of one's own asks what was kept."""
    ledger = OFFERS["ledger"]()
    ledger.acquire("run-1")
    ledger.append(Fact("run", 1.0))
    ledger.close_chapter()

    assert [[fact.kind for fact in chapter] for chapter in ledger.history] == [["run"]]
    assert ledger.holder() == "run-1"
