"""The local platform on real processes: starting, finding again, ending, and what a build's name stands for."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from pydantic import ValidationError

from pytest_canary.adapters.local import OFFERS, LocalPlatform
from pytest_canary.adapters.processes import Process, find, free_port, launch, look
from pytest_canary.errors import AdapterError, ImageNotFound
from pytest_canary.ports import Change, Fact, Revision, Shared

SERVER = """
import argparse, json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked = argparse.ArgumentParser()
asked.add_argument("--port", type=int)
asked.add_argument("--build")
asked.add_argument("--model", default="")
asked = asked.parse_args()
if asked.build == "broken":
    sys.exit("cannot load the weights")
if asked.build == "unlucky" and not os.path.exists("tried"):
    open("tried", "w").close()
    sys.exit("OSError: [Errno 98] Address already in use")
if asked.build == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        models = [{"id": "m", "version": asked.build}] if asked.build != "mute" else []
        said = {"/health": {}, "/v1/models": {"data": models}, "/env": dict(os.environ), "/argv": sys.argv}
        body = json.dumps(said.get(self.path)).encode()
        loading = self.path == "/health" and asked.build == "loading"
        self.send_response(503 if loading else 200 if self.path in said else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print("serving", asked.build)
ThreadingHTTPServer(("127.0.0.1", asked.port), Handler).serve_forever(poll_interval=0.02)
"""

COMMAND = ["{python}", "server.py", "--port", "{port}", "--build", "{tag}"]


class RealClock:
    virtual = False
    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)


class World:
    """A platform with its ledger in memory, in a folder with a space in its name."""

    def __init__(self, folder, facts=None, **options):
        self.home = folder / "a home"
        self.home.mkdir(exist_ok=True)
        if not (self.home / "server.py").exists():
            (self.home / "server.py").write_text(SERVER)
        self.facts = [] if facts is None else facts
        self.shared = Shared("svc", RealClock(), folder / "state", self.home, note=self.note)
        options = {"command": COMMAND, "stop_seconds": 5, **options}
        self.platform = LocalPlatform.connect(OFFERS["platform"].Options(**options), self.shared)

    def note(self, kind, **data):
        self.facts.append(Fact(kind, time.time(), data))

    def resolve(self, tag, change=Change()):  # noqa: B008 - frozen
        return self.platform.resolve(f"svc:{tag}", change)

    def run(self, tag, change=Change()):  # noqa: B008 - frozen
        revision = self.resolve(tag, change)
        self.platform.deploy(revision)
        self.wait(revision)
        return revision

    def wait(self, revision):
        until = time.monotonic() + 10
        while not (now := self.platform.ready(revision)).ready:
            assert not now.hopeless, now.why
            assert time.monotonic() < until, now.why
            time.sleep(0.02)

    def ask(self, revision, path):
        with urlopen(self.platform.address(revision) + path, timeout=5) as answer:
            return json.load(answer)

    def kinds(self):
        return [fact.kind for fact in self.facts]

    def pid(self, revision):
        [last] = [fact for fact in self.facts if fact.kind == "process" and fact.data["pin"] == revision.pin][-1:]
        return int(Path(last.data["pidfile"]).read_text().split()[0])


@pytest.fixture
def world(tmp_path):
    """A platform that is stopped in the end."""
    world = World(tmp_path)
    yield world
    world.platform.stop()


def gone(pid):
    """Whether nothing runs under ``pid``."""
    now = look(pid)
    return now is None or now.over


def eventually(true, seconds=3.0):
    """What another process does takes a moment."""
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


def test_the_stable_build_serves_after_start_and_nothing_is_left_after_stop(world):
    """The local world ends with the run."""
    world.platform.start()
    stable = world.platform.stable()
    assert (stable.image, stable.tag) == ("svc:v1", "v1")
    assert world.platform.ready(stable).ready
    assert world.platform.model(stable) == "m@v1"
    pid = world.pid(stable)
    assert look(pid).session == pid
    world.platform.stop()
    world.platform.stop()
    assert gone(pid)


def test_the_fact_is_written_before_the_process_starts(tmp_path):
    """A run that dies between the two must still be found out by the next."""
    seen = []
    world = World(tmp_path)
    world.shared.note = lambda kind, **data: seen.append((kind, Path(data["pidfile"]).exists()))
    revision = world.resolve("v1")
    world.platform.deploy(revision)
    assert seen == [("process", False)]
    world.shared.note = world.note
    world.platform.stop()


def test_deploying_twice_starts_one_process(world):
    """Steps may be repeated."""
    revision = world.run("v2")
    pid = world.pid(revision)
    world.platform.deploy(revision)
    assert world.pid(revision) == pid
    assert world.kinds().count("process") == 1


def test_a_build_that_ends_is_hopeless_and_says_why(world):
    """Waiting longer cannot help; the last line of its log is what the user needs."""
    revision = world.resolve("broken")
    world.platform.deploy(revision)
    assert eventually(lambda: world.platform.ready(revision).hopeless)
    why = world.platform.ready(revision).why
    assert "exit status 1: cannot load the weights" in why
    assert ".log" in why


def test_a_build_that_is_still_loading_is_not_ready_and_not_hopeless(world):
    """503 from the health path means: not yet."""
    revision = world.resolve("loading")
    world.platform.deploy(revision)
    assert eventually(lambda: "answered 503" in world.platform.ready(revision).why)
    assert not world.platform.ready(revision).hopeless


def test_a_port_that_was_taken_meanwhile_is_left_for_another(world):
    """Between choosing a port and listening on it, anybody may take it."""
    revision = world.resolve("unlucky")
    world.platform.deploy(revision)
    first = world.platform.address(revision)
    assert eventually(lambda: world.platform.ready(revision).ready)
    assert world.platform.address(revision) != first
    assert world.kinds().count("process") == 2


def test_a_stable_build_that_does_not_come_up_says_why(tmp_path):
    """Nothing may be deployed beside a stable build that does not serve."""
    world = World(tmp_path, stable="broken")
    with pytest.raises(AdapterError, match=r"stable build svc:broken .* cannot serve.*cannot load the weights"):
        world.platform.start()
    slow = World(tmp_path, stable="loading", start_seconds=0.2)
    with pytest.raises(AdapterError, match=r"not ready after 0.2 s: GET /health"):
        slow.platform.start()
    slow.platform.stop()
    world.platform.stop()


def test_a_build_that_ignores_sigterm_is_killed_and_named(tmp_path):
    """What had to be cut is counted."""
    world = World(tmp_path, stop_seconds=0.2)
    revision = world.run("deaf")
    pid = world.pid(revision)
    world.platform.remove(revision)
    assert gone(pid)
    [cut] = [fact for fact in world.facts if fact.kind == "cut"]
    assert cut.data["pid"] == pid
    world.platform.remove(revision)


def test_what_a_build_has_started_ends_with_it(tmp_path):
    """A wrapper script that dies alone would leave its server on the port."""
    command = ["/bin/sh", "-c", "{python} server.py --port {port} --build {tag}; true"]
    world = World(tmp_path, command=command)
    revision = world.run("v1")
    address = world.platform.address(revision)
    port = int(address.rpartition(":")[2])
    world.platform.remove(revision)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_another_object_takes_hold_of_what_still_runs(world, tmp_path):
    """After kill -9 of a run, the next one recovers from the ledger alone."""
    stable, canary = world.run("v1"), world.run("v2", Change(env=(("A", "b"),)))
    second = World(tmp_path, facts=world.facts)
    second.platform.recover(world.facts)
    second.platform.recover(world.facts)
    assert second.platform.address(canary) == world.platform.address(canary)
    pids = [world.pid(stable), world.pid(canary)]
    second.platform.start()
    assert [second.pid(stable), second.pid(canary)] == pids
    second.platform.stop()
    assert all(map(gone, pids))


def test_where_builds_listen_stands_in_a_file_that_prometheus_reads(world, tmp_path):
    """Their ports are new each time, and a Prometheus on this machine has to find them."""
    stable, canary = world.run("v1"), world.run("v2")

    def listed(platform):
        groups = json.loads((platform.shared.state / "targets.json").read_text())
        return {group["labels"]["build"]: f"http://{group['targets'][0]}" for group in groups}

    where = {"v1": world.platform.address(stable), "v2": world.platform.address(canary)}
    assert listed(world) == where
    second = World(tmp_path, facts=world.facts)
    second.platform.recover(world.facts)
    second.platform.remove(canary)
    assert listed(second) == {"v1": where["v1"]}
    second.platform.stop()
    assert listed(second) == {}


def test_a_reused_pid_is_not_ours(tmp_path):
    """A pid file may outlive its process, and the number belongs to somebody else now."""
    mine = look(os.getpid())
    line = Path(f"/proc/{os.getpid()}/stat").read_text()
    pidfile = tmp_path / "one.pid"
    pidfile.write_text(line)
    assert find(pidfile, tmp_path / "log", clock=RealClock()).pid == os.getpid()
    pidfile.write_text(line.replace(f" {mine.started} ", f" {mine.started - 1} "))
    assert find(pidfile, tmp_path / "log", clock=RealClock()) is None


def test_a_process_that_took_the_pid_of_ours_is_left_alone(tmp_path):
    """Ours ended long ago; stopping it must not reach the session that has its number now."""
    log = tmp_path / "l"
    other = launch(["sleep", "60"], pidfile=tmp_path / "p", log=log, cwd=tmp_path, env=dict(os.environ))
    ours = Process(other.pid, other.started - 1, tmp_path / "ours", log)
    assert ours.end(RealClock(), 0.0)
    assert not other.ended()
    assert other.end(RealClock(), 2.0)


@pytest.mark.parametrize("text", ["", "17", "17 (sh", "17 (a) b) S x"])
def test_half_a_pid_file_names_nobody(tmp_path, text):
    """A machine may stop while it is written."""
    (tmp_path / "one.pid").write_text(text)
    assert find(tmp_path / "one.pid", tmp_path / "log", clock=RealClock()) is None


def test_the_pid_file_of_a_launch_names_the_program(tmp_path):
    """The launcher becomes the program: same pid, same start time."""
    env = dict(os.environ)
    process = launch(["sleep", "60"], pidfile=tmp_path / "p", log=tmp_path / "l", cwd=tmp_path, env=env)
    found = find(tmp_path / "p", tmp_path / "l", clock=RealClock(), patience=2.0)
    assert (found.pid, found.started) == (process.pid, process.started)
    assert process.end(RealClock(), 2.0)
    assert process.ended() == "signal SIGTERM"
    assert found.ended()
    assert not (tmp_path / "p").exists()


def test_a_program_that_does_not_exist_ends_at_once_and_says_so(tmp_path):
    """The launcher's own complaint is in the log."""
    process = launch(["/no/such"], pidfile=tmp_path / "p", log=tmp_path / "l", cwd=tmp_path, env=dict(os.environ))
    assert eventually(process.ended)
    assert process.ended() == "exit status 127"
    assert "/no/such" in process.last_line()


def test_promotion_keeps_the_analysed_process_and_is_remembered(world, tmp_path):
    """The process that was watched is the one that stays; a world that is kept starts from it again."""
    stable, canary = world.run("v1"), world.run("v2")
    pid = world.pid(canary)
    assert world.platform.promote(canary) == canary
    world.platform.remove(stable)
    assert world.platform.stable() == canary
    assert world.pid(canary) == pid
    second = World(tmp_path, facts=world.facts)
    second.platform.recover(world.facts)
    assert second.platform.stable() == canary


def test_the_build_that_serves_is_the_stable_one_even_when_its_code_has_changed(world, tmp_path):
    """After an upgrade a recovery must not start another build and end the one that users are on."""
    stable = world.run("v1")
    canary = world.run("v2")
    (world.home / "server.py").write_text(SERVER + "# changed\n")
    second = World(tmp_path, facts=world.facts)
    second.platform.recover(world.facts)

    assert second.platform.stable() == stable
    assert second.platform.address(canary) == world.platform.address(canary)


def test_a_world_that_was_stopped_starts_again_from_the_stable_build(world, tmp_path):
    """Every rehearsal shows the same."""
    world.platform.promote(world.run("v2"))
    world.platform.stop()
    assert world.platform.stable().tag == "v1"
    second = World(tmp_path, facts=world.facts)
    second.platform.recover(world.facts)
    assert second.platform.stable().tag == "v1"


def test_a_pin_names_tag_code_and_configuration(world):
    """The same tag with other code is another build; the port is no part of it."""
    first = world.resolve("v1")
    assert world.resolve("v1") == first
    pins = {first.pin, world.resolve("v2").pin, world.resolve("v1", Change(args=("--model", "x"))).pin}
    (world.home / "server.py").write_text(SERVER + "# changed\n")
    pins.add(world.resolve("v1").pin)
    assert len(pins) == 4


def test_a_pin_names_the_code_of_a_package(tmp_path):
    """``-m package`` names no file, and its code may change all the same."""
    world = World(tmp_path, command=["{python}", "-m", "gate.way", "--port", "{port}"])
    package = world.home / "gate" / "way"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("raise SystemExit('imported')\n")
    first = world.resolve("v1")
    (package / "__init__.py").write_text("# changed\n")
    assert world.resolve("v1").pin != first.pin


def test_environment_and_arguments_of_the_canary_reach_it(world):
    """A change may be configuration alone."""
    revision = world.run("v2", Change(env=(("MODE", "fast"),), args=("--model", "m8")))
    assert world.ask(revision, "/env")["MODE"] == "fast"
    assert world.ask(revision, "/argv")[-2:] == ["--model", "m8"]


def test_a_model_needs_a_place_in_the_command(tmp_path):
    """A model that reaches nobody would be compared with itself."""
    with pytest.raises(AdapterError, match=r"no \{model\}"):
        World(tmp_path).resolve("v1", Change(model="m8"))
    world = World(tmp_path, command=[*COMMAND, "--model", "{model}"], model="m7")
    revision = world.run("v1", Change(model="m8"))
    assert world.ask(revision, "/argv")[-1] == "m8"
    world.platform.stop()


def test_a_build_without_models_says_none(world):
    """Unknown is not equal, so it must not look like a name."""
    assert world.platform.model(world.run("mute")) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"command": ["nowhere-to-be-found"]}, "no program 'nowhere-to-be-found'"),
        ({"builds": ["v1", "v2", "test-*"]}, r"no build 'v22'; there are v1, v2, test-\*; did you mean v2\?"),
        ({"verify": [sys.executable, "-c", "import sys; sys.exit('no such build')"]}, "exit status 1: no such build"),
        ({"verify": ["nowhere-to-be-found"]}, "cannot be started"),
    ],
)
def test_an_image_that_names_no_build_is_not_found(tmp_path, options, said):
    """Told before anything is deployed."""
    with pytest.raises(ImageNotFound, match=said):
        World(tmp_path, **options).resolve("v22")


def test_an_image_without_a_tag_is_not_taken_for_the_latest(tmp_path):
    """`--image=v2` would start the build `latest` under the name v2."""
    world = World(tmp_path)
    with pytest.raises(ImageNotFound, match=r"v2: found no tag, .* type --image=svc:v2, or :latest"):
        world.platform.resolve("v2", Change())
    assert world.platform.resolve("svc:latest", Change()).tag == "latest"


def test_a_pattern_of_builds_lets_its_tags_in(tmp_path):
    """A list of all tags would never be complete."""
    assert World(tmp_path, builds=["v1", "test-*"]).resolve("test-7").tag == "test-7"


def test_more_than_one_process_is_refused(world):
    """One process per build is all this platform has, and it says so."""
    with pytest.raises(AdapterError, match="replicas: 1"):
        world.platform.scale(world.resolve("v1"), 2)
    with pytest.raises(AdapterError, match="replicas: 1"):
        world.platform.deploy(world.resolve("v1", Change(replicas=3)))
    assert world.facts == []


def test_a_revision_that_does_not_run_has_no_address(world):
    """Better one line than a KeyError."""
    with pytest.raises(AdapterError, match="deploy it first"):
        world.platform.address(Revision("svc:v9", "sha256:9"))


def test_check_names_a_program_that_is_missing(tmp_path):
    """Before anything starts."""
    assert World(tmp_path).platform.check() == []
    [line] = World(tmp_path, command=["nowhere-to-be-found", "{port}"]).platform.check()
    assert "nowhere-to-be-found" in line


def test_unknown_options_are_refused():
    """A typing error is not a default."""
    with pytest.raises(ValidationError, match="comand"):
        LocalPlatform.Options(comand=["x"])


def test_a_free_port_is_free():
    """Nobody listens on it."""
    assert free_port() > 0
