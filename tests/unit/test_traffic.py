"""The canary's share of the traffic under two threads, and under none for a while."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.memory import OFFERS, MemoryLedger
from pytest_canary.gates import Gate
from pytest_canary.plan import make_plan
from pytest_canary.ports import Change, Role, Shared, World
from pytest_canary.recording import Recording
from pytest_canary.rollout import Book, Traffic
from pytest_canary.spec import gate_from, load
from pytest_canary.steps.baseline import capture
from pytest_canary.steps.deploy import deploy, open_world
from pytest_canary.verdict import Judge, Step, check_alpha, share_alpha

TEXT = """
service: gateway
stages: [50, 100]
hold: 30s
min_requests: 20
deadline: 10m
poll: 1s
baseline: {window: 5s, min_requests: 50}
gates:
  error_rate: {ratio: 1.5}
targets:
  here:
    platform: {memory: {}}
    router: {memory: {}}
    metrics: {memory: {rate: 100, error_rate: {v1: 0.01, v2: 0.01}}}
"""


class Unwatched(VirtualClock):
    """Time that passes at once, in a rollout that believes somebody else looks."""

    virtual = False


class Ticks:
    """Hears what the rollout waits for."""

    def __init__(self) -> None:
        self.act = lambda: None

    def tick(self, _: str) -> None:
        """Do what the test wants done meanwhile."""
        self.act()

    def row(self, row) -> None:
        """Nothing."""

    def said(self, text: str) -> None:
        """Nothing."""


@pytest.fixture
def ramped(tmp_path):
    """Traffic of a canary that is ready for its first stage; what hears it; its plan and clock."""
    (tmp_path / "rollout.yaml").write_text(TEXT)
    plan = make_plan(load(tmp_path / "rollout.yaml", environ={}), rollout="rollout.yaml", image="gateway:v2")
    clock, heard = Unwatched(), Ticks()
    shared = Shared("gateway", clock, tmp_path, tmp_path)
    options = {
        "platform": {},
        "router": {},
        "metrics": {"rate": 100, "error_rate": {"v1": 0.01, "v2": 0.01}},
        "probe": {},
    }
    made = {kind: OFFERS[kind].connect(OFFERS[kind].Options.model_validate(of), shared) for kind, of in options.items()}
    world = World(made["platform"], made["router"], made["metrics"], made["probe"], clock, shared)
    recording = Recording(tmp_path / "recording.jsonl")
    recording.begin(plan)
    book = Book(MemoryLedger(), recording, heard, clock)
    judge = Judge(share_alpha(plan.gates), len(plan.stages))
    open_world(world)
    deploy(world, Role.CANARY, world.platform.resolve("gateway:v2", Change()), 10.0, heard.tick)
    normal = capture(world.source, clock, plan, heard.tick)
    judge.capture(normal.counted, normal.polls)
    return Traffic(plan, world, judge, book, lambda _: None), heard, plan, clock


def another(plan, number: int) -> Gate:
    """A gate that appears in the middle of a stage."""
    gate = gate_from("client_error_rate", {"ratio": 2}, "stage.check", levels=plan.levels)
    return replace(gate, name=f"more {number}", alpha=check_alpha(number, gate.levels))


def test_nothing_goes_on_after_a_gap_in_which_nobody_looked(ramped):
    """A run that was stopped wakes up after its hold: what was seen before is no reason to give the canary more."""
    traffic, heard, plan, clock = ramped
    began = clock.now()

    def watcher() -> None:
        passed = clock.now() - began
        if passed < 4:
            traffic.look()
        elif passed > 60:
            traffic.cut("asked to roll back")

    heard.act = watcher
    decision = traffic.ramp(plan.stages[0])

    assert decision.step is Step.STOP
    assert decision.why == "asked to roll back"


def test_a_stage_that_is_watched_goes_on_when_its_hold_is_over(ramped):
    """The same with a watcher that is there."""
    traffic, heard, plan, _ = ramped
    heard.act = traffic.look

    assert traffic.ramp(plan.stages[0]).step is Step.ADVANCE


def test_a_gate_may_appear_while_the_watcher_adds_a_poll(ramped):
    """It catches up with every poll of the stage; the watcher goes on adding to them."""
    traffic, heard, plan, clock = ramped
    heard.act = traffic.look
    traffic.ramp(plan.stages[0])
    over, failed = threading.Event(), list[BaseException]()

    def watch() -> None:
        while not over.is_set():
            clock.sleep(0.01)
            try:
                traffic.look()
            except RuntimeError as error:
                failed.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for number in range(1, 60):
            traffic.ask_more(another(plan, number))
    finally:
        over.set()
        thread.join()

    assert not failed
    assert traffic.verdict_of("more 59").gate == "more 59"
