"""When probes ask whom, and what is counted of it: on a virtual clock, with the builds of the memory world."""

from dataclasses import replace

import pytest

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.memory import OFFERS
from pytest_canary.errors import BaselineFailed
from pytest_canary.plan import Plan, Probing, Stage
from pytest_canary.ports import Answer, Change, Fault, Prompt, Role, Sample, Shared, World
from pytest_canary.prices import Price, Prices
from pytest_canary.probing import Pace, PacedProbes, ProbedSource
from pytest_canary.probing.tally import Tally
from pytest_canary.spec import gate_from
from pytest_canary.steps.baseline import Baseline
from pytest_canary.steps.deploy import deploy, open_world
from pytest_canary.steps.probing import begin_probes, end_probes, unmet, without_probes
from pytest_canary.verdict.guards import SplitGuard

STREAMED, WHOLE = Prompt(body={"messages": []}, stream=True), Prompt(body={"messages": []})
PRICES = Prices({"m": Price(input=1.0, output=4.0)}, {Role.BASELINE: "m", Role.CANARY: "m"}, "rollout.yaml:9")


@pytest.fixture
def made(tmp_path):
    """A world with v1 serving and v2 beside it, probed at 4 a second: ``(world, plan, clock)``."""

    def make(probe=None, metrics=None, rate=4.0, prices=None):
        clock = VirtualClock()
        shared = Shared("gateway", clock, tmp_path, tmp_path)
        options = {"platform": {}, "router": {}, "metrics": {"rate": 100, **(metrics or {})}, "probe": probe or {}}
        one = {
            kind: OFFERS[kind].connect(OFFERS[kind].Options.model_validate(of), shared) for kind, of in options.items()
        }
        probes = PacedProbes(one["probe"], clock, Pace(rate, 4), prices)
        source = ProbedSource(one["metrics"], probes)
        world = World(one["platform"], one["router"], source, one["probe"], clock, shared, probes=probes)
        open_world(world)
        deploy(world, Role.CANARY, world.platform.resolve("gateway:v2", Change()), 10.0, lambda _: None)
        stage = Stage("rollout.yaml", 0, 0.05, 10.0, 20, 60.0)
        plan = Plan("r", "gateway", "memory", tmp_path, "gateway:v2", Change(), (stage,), ())
        return world, plan_with(plan, rate), clock

    return make


def plan_with(plan, rate, *prompts):
    """``plan`` with probes."""
    return replace(plan, probing=Probing(rate, 4, prompts or (STREAMED, WHOLE)))


def begun(world, plan):
    """Ask both builds from now on."""
    stable, canary = world.platform.stable(), world.platform.resolve("gateway:v2", Change())
    begin_probes(world, plan, {Role.BASELINE: stable, Role.CANARY: canary})


def polled(world):
    """What both roles have counted."""
    return world.source.poll([Role.BASELINE, Role.CANARY])


def test_every_build_is_asked_as_often_however_late_somebody_polls(made):
    """A window of ten seconds at four a second, looked at once."""
    world, plan, clock = made()
    begun(world, plan)
    clock.sleep(10)
    counted = polled(world)

    assert [counted[role].counters["probe.requests"] for role in counted] == [41, 41]
    assert counted[Role.CANARY].histograms["probe.ttft"].number == 21
    assert counted[Role.CANARY].histograms["probe.latency"].number == 41


def test_before_they_begin_nothing_of_them_is_told(made):
    """Half a name would look like a source that counts nothing."""
    world, _, _ = made()

    assert not any(name.startswith("probe.") for name in polled(world)[Role.BASELINE].counters)


def test_once_ended_nobody_is_asked_any_more(made):
    """The builds are drained then."""
    world, plan, clock = made()
    begun(world, plan)
    clock.sleep(5)
    before = polled(world)[Role.CANARY].counters["probe.requests"]
    end_probes(world)
    clock.sleep(60)

    assert polled(world)[Role.CANARY].counters["probe.requests"] == before > 0


def test_a_second_round_goes_on_counting(made):
    """Counters never go back, or a poll would be lost."""
    world, plan, clock = made()
    begun(world, plan)
    clock.sleep(5)
    before = polled(world)[Role.CANARY]
    begun(world, plan)
    clock.sleep(5)

    assert polled(world)[Role.CANARY].since(before).counters["probe.requests"] >= 20


def test_a_build_that_is_gone_answers_no_probe(made):
    """A fault of its own kind, counted, and told with its words."""
    world, plan, clock = made()
    begun(world, plan)
    world.platform.remove(world.platform.resolve("gateway:v2", Change()))
    clock.sleep(1)
    counted = polled(world)[Role.CANARY].counters

    assert counted["probe.no_answer"] == counted["probe.requests"] == 5
    assert world.probes.seen()[Role.CANARY].first_fault.startswith("no answer: nothing answers at memory://v2")


def test_times_of_faulty_answers_are_not_counted(made):
    """A stream that is cut in the middle is quick."""
    world, plan, clock = made(probe={"truncates": {"v2": 2}})
    begun(world, plan)
    clock.sleep(10)
    counted = polled(world)[Role.CANARY]

    assert counted.counters["probe.truncated"] == 20
    assert counted.histograms["probe.latency"].number == 21


def test_each_answer_has_a_cost_where_tokens_have_prices(made):
    """Five tokens in, five out."""
    world, plan, _ = made(prices=PRICES)
    begun(world, plan)
    cost = polled(world)[Role.CANARY].histograms["probe.cost"]

    assert (cost.number, cost.total) == (1, pytest.approx(25e-6))
    assert "probe.cost" not in polled(made()[0])[Role.CANARY].histograms


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(200, 0.1, text="ok"), None),
        (Answer(200, 0.1, fault=Fault.STREAM_ERROR, error="oom"), Fault.STREAM_ERROR),
        (Answer(0, 0.1), Fault.NO_ANSWER),
        (Answer(503, 0.1), Fault.STATUS),
        (Answer(401, 0.1), Fault.STATUS),
        (Answer(200, 0.1, finished=False), Fault.TRUNCATED),
        (Answer(200, 0.1, error="odd"), Fault.UNEXPECTED),
    ],
)
def test_what_a_probe_of_ones_own_does_not_name_is_still_a_fault(answer, fault):
    """Never a pass because somebody's adapter says less."""
    tally = Tally(priced=False)
    tally.take(answer, None)

    assert tally.seen().faults == ({} if fault is None else {fault: 1})


def test_a_probe_that_raises_got_no_answer(made):
    """It is told what was raised."""
    _, _, clock = made()

    class Raises:
        def ask(self, *_):
            raise ZeroDivisionError("of somebody else")

    probes = PacedProbes(Raises(), clock, Pace(4.0, 4))
    probes.begin({Role.CANARY: "memory://v2"}, [WHOLE])
    probes.catch_up()

    assert probes.seen()[Role.CANARY].first_fault == "no answer: of somebody else"


# a source that takes probes for users


def captured(world, plan, clock):
    """The window before the ramp, as the rollout takes it."""
    begun(world, plan)
    before, first = unmet(world), polled(world)[Role.BASELINE]
    clock.sleep(10)
    counted = polled(world)[Role.BASELINE].since(first)
    return without_probes(world, plan, Baseline(counted, 10.0), before)


def test_a_source_that_sees_users_alone_is_left_as_it_is(made):
    """Such as one at the router."""
    baseline, said = captured(*made())

    assert (baseline.requests, said) == (1000, "probes: 4/s to each build, beside 5/s of users at 5%")


def test_a_source_that_counts_probes_too_is_found_out_before_the_ramp(made):
    """The canary has met no user, so what it counts are probes."""
    world, plan, clock = made(metrics={"counts_probes": True})
    baseline, said = captured(world, plan, clock)
    clock.sleep(5)
    now = polled(world)[Role.CANARY]

    assert baseline.requests == pytest.approx(1000, abs=1)
    assert "at 5% they are about 44% of what is counted at the canary" in said
    assert now.of_users == pytest.approx(0, abs=1)


def test_more_probes_than_users_are_refused(made):
    """With the rate that would do."""
    world, plan, clock = made(metrics={"counts_probes": True}, rate=6.0)

    with pytest.raises(BaselineFailed, match=r"lower `probe\.rate` to 1\.2"):
        captured(world, plan, clock)


def test_a_baseline_that_could_hardly_be_asked_is_no_measure(made):
    """Six answers are not what is normal; the line says which build keeps the others waiting."""
    world, plan, clock = made(rate=0.5)
    gate = gate_from("probe_error_rate", {"ratio": 1.5}, "rollout.yaml:3")

    with pytest.raises(BaselineFailed, match=r"^5 probes of the baseline were answered in 10 s, and a gate needs 20; "):
        captured(world, replace(plan, gates=(gate,)), clock)


@pytest.mark.parametrize("told", [True, False])
def test_a_source_that_tells_late_of_probes_does_not_look_like_a_wrong_split(told):
    """Scraped every fifteen seconds, polled every five: probes are known before the source counts them."""
    guard, rate, users = SplitGuard(0.05, 0.0, Sample(0.0)), 4.0, {Role.CANARY: 5.0, Role.BASELINE: 95.0}
    for poll in range(1, 120):
        scraped = 15.0 if poll % 3 == 0 else 0.0
        too = {"probe.counted_as_users": 5 * rate} if told else {}
        guard.observe(
            {role: Sample(5.0 * poll, {"requests": scraped * (of + rate), **too}) for role, of in users.items()},
            5.0 * poll - 5,
        )

    assert bool(guard.wrong) is not told
