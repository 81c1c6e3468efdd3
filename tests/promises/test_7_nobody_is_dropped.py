"""Promise 7: weight first, then wait for what is in flight, then remove; what had to be cut is counted and said."""

import json
import re
from dataclasses import dataclass

import pytest

import pytest_canary.session.conductor  # noqa: F401 - runs in this process must not meet a second copy of it
from tests.promises.test_5_whatever_ends_the_session import GATE, finish, start

STREAMS = '''
"""Long answers: a build that has lost its last share of the traffic goes on answering for a while."""

from pytest_canary import AdapterError, MemoryPlatform, MemoryRouter, MemoryWorld


class Streams(MemoryRouter):
    """A split whose builds have ``requests`` in flight, the last of which ends ``seconds`` after the weight is gone."""

    def __init__(self, shared, seconds, requests, deaf=0):
        super().__init__(MemoryRouter.Options(), shared)
        self.clock, self.world = shared.clock, MemoryWorld.of(shared)
        self.seconds, self.requests, self.deaf = seconds, requests, deaf
        self.lost = {}

    def set_weights(self, weights):
        super().set_weights(weights)
        state = self.world.state
        carrying = {state.places[role].pin for role, share in state.shares.items() if share}
        for pin in state.running:
            if pin in carrying:
                self.lost[pin] = None
            elif self.lost.get(pin, 0) is None:
                self.lost[pin] = self.clock.now()

    def flying(self, revision):
        if revision.pin not in self.lost:
            return 0
        lost = self.lost[revision.pin]
        left = 1.0 if lost is None else max(0.0, 1 - (self.clock.now() - lost) / self.seconds)
        return int(left * self.requests + 0.999)

    def in_flight(self, role):
        if self.deaf:
            self.deaf -= 1
            raise AdapterError("nobody knows what is in flight")
        revision = self.world.state.places.get(role)
        found = self.flying(revision) if revision else 0
        self.world.acted(f"in_flight {role} {found}")
        return found


class Careful(MemoryPlatform):
    """Builds that say what they were answering when they were removed, and since when they had no weight."""

    def __init__(self, shared):
        options = MemoryPlatform.Options(store="world.json", log="world.log")
        super().__init__(options, shared)
        self.shared, self.world = shared, MemoryWorld.of(shared)

    def remove(self, revision):
        router = self.shared.handles["traffic"]
        lost = router.lost.get(revision.pin)
        since = "ever" if lost is None else f"{self.shared.clock.now() - lost:.1f}"
        self.world.acted(f"removing {revision.tag} flying={router.flying(revision)} weightless={since}")
        super().remove(revision)


def pytest_canary_platform(name, options, shared):
    return Careful(shared) if name == "careful" else None


def pytest_canary_router(name, options, shared):
    return Streams(shared, **options) if name == "streams" else None
'''


@dataclass
class Removal:
    """What a build was answering when it was removed, and for how many seconds it had had no weight."""

    flying: int
    weightless: float


def removals(run):
    """Tag -> how it was removed."""
    found = re.findall(r"removing (\S+) flying=(\d+) weightless=(\S+)", "\n".join(run.acts))
    return {tag: Removal(int(flying), float(since.replace("ever", "nan"))) for tag, flying, since in found}


def streaming(project, *, seconds, timeout="60s", requests=7, deaf=0, **tests):
    """A rollout whose builds go on answering for ``seconds`` after they have lost their weight."""
    (project.pytester.path / "conftest.py").write_text(STREAMS)
    options = f"{{seconds: {seconds}, requests: {requests}, deaf: {deaf}}}"
    return project.write(
        replace={
            "platform: {memory: {store: world.json, log: world.log }}": "platform: {careful: {}}",
            "router: {memory: {}}": f"router: {{streams: {options}}}",
            "deadline: 120s": f"deadline: 120s\ndrain_timeout: {timeout}",
        },
        **tests,
    )


def report(project):
    """The newest report, as JSON."""
    found = sorted((project.pytester.path / ".pytest_canary").rglob("reports/*.json"))
    return json.loads(found[-1].read_text())


def order(run, *wanted):
    """Where each of these acts happened last."""
    return [max(i for i, act in enumerate(run.acts) if act.startswith(one)) for one in wanted]


def test_a_rollback_sets_weight_0_then_drains_then_removes(project):
    """In any other order users see their answers end."""
    run = streaming(project, seconds=30).run(image="gateway:v2-errors")
    cut = run.acts.index("weights baseline=1 canary=0", run.acts.index("weights baseline=0.95 canary=0.05"))
    first, drained = run.acts.index("in_flight canary 7"), run.acts.index("in_flight canary 0")

    assert run.exit == 1
    assert cut < first < drained < run.acts.index("detach canary") < run.acts.index("remove v2-errors")
    assert removals(run)["v2-errors"].flying == 0


def test_a_promotion_sets_weight_0_then_drains_then_removes_the_old_build(project):
    """The build that is retired has users too."""
    run = streaming(project, seconds=40).run()
    shifted = order(run, "weights baseline=0 canary=1")[0]
    asked = [act for act in run.acts[shifted : run.acts.index("remove v1")] if act.startswith("in_flight baseline")]

    assert run.exit == 0
    assert len(asked) > 2
    assert asked[0] != "in_flight baseline 0"
    assert asked[-1] == "in_flight baseline 0"
    assert removals(run)["v1"].flying == 0
    assert not run.did("removing v2")


def test_the_promoted_build_is_never_without_weight_while_its_role_is_renamed(project):
    """Canary becomes baseline: a name changes, no request notices."""
    run = streaming(project, seconds=40).run()
    shared = [act for act in run.acts[order(run, "promote v2")[0] :] if act.startswith("weights")]

    assert shared == ["weights baseline=1 canary=0"]
    attached = run.acts.index("attach baseline v2")
    assert attached < order(run, "weights baseline=1 canary=0")[0] < order(run, "detach canary")[0]


@pytest.mark.parametrize("image", ["gateway:v2", "gateway:v2-errors"])
@pytest.mark.parametrize("seconds", [0.1, 59])
def test_no_request_shorter_than_drain_timeout_is_cut(project, image, seconds):
    """Whatever the length, whichever way the rollout ends."""
    run = streaming(project, seconds=seconds).run(image=image)

    assert {tag: removal.flying for tag, removal in removals(run).items()} in ({"v1": 0}, {"v2-errors": 0})
    assert report(project)["drained"]["cut"] == 0
    assert "had to be cut" not in run.out.replace("none had to be cut", "")


@pytest.mark.parametrize(("image", "old"), [("gateway:v2", "v1"), ("gateway:v2-errors", "v2-errors")])
def test_a_build_with_requests_in_flight_is_never_removed_before_drain_timeout(project, image, old):
    """An answer that takes ten minutes gets all the time it was promised, and not for ever."""
    run = streaming(project, seconds=600, timeout="90s").run(image=image)

    assert removals(run)[old].flying > 0
    assert 90 <= removals(run)[old].weightless < 120


def test_a_build_is_removed_as_soon_as_it_is_drained(project):
    """`drain_timeout` is the longest wait, not the usual one."""
    run = streaming(project, seconds=5, timeout="600s").run(image="gateway:v2-errors")

    assert 5 <= removals(run)["v2-errors"].weightless < 6


def test_what_a_rollback_had_to_cut_is_counted_and_said(project):
    """On the terminal, in the JUnit and in the report, with the setting that would have helped."""
    run = streaming(project, seconds=600, timeout="20s").run(image="gateway:v2-errors")
    cut = removals(run)["v2-errors"].flying

    assert cut > 0
    assert run.exit == 1
    assert f"{cut} requests were still in flight after `drain_timeout` (20 s) and were cut" in run.out
    assert f"{cut} requests had to be cut" in run.out
    assert f"{cut} requests were still in flight" in run.messages["rollback"]
    assert report(project)["drained"] == {"in_flight": 7, "seconds": pytest.approx(20, abs=0.2), "cut": cut}
    assert any("drain_timeout" in line for line in report(project)["trouble"])


def test_what_a_promotion_had_to_cut_is_counted_and_said(project):
    """A good build is no excuse; it is promoted all the same."""
    run = streaming(project, seconds=600, timeout="20s").run()
    cut = removals(run)["v1"].flying

    assert cut > 0
    assert run.exit == 0
    assert f"{cut} requests were still in flight after `drain_timeout` (20 s) and were cut" in run.messages["promote"]
    assert report(project)["drained"]["cut"] == cut


def test_what_was_in_flight_and_ended_well_is_said_too(project):
    """Whoever sets `drain_timeout` needs to know how long draining takes."""
    run = streaming(project, seconds=30).run(image="gateway:v2-errors")

    assert report(project)["drained"] == {"in_flight": 7, "seconds": pytest.approx(30, abs=0.2), "cut": 0}
    assert "7 requests were in flight, none had to be cut" in run.out


def test_a_custom_gate_that_fails_drains_as_well(project):
    """The cut happens in its report, drain and removal after its teardown."""
    run = streaming(project, seconds=30, test_own="def test_own(stage): assert stage.index < 2").run()

    assert run.exit == 1
    assert run.shifts[-1] == 0.0
    assert removals(run)["v2"].flying == 0
    assert removals(run)["v2"].weightless >= 30


def test_a_signal_drains_as_well(project):
    """A cancelled job is no reason to drop anybody."""
    streaming(project, seconds=30, test_own=GATE.format(body="time.sleep(60)"))
    process = start(project)
    process.terminate()
    run = finish(project, process)

    assert run.exit == 2
    assert removals(run)["v2"].flying == 0
    assert removals(run)["v2"].weightless >= 30


def test_when_nobody_knows_what_is_in_flight_the_build_gets_all_its_time(project):
    """No data is not good news for a request in flight either."""
    run = streaming(project, seconds=30, deaf=2).run(image="gateway:v2-errors")

    assert run.exit == 1
    assert removals(run)["v2-errors"].flying == 0


def test_a_build_that_no_user_met_is_removed_at_once(project):
    """There is nobody to wait for."""
    run = streaming(project, seconds=30, test_own="def test_own(canary): assert False").run()

    assert run.exit == 1
    assert run.did("remove v2")
    assert run.shifts == [0.0]
