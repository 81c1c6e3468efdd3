"""Adapters of one's own, from a conftest.py or an installed package, and listeners: what they can do, and cannot."""

import json
import os
import re
import textwrap

import pytest

import pytest_canary.session.conductor  # noqa: F401 - runs in this process must not meet a second copy of it

MEMORY = {
    "platform": "platform: {memory: {store: world.json, log: world.log }}",
    "router": "router: {memory: {}}",
    "metrics": "metrics: {memory: {rate: 100, error_rate: {v1: 0.01, v2: 0.01, v2-errors: 0.3} }}",
    "probe": "probe: {memory: {}}",
    "clock": "clock: {virtual: {}}",
}
"""The lines of the project's rollout.yaml that name an adapter."""

OURS = {
    "platform": "platform: {ours: {store: world.json, log: world.log}}",
    "router": "router: {ours: {}}",
    "metrics": "metrics: {ours: {rate: 100, error_rate: {v2-errors: 0.3}}}",
}

CLASSES = """
from pytest_canary import MemoryMetrics, MemoryPlatform, MemoryRouter, MemoryWorld

class OurPlatform(MemoryPlatform):
    def deploy(self, revision):
        super().deploy(revision)
        self._world.acted("our platform deploys")

class OurRouter(MemoryRouter):
    def set_weights(self, weights):
        super().set_weights(weights)
        self._world.acted("our router splits")

class OurMetrics(MemoryMetrics):
    def poll(self, roles):
        self._world.acted("our metrics count")
        return super().poll(roles)
"""

HOOKS = """
def made(cls, name, options, shared):
    return cls(cls.Options.model_validate(dict(options)), shared) if name == "ours" else None

def pytest_canary_platform(name, options, shared): return made(OurPlatform, name, options, shared)
def pytest_canary_router(name, options, shared): return made(OurRouter, name, options, shared)
def pytest_canary_metrics(name, options, shared): return made(OurMetrics, name, options, shared)
"""

LISTENER = """
import json, pathlib
LOG = pathlib.Path(__file__).parent / "heard.jsonl"

def hear(**told):
    with LOG.open("a") as file:
        file.write(json.dumps(told) + "\\n")

def pytest_canary_row(row):
    hear(hook="row", name=row.name, passed=row.passed)
    BREAK

def pytest_canary_outcome(outcome):
    hear(hook="outcome", end=outcome.end, target=outcome.target, rows=[row.name for row in outcome.rows])
    BREAK
"""


def chosen(project, **lines):
    """Write the rollout with other adapters: kind -> its line."""
    return project.write(replace={MEMORY[kind]: line for kind, line in lines.items()})


def conftest(project, *sources):
    """Write the conftest.py of the project."""
    (project.pytester.path / "conftest.py").write_text("\n".join(map(textwrap.dedent, sources)))


def heard(project):
    """What a listener was told."""
    return [json.loads(line) for line in (project.pytester.path / "heard.jsonl").read_text().splitlines()]


def no_traceback(run):
    """Whether neither the terminal nor the JUnit shows the inside of a program."""
    said = "\n".join([run.out, *run.messages.values()])
    return "INTERNALERROR" not in said and "Traceback" not in said and not re.search(r"^\S+\.py:\d+: \w+", said, re.M)


# -- adapters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", ["gateway:v2", "gateway:v2-errors"])
def test_a_conftest_brings_its_own_platform_router_and_metric_source(project, image):
    """A hook each; the options of rollout.yaml reach them."""
    conftest(project, CLASSES, HOOKS)
    run = chosen(project, **OURS).run(image=image)

    assert run.exit == (image == "gateway:v2-errors")
    for act in ("our platform deploys", "our router splits", "our metrics count"):
        assert run.did(act)
    assert run.shifts[:2] == [0.0, 0.05]
    assert run.shifts[-1] == 0.0


def test_a_conftest_may_answer_for_one_adapter_and_leave_the_others(project):
    """None lets another answer: the built-in adapters stay."""
    conftest(project, CLASSES, HOOKS)
    run = chosen(project, router=OURS["router"]).run()

    assert run.exit == 0
    assert run.did("our router splits")
    assert not run.did("our platform deploys")


def test_a_conftest_may_take_the_name_of_a_built_in_adapter(project):
    """Whoever wraps `memory`, or one day `envoy`, keeps the rollout.yaml as it is."""
    conftest(project, CLASSES, HOOKS.replace('"ours"', '"memory"'))
    run = project.write().run()

    assert run.exit == 0
    assert run.did("our router splits")


@pytest.fixture
def installed(project, monkeypatch):
    """A package with adapters that is installed where the runs of this test look."""
    site = project.pytester.path / "site with spaces"
    info = site / "ours-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ours.py").write_text(CLASSES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
    kinds = {"platform": "OurPlatform", "router": "OurRouter", "metrics": "OurMetrics"}
    points = "".join(f"[pytest_canary.{kind}]\nours = ours:{cls}\n\n" for kind, cls in kinds.items())
    (info / "entry_points.txt").write_text(points)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    return site


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("image", ["gateway:v2", "gateway:v2-errors"])
def test_an_installed_package_brings_its_own_adapters(project, image):
    """Entry points are found by the name that rollout.yaml uses; nothing is imported by hand."""
    run = chosen(project, **OURS).run(image=image, process=True)

    assert run.exit == (image == "gateway:v2-errors")
    for act in ("our platform deploys", "our router splits", "our metrics count"):
        assert run.did(act)


@pytest.mark.usefixtures("installed")
def test_the_options_of_an_installed_adapter_are_checked_like_our_own(project):
    """A class with a model called `Options` gets them typed; a slip of the pen names the line."""
    run = chosen(project, metrics="metrics: {ours: {rates: 100}}").run(process=True)

    assert run.exit == 4
    assert re.search(r"rollout\.yaml:\d+: metrics\.ours\.rates: no such option, expected one of .*\brate\b", run.out)
    assert run.acts == []


@pytest.mark.usefixtures("installed")
def test_an_unknown_adapter_names_the_installed_ones_too(project):
    """The list is what can be written there on this machine."""
    run = chosen(project, router="router: {our: {}}").run(process=True)

    assert run.exit == 4
    assert re.search(r"found router 'our', expected one of .*\bours\b", run.out)


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("platform", ("local", "memory")),
        ("router", ("envoy", "memory")),
        ("metrics", ("envoy", "memory", "simulated")),
        ("probe", ("http", "memory")),
        ("clock", ("system", "virtual")),
    ],
)
def test_an_unknown_adapter_is_one_line_that_names_the_known_ones(project, kind, known):
    """Found, where, expected; exit 4, and nothing is deployed."""
    run = chosen(project, **{kind: f"{kind}: {{nonsense: {{}}}}"}).run()
    lines = [line for line in run.out.splitlines() if "nonsense" in line]

    assert run.exit == 4
    assert len(lines) == 1
    assert re.search(rf"rollout\.yaml:\d+: found {kind} 'nonsense', expected one of ", lines[0])
    assert all(name in lines[0] for name in known)
    assert run.acts == []
    assert no_traceback(run)


def test_a_conftest_brings_its_own_load(project):
    """`pytest_canary_load` is a hook like the others."""
    conftest(
        project,
        """
        from pytest_canary import MemoryUsers, MemoryWorld
        def pytest_canary_load(name, options, shared):
            if name == "ours":
                MemoryWorld.of(shared).acted("our users come")
                return MemoryUsers(MemoryUsers.Options(), shared)
        """,
    )
    run = chosen(project, probe=f"{MEMORY['probe']}\n    load: {{ours: {{}}}}").run()

    assert run.exit == 0
    assert run.did("our users come")


# -- an adapter that breaks -----------------------------------------------------------------------------------------

BREAKING = """
from pytest_canary import AdapterError, MemoryMetrics, MemoryPlatform, MemoryRouter

def broken(cls, options, shared):
    options = dict(options)
    method, kind, left = options.pop("method"), options.pop("error"), [int(options.pop("good"))]
    times = int(options.pop("times", 1_000_000))
    error = {"AdapterError": AdapterError, "RuntimeError": RuntimeError, "ConnectionError": ConnectionError}[kind]
    def breaks(self, *args):
        left[0] -= 1
        if -times <= left[0] < 0:
            raise error("the far side is gone")
        return getattr(super(Broken, self), method)(*args)
    Broken = type("Broken", (cls,), {method: breaks})
    return Broken(Broken.Options.model_validate(options), shared)

def pytest_canary_platform(name, options, shared):
    return broken(MemoryPlatform, options, shared) if name == "breaking" else None
def pytest_canary_router(name, options, shared):
    return broken(MemoryRouter, options, shared) if name == "breaking" else None
def pytest_canary_metrics(name, options, shared):
    return broken(MemoryMetrics, options, shared) if name == "breaking" else None
"""


def breaking(project, kind, method, *, good=0, error="AdapterError", times=1_000_000):
    """A rollout in which one method of one adapter raises after so many good calls, and so often."""
    conftest(project, BREAKING)
    options = f"method: {method}, good: {good}, error: {error}, times: {times}"
    line = MEMORY[kind].replace("{memory: {", "{breaking: {" + options + ", ")
    return chosen(project, **{kind: line.replace(", }", "}")}).run(
        "--canary-set", "stages=25,100", "--canary-set", "hold=2s"
    )


def settled(run, exit_code, says):
    """Whether a run ended as promised: exit code, one line with the cause, no traceback, no traffic left behind."""
    assert run.exit == exit_code, run.out
    assert says in run.out
    assert "the far side is gone" in run.out
    assert no_traceback(run)
    assert exit_code == 70 or run.shifts[-1:] in ([], [0.0])


@pytest.mark.parametrize("kind", ["platform", "router", "metrics"])
def test_an_adapter_that_cannot_even_check_is_exit_4(project, kind):
    """Nothing was started."""
    run = breaking(project, kind, "check")

    settled(run, 4, "ERROR")
    assert run.acts == []


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *(("platform", m) for m in ("recover", "start", "stable", "resolve", "deploy", "ready", "address", "model")),
        *(("router", m) for m in ("recover", "start", "address", "attach", "set_weights")),
        *(("metrics", m) for m in ("recover", "start", "poll")),
    ],
)
def test_an_adapter_that_breaks_on_the_way_up_means_not_started(project, kind, method):
    """No user has met the canary; exit 1."""
    run = breaking(project, kind, method)

    settled(run, 1, "not started on memory")
    assert set(run.shifts) <= {0.0}
    assert len([act for act in run.acts if act.startswith("deploy")]) == len(
        [act for act in run.acts if act.startswith("remove")]
    )


@pytest.mark.parametrize(
    ("kind", "method", "good"),
    [("metrics", "poll", 14), ("platform", "promote", 0), ("router", "set_weights", 3)],
)
def test_an_adapter_that_breaks_under_traffic_means_rolled_back(project, kind, method, good):
    """Or, when the way back needs the very thing that is broken, that a human must look."""
    run = breaking(project, kind, method, good=good)

    if method == "set_weights":
        settled(run, 70, "NOT RESTORED on memory")
    else:
        settled(run, 1, "rolled back on memory")
        assert run.did("remove v2")
    assert max(run.shifts) > 0


@pytest.mark.parametrize(("kind", "method"), [("platform", "remove"), ("router", "detach")])
def test_an_adapter_that_breaks_on_the_way_back_means_not_restored(project, kind, method):
    """Two builds may be left running, so no other exit code may hide it."""
    settled(breaking(project, kind, method), 70, "NOT RESTORED on memory")


@pytest.mark.parametrize(
    ("kind", "method", "good", "times"), [("platform", "remove", 0, 1), ("router", "detach", 0, 1)]
)
def test_what_fails_once_on_the_way_back_is_put_right_before_a_human_has_to(project, kind, method, good, times):
    """The same that `recover` would do, done at once; the report says that it took a second attempt."""
    run = breaking(project, kind, method, good=good, times=times)

    settled(run, 0, "promoted on memory")
    assert "put right at the second attempt" in run.messages["promote"]


def test_a_router_that_refuses_weight_0_for_a_while_is_asked_again(project):
    """Five times in a row, then once more after whatever may have died was started anew."""
    run = breaking(project, "router", "set_weights", good=3, times=6)

    settled(run, 1, "rolled back on memory")
    assert run.shifts[-1] == 0.0


def test_a_router_that_cannot_say_what_is_in_flight_is_given_all_the_time_and_it_is_said(project):
    """Whatever was in flight has had its `drain_timeout`; whether it was enough nobody knows."""
    run = breaking(project, "router", "in_flight")

    settled(run, 0, "promoted on memory")
    assert "the router could not say what was in flight" in run.messages["promote"]


@pytest.mark.parametrize("kind", ["platform", "router", "metrics"])
def test_an_adapter_that_cannot_stop_is_said_and_changes_nothing(project, kind):
    """The build is promoted; what is left behind is named."""
    settled(breaking(project, kind, "stop"), 0, "promoted on memory")


@pytest.mark.parametrize(
    ("kind", "method", "good", "exit_code", "says"),
    [
        ("router", "check", 0, 4, "ERROR"),
        ("platform", "start", 0, 1, "not started on memory"),
        ("platform", "deploy", 0, 1, "not started on memory"),
        ("metrics", "poll", 0, 1, "not started on memory"),
        ("metrics", "poll", 14, 1, "rolled back on memory"),
        ("platform", "promote", 0, 1, "rolled back on memory"),
        ("router", "set_weights", 3, 70, "NOT RESTORED on memory"),
    ],
)
def test_an_error_of_a_foreign_library_ends_like_one_of_ours(project, kind, method, good, exit_code, says):
    """Whoever writes an adapter forgets one; the canary must not keep its traffic for that."""
    settled(breaking(project, kind, method, good=good, error="RuntimeError"), exit_code, says)


# -- listeners ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "last"), [("gateway:v2", "promote"), ("gateway:v2-errors", "rollback")])
def test_listeners_hear_every_row_in_order_and_then_the_outcome(project, image, last):
    """Each row once, as it ends; the outcome once, after all of them."""
    conftest(project, LISTENER.replace("BREAK", ""))
    run = project.write().run(image=image)
    told = heard(project)
    rows = [one["name"] for one in told if one["hook"] == "row"]

    assert rows[:6] == ["target", "verify image", "deploy", "smoke", "warmup", "baseline"]
    assert rows[-1] == last
    assert len(rows) == len(set(rows))
    assert set(rows) <= set(run.rows)
    assert [one["hook"] for one in told] == ["row"] * len(rows) + ["outcome"]
    assert told[-1]["rows"] == rows
    assert told[-1]["target"] == "memory"
    assert told[-1]["end"] == ("promoted" if image == "gateway:v2" else "rolled back")


def test_several_listeners_all_hear(project):
    """The conftest.py beside the rollout, and the one above it."""
    conftest(project, LISTENER.replace("BREAK", ""))
    project.write()
    (project.pytester.path / "rollouts/conftest.py").write_text(LISTENER.replace("BREAK", ""))
    project.run()
    inner = (project.pytester.path / "rollouts/heard.jsonl").read_text()

    assert inner == (project.pytester.path / "heard.jsonl").read_text()


BREAKS = {
    "an error": "raise RuntimeError('the listener is broken')",
    "a failed assert": "assert False",
    "an exit": "import pytest; pytest.exit('enough')",
    "a failure": "import pytest; pytest.fail('enough')",
    "an exit of the process": "raise SystemExit(0)",
}


@pytest.mark.parametrize("image", ["gateway:v2", "gateway:v2-errors"])
@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
def test_a_listener_that_raises_changes_nothing(project, image, broken):
    """A chat that is down must neither stop a rollout nor promote one."""
    project.write()
    without = project.run(image=image)
    (project.pytester.path / "rollouts/gateway/world.json").unlink()
    conftest(project, LISTENER.replace("BREAK", broken))
    run = project.run("--canary-state=elsewhere", image=image)

    assert (run.exit, run.rows, run.acts) == (without.exit, without.rows, without.acts)
    assert run.messages == without.messages
    assert heard(project)[-1]["hook"] == "outcome"
    assert no_traceback(run)


def test_without_an_image_nobody_is_told_anything(project):
    """Nothing has happened."""
    conftest(project, LISTENER.replace("BREAK", ""))
    run = project.write().run(image=None)

    assert run.exit == 0
    assert not (project.pytester.path / "heard.jsonl").exists()
