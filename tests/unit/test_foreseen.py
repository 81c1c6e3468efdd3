"""What a simulated source foresees is what it then counts, and looking ahead changes nothing of that."""

from dataclasses import dataclass, field, replace
from threading import RLock

import pytest

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.simulated import Play, PlayedMetrics
from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.ports import Revision, Role
from pytest_canary.prices import Price, Priced, Prices
from pytest_canary.simulation.defaults import DEFAULT
from pytest_canary.simulation.injection import parse
from pytest_canary.simulation.scene import scene_of
from pytest_canary.simulation.traffic import Daily, Dependence, Spells

BOTH = (Role.BASELINE, Role.CANARY)
GATES = [Gate(name, metric(name), Limits(ratio=1.2)) for name in ("error_rate", "latency_p99", "output_tokens")]
POLL = 5.0


@dataclass
class State:
    """Two builds that share the traffic."""

    places: dict[Role, Revision]
    shares: dict[Role, float]


@dataclass
class Stage:
    """As a world in memory has it."""

    state: State
    lock: object = field(default_factory=RLock)
    counters: list[object] = field(default_factory=list)
    asked: dict[str, float] = field(default_factory=dict)

    def shift(self, canary):
        """Whoever counts does so before the shares change."""
        for count in self.counters:
            count()
        self.state.shares = {Role.BASELINE: 1 - canary, Role.CANARY: canary}


class Twin:
    """A source, and the clock and the world that it counts in; two of them are alike."""

    def __init__(self, *inject, everything=True, traffic=DEFAULT):
        places = {Role.BASELINE: Revision("gateway:v1", "1"), Role.CANARY: Revision("gateway:v2", "2")}
        self.stage = Stage(State(places, {Role.BASELINE: 0.9, Role.CANARY: 0.1}))
        self.clock = VirtualClock()
        scene = scene_of(traffic, GATES, parse(inject), everything=everything)
        self.source = PlayedMetrics(Play(scene, 3, "gateway:v2"), self.stage, self.clock)
        self.after(1.0)

    def after(self, seconds):
        """What is told when so much time has passed."""
        self.clock.sleep(seconds)
        return self.source.poll(BOTH)

    def ahead(self, polls, source=None):
        """What will be told at so many polls, the first of which is now."""
        now = self.clock.now()
        return (source or self.source).ahead(BOTH, [now + POLL * n for n in range(polls)])


OUTAGES = Spells(every=40, seconds=15, errors_x=10, latency_x=3)
TROUBLED = Dependence(clumps=3.0, pods_sd=0.3, bursts=Spells(every=60, seconds=20, errors_x=5), outages=OUTAGES)
WORLDS = {
    "good": ((), DEFAULT),
    "bad": (("error_rate x3", "latency_p99 x1.5 from 10%"), DEFAULT),
    "cold": (("cold 400",), DEFAULT),
    "troubled": ((), replace(DEFAULT, dependence=TROUBLED, daily=Daily(swing=0.5, peak=0.0, start=0.0))),
}


@pytest.fixture(params=WORLDS)
def twins(request):
    """Two sources of the same chance."""
    inject, traffic = WORLDS[request.param]
    return Twin(*inject, traffic=traffic), Twin(*inject, traffic=traffic)


def test_what_is_foreseen_is_what_is_counted(twins):
    """To the last bucket; in short it is the same without them."""
    told = twins[0].ahead(20)
    brief = {role: list(one.brief()) for role, one in told.items()}
    for index in range(20):
        for one in twins:
            polled = one.after(POLL if index else 0.0)
            assert polled == {role: foreseen.sample(index) for role, foreseen in told.items()}
        for role, sample in polled.items():
            assert brief[role][index].counters == sample.counters
            sums = {name: histogram.total for name, histogram in brief[role][index].histograms.items()}
            assert sums == {name: histogram.total for name, histogram in sample.histograms.items()}


def test_polls_that_were_passed_over_have_happened(twins):
    """Nobody asked at them; whoever asks later finds what he would have found."""
    for _ in range(3):
        twins[0].ahead(10)
        twins[0].clock.sleep(7 * POLL)
        for _ in range(7):
            twins[1].after(0.0)
            twins[1].clock.sleep(POLL)
        assert twins[0].after(0.0) == twins[1].after(0.0)


@pytest.mark.parametrize("what", ["shift", "new processes", "warmed", "another time"])
def test_what_comes_otherwise_is_counted_as_it_came(twins, what):
    """The canary is cut, a process is new, somebody warms it, or somebody asks in between."""
    twins[0].ahead(10)
    for one in twins:
        one.after(0.0)
        one.after(POLL)
        if what == "shift":
            one.stage.shift(0.5)
        if what == "new processes":
            one.stage.state.places[Role.CANARY] = Revision("gateway:v2", "3")
        if what == "warmed":
            one.stage.asked["2"] = 100.0
    seconds = 1.7 if what == "another time" else POLL
    for _ in range(3):
        assert twins[0].after(seconds) == twins[1].after(seconds)


def test_what_it_costs_is_foreseen_too():
    """The price list stands before the source in this as in everything."""
    prices = Prices({"llm": Price(output=3.0)}, dict.fromkeys(BOTH, "llm"), "rollout.yaml:9")
    twin = Twin(everything=False)
    dear = Priced(twin.source, prices)
    told = twin.ahead(5, dear)
    for index in range(5):
        polled = dear.poll(BOTH)
        assert polled == {role: foreseen.sample(index) for role, foreseen in told.items()}
        twin.clock.sleep(POLL)
    tokens = polled[Role.CANARY].histograms["output_tokens"].total
    assert polled[Role.CANARY].counters["cost"] == pytest.approx(tokens * 3e-6)
