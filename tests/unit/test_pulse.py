"""Whether what all users depend on still lives: asked only where the counts give reason to."""

from __future__ import annotations

import pytest

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.memory import OFFERS
from pytest_canary.errors import Silent
from pytest_canary.ports import Change, Role, Sample, Shared, World
from pytest_canary.rollout.pulse import PATIENCE_SECONDS, Pulse


@pytest.fixture
def world_with(tmp_path):
    """A memory world, with what is wrong with it."""

    def make(platform=None, router=None) -> World:
        shared = Shared("gateway", VirtualClock(), tmp_path, tmp_path)
        made = {
            kind: cls.connect(cls.Options.model_validate(options), shared)
            for kind, options in (
                ("platform", platform or {}),
                ("router", router or {}),
                ("metrics", {}),
                ("probe", {}),
            )
            for cls in (OFFERS[kind],)
        }
        world = World(made["platform"], made["router"], made["metrics"], made["probe"], shared.clock, shared)
        world.platform.deploy(world.platform.stable())
        return world

    return make


def polls(*counts: tuple[float, float]) -> list[dict[Role, Sample]]:
    """Cumulative samples of the baseline."""
    return [{Role.BASELINE: Sample(0.0, {"requests": float(n), "errors": float(bad)})} for n, bad in counts]


def test_a_stable_build_that_answers_somebody_is_not_asked(world_with):
    """Errors are the gates' business."""
    pulse = Pulse(world_with({"not_ready": ["v1"]}))

    assert [pulse.feel(poll, float(at)) for at, poll in enumerate(polls((10, 0), (20, 9), (30, 18)))][1:] == ["", ""]


def test_a_router_that_lets_nobody_through_has_failed_after_a_while(world_with):
    """The builds count nothing then, and are well."""
    pulse = Pulse(world_with(router={"fail": {"weights": "the route is gone"}}))
    said = [pulse.feel(poll, 2.0 * at) for at, poll in enumerate(polls((10, 0), (20, 0), (20, 0), (20, 0), (20, 0)))]

    assert said[1:3] == ["", ""]
    assert "the router has failed" in said[-1]
    assert "the route is gone" in said[-1]


def test_a_router_that_cannot_be_asked_has_not_failed(world_with, monkeypatch):
    """Users pass through a gateway; its API server is another machine."""
    world = world_with()

    def silent():
        raise Silent("no answer")

    monkeypatch.setattr(world.router, "weights", silent)
    pulse = Pulse(world)

    assert {pulse.feel(poll, 2.0 * at) for at, poll in enumerate(polls(*[(10, 0)] * 5))} == {""}


def test_a_stable_build_that_answers_nobody_well_and_is_not_ready_has_failed_after_a_while(world_with):
    """A moment is forgiven."""
    pulse = Pulse(world_with({"not_ready": ["v1"]}))
    said = [
        pulse.feel(poll, 2.0 * at) for at, poll in enumerate(polls((10, 0), (20, 10), (30, 20), (40, 30), (50, 40)))
    ]

    assert said[1] == ""
    assert "the stable build gateway:v1" in said[-1]
    assert "has failed" in said[-1]
    assert PATIENCE_SECONDS > 2


def test_a_stable_build_that_is_ready_has_not_failed_however_few_ask_it(world_with):
    """At night there may be no request in a poll."""
    pulse = Pulse(world_with())

    assert {pulse.feel(poll, 10.0 * at) for at, poll in enumerate(polls(*[(10, 0)] * 6))} == {""}


def test_a_router_is_asked_when_nobody_counts(world_with):
    """A source that is silent is no proof; a router that is silent too carries nobody."""
    fine, silent = Pulse(world_with()), Pulse(world_with(router={"fail": {"weights": "connection refused"}}))

    assert {fine.feel({}, 10.0 * at) for at in range(5)} == {""}
    assert [bool(silent.feel({}, 2.0 * at)) for at in range(4)] == [False, False, True, True]
    assert "the router has failed: " in silent.feel({}, 100.0)


def test_a_platform_that_falls_silent_while_it_is_asked_does_not_hide_what_has_failed(world_with, monkeypatch):
    """Its error would end the watch over all users."""
    world = world_with({"gone": {"v1": {"after": 1}}})
    world.platform.start()
    world.clock.sleep(1)
    known = [world.platform.stable()]

    def once():
        if not known:
            raise Silent("no answer")
        return known.pop()

    monkeypatch.setattr(world.platform, "stable", once)
    monkeypatch.setattr("pytest_canary.rollout.pulse.PATIENCE_SECONDS", 0.0)

    assert Pulse(world).feel({}, 0.0).startswith("the stable build has failed: ")


def test_a_canary_that_takes_no_requests_while_nobody_counts_is_cut_after_a_while(world_with):
    """It may hang, and then it does not tell what it has counted either."""
    world = world_with({"not_ready": ["v2"]})
    canary = world.platform.resolve("gateway:v2", Change())
    world.platform.deploy(canary)
    pulse = Pulse(world)
    said = [pulse.of_canary(canary, 2.0 * at, counted=False) for at in range(4)]

    assert said[:2] == ["", ""]
    assert said[3] == f"nobody counts what {canary} does, and it is not ready: v2 never becomes ready"
    assert pulse.of_canary(canary, 8.0, counted=True) == ""
    assert pulse.of_canary(canary, 10.0, counted=False) == ""  # it begins anew


def test_a_canary_is_counted_though_the_platform_cannot_be_asked_just_then(world_with, monkeypatch):
    """When metrics are out again later, it has its while again."""
    world = world_with({"not_ready": ["v2"]})
    canary = world.platform.resolve("gateway:v2", Change())
    world.platform.deploy(canary)
    pulse = Pulse(world)

    def silent(*_):
        raise Silent("nobody answers")

    assert pulse.of_canary(canary, 0.0, counted=False) == ""
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(world.platform, "hurt", silent)
        assert pulse.of_canary(canary, 2.0, counted=True) == ""
    assert pulse.of_canary(canary, 600.0, counted=False) == ""


def test_metrics_that_are_out_say_nothing_of_a_canary_that_is_ready(world_with):
    """They are waited for until the deadline."""
    world = world_with()
    canary = world.platform.resolve("gateway:v2", Change())
    world.platform.deploy(canary)
    pulse = Pulse(world)

    assert {pulse.of_canary(canary, 10.0 * at, counted=False) for at in range(5)} == {""}


def test_a_canary_that_has_died_is_named_whether_or_not_somebody_counts(world_with):
    """The platform sees it."""
    world = world_with({"dies": {"v2": 1}})
    canary = world.platform.resolve("gateway:v2", Change())
    world.platform.deploy(canary)
    world.clock.sleep(1)

    assert {Pulse(world).of_canary(canary, 0.0, counted=counted) for counted in (True, False)} == {
        f"{canary} is hurt: a copy of v2 has died"
    }
