"""The Envoy adapter on a real Envoy: shifts, counts, streams, recovery."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pytest_canary.adapters.envoy import OFFERS, EnvoyMetrics, EnvoyRouter
from pytest_canary.adapters.envoy.machine import find_binary
from pytest_canary.adapters.envoy.metrics import BOUNDS, histogram
from pytest_canary.adapters.processes import look
from pytest_canary.errors import AdapterError, SourceUnavailable
from pytest_canary.ports import Fact, Revision, Role, Shared

pytestmark = pytest.mark.skipif(find_binary(None) is None, reason="Envoy is not installed")

STABLE = Revision("svc:v1", "sha256:1")
NEW = Revision("svc:v2", "sha256:2")
BOTH = (Role.BASELINE, Role.CANARY)


class RealClock:
    virtual = False
    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)


class Handler(BaseHTTPRequestHandler):
    """A build: /boom and /missing fail, /cut stops half-way, /reset says nothing, /hold waits, /stream takes 0.15 s."""

    protocol_version = "HTTP/1.1"
    timeout = 10.0
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.asked[self.path] += 1
        if self.path == "/reset":
            self.close_connection = True
        elif self.path == "/cut":
            self.begin(200)
            self.chunk(b"half")
            self.close_connection = True
        elif self.path in ("/stream", "/hold"):
            self.begin(200)
            self.chunk(b"data: first\n\n")
            self.server.go.wait(10) if self.path == "/hold" else time.sleep(0.15)
            self.chunk(b"data: last\n\n")
            self.chunk(b"")
        else:
            self.send_response({"/boom": 500, "/missing": 404}.get(self.path, 200))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
            self.wfile.flush()

    do_POST = do_GET

    def begin(self, code):
        self.send_response(code)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class Build(ThreadingHTTPServer):
    """A small server in this process."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.go = threading.Event()
        self.asked = Counter()
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=lambda: self.serve_forever(poll_interval=0.02), daemon=True).start()

    def handle_error(self, request, client_address):
        pass

    def close(self):
        self.go.set()
        self.shutdown()
        self.server_close()


class World:
    """Router and metric source of one target, with a ledger in memory."""

    def __init__(self, state: Path, facts=None, **options):
        self.facts = [] if facts is None else facts
        self.shared = Shared("svc", RealClock(), state, state, note=self.note)
        self.router = EnvoyRouter.connect(OFFERS["router"].Options(**options), self.shared)
        self.metrics = EnvoyMetrics.connect(OFFERS["metrics"].Options(), self.shared)

    def note(self, kind, **data):
        self.facts.append(Fact(kind, time.time(), data))

    def attach(self, stable, canary):
        self.router.attach(Role.BASELINE, STABLE, stable.address)
        self.router.attach(Role.CANARY, NEW, canary.address)
        self.split(0.0)

    def split(self, canary):
        self.router.set_weights({Role.BASELINE: 1 - canary, Role.CANARY: canary})

    def sample(self, role):
        return self.metrics.poll([role])[role]

    def client(self):
        return closing(http.client.HTTPConnection(self.router.address().removeprefix("http://"), timeout=10))

    def ask(self, path="/"):
        with self.client() as client:
            return fetch(client, path)

    def pid(self):
        [last] = [fact for fact in self.facts if fact.kind == "envoy"][-1:]
        return int(Path(last.data["pidfile"]).read_text().split()[0])


def fetch(client, path="/"):
    """Status, who served it, and the whole body."""
    client.request("GET", path)
    response = client.getresponse()
    body = response.read()
    return response.status, response.getheader("x-served-by"), body


def eventually(true, seconds=3.0):
    """Histograms are flushed every 0.2 s, and a stream is counted a moment after its last byte has arrived."""
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


@pytest.fixture(scope="module")
def builds():
    """Two builds that answer alike."""
    with closing(Build()) as stable, closing(Build()) as canary:
        yield stable, canary


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory):
    """One Envoy for all tests that leave it as it was."""
    world = World(tmp_path_factory.mktemp("a state folder with spaces"))
    world.router.start()
    try:
        yield world
    finally:
        world.router.stop()


@pytest.fixture
def world(shared_world, builds):
    """The shared Envoy with all traffic on the stable build."""
    shared_world.attach(*builds)
    yield shared_world
    shared_world.split(0.0)


@pytest.fixture
def own(tmp_path, builds):
    """An Envoy that a test may break."""
    world = World(tmp_path / "state")
    world.router.start()
    try:
        world.attach(*builds)
        yield world
    finally:
        world.router.stop()


@contextmanager
def counted(world, role):
    """What ``role`` counts of the one request within the block, as soon as it is there."""
    before = world.sample(role)
    result = {}
    yield result

    def settled():
        result.update(world.sample(role).since(before).counters)
        return result["requests"] + result["abandoned"] == 1

    assert eventually(settled), result


def test_a_role_that_is_new_holds_no_traffic(tmp_path, builds):
    """Nobody meets a build because it was attached; with no weights at all the router says so itself."""
    world = World(tmp_path)
    world.router.start()
    try:
        world.router.attach(Role.BASELINE, STABLE, builds[0].address)
        assert world.router.weights() == {Role.BASELINE: 0.0}
        assert world.ask()[:2] == (503, None)
    finally:
        world.router.stop()


def test_the_very_next_request_follows_new_weights(world):
    """set_weights returns when the thread that serves requests has told us the new table."""
    with world.client() as client:
        for turn in range(20):
            world.split(float(turn % 2))
            assert fetch(client)[1] == (NEW.pin if turn % 2 else STABLE.pin)


def test_a_shift_takes_less_than_a_second_and_is_measured_as_asked(world):
    """Promised: live in tens of milliseconds; 400 requests at 25 % lie within four standard deviations."""
    began = time.monotonic()
    world.split(0.25)
    assert time.monotonic() - began < 1.0
    with world.client() as client:
        seen = Counter(fetch(client)[1] for _ in range(400))
    assert 65 <= seen[NEW.pin] <= 135
    assert sum(seen.values()) == 400


def test_half_a_per_cent_is_half_a_per_cent(world):
    """A stage may be as small as 0.5 %; Envoy's weights are whole numbers and must not round it away."""
    world.split(0.005)
    assert world.router.weights()[Role.CANARY] == 0.005
    dump = world.shared.handles["envoy"].admin("/config_dump?resource=dynamic_route_configs")
    weights = re.findall(r'"weight": (\d+)', json.dumps(dump))
    assert sorted(map(int, weights)) == [5_000, 995_000]


def test_no_request_is_dropped_while_weights_flip(world):
    """Twenty flips under keep-alive traffic and open streams: every answer is whole."""
    stop, bad, answers = threading.Event(), [], Counter()

    def user(path, whole):
        with world.client() as client:
            while not stop.is_set():
                try:
                    status, _, body = fetch(client, path)
                except (OSError, http.client.HTTPException) as error:
                    bad.append(repr(error))
                    return
                answers[path] += 1
                if status != 200 or not body.endswith(whole):
                    bad.append((status, body))
                time.sleep(0.002)

    users = [threading.Thread(target=user, args=("/", b"ok")) for _ in range(3)]
    users += [threading.Thread(target=user, args=("/stream", b"data: last\n\n")) for _ in range(3)]
    for one in users:
        one.start()
    for turn in range(20):
        world.split((turn % 5) / 4)
        time.sleep(0.03)
    stop.set()
    for one in users:
        one.join()
    assert not bad
    assert answers["/"] > 50
    assert answers["/stream"] >= 6


@pytest.mark.parametrize("share", [{Role.BASELINE: 0.5}, {Role.CONTROL: 1.0}, {Role.BASELINE: 2.0, Role.CANARY: -1.0}])
def test_weights_that_make_no_sense_leave_the_old_ones(world, share):
    """Half a split would send users to nobody."""
    world.split(0.25)
    with pytest.raises(AdapterError):
        world.router.set_weights(share)
    assert world.router.weights() == {Role.BASELINE: 0.75, Role.CANARY: 0.25}


def test_what_envoy_refuses_is_said_in_its_own_words_and_changes_nothing(tmp_path, builds):
    """Accepted by us is not accepted by Envoy; five seconds of silence would be a poor answer."""
    world = World(tmp_path, request_timeout=4e11)
    world.router.start()
    try:
        world.router.attach(Role.BASELINE, STABLE, builds[0].address)
        with pytest.raises(AdapterError, match=r"routes\.json.*duration out of range"):
            world.router.set_weights({Role.BASELINE: 1.0})
        assert world.router.weights() == {Role.BASELINE: 0.0}
    finally:
        world.router.stop()


def test_an_address_that_envoy_cannot_reach_is_refused(world):
    """A typing error must not become a cluster."""
    with pytest.raises(AdapterError, match="expected http://host:port"):
        world.router.attach(Role.CONTROL, STABLE, "https://nowhere")
    assert Role.CONTROL not in world.router.weights()


def test_a_role_with_traffic_cannot_be_detached(world):
    """Its requests would have nowhere to go."""
    world.split(0.5)
    with pytest.raises(AdapterError, match="set its weight to 0"):
        world.router.detach(Role.CANARY)


def test_failures_are_counted_by_whose_fault_they_are(world):
    """5xx and cut answers blame the build, 4xx the client."""
    for path, kind in {"/": None, "/boom": "errors", "/missing": "client_errors", "/reset": "errors"}.items():
        with counted(world, Role.BASELINE) as counts:
            world.ask(path)
        expected = {"requests": 1, "errors": 0, "client_errors": 0, "abandoned": 0, **({kind: 1} if kind else {})}
        assert counts == expected, path
    with counted(world, Role.BASELINE) as counts, pytest.raises(http.client.HTTPException):
        world.ask("/cut")
    assert counts["errors"] == 1


def test_an_error_that_envoy_made_says_so(world):
    """Users that count must tell a build's 503 from the router's."""
    with world.client() as client:
        client.request("GET", "/reset")
        response = client.getresponse()
        response.read()
    assert (response.status, response.getheader("server")) == (503, "envoy")
    assert response.getheader("x-canary-router") == "UC"


def test_a_client_that_goes_away_counts_on_neither_side(world):
    """Somebody who closes the tab is no evidence against a build."""
    with counted(world, Role.BASELINE) as counts, world.client() as client:
        client.request("GET", "/hold")
        assert client.getresponse().read1() == b"data: first\n\n"
    assert counts == {"requests": 0, "errors": 0, "client_errors": 0, "abandoned": 1}


def test_requests_to_a_build_that_was_killed_are_its_errors(world):
    """A dead canary must look dead, not silent."""
    with closing(socket.socket()) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
        world.router.attach(Role.CANARY, NEW, f"http://127.0.0.1:{port}")
        world.split(1.0)
        with counted(world, Role.CANARY) as counts:
            assert world.ask()[0] == 503
    assert counts["errors"] == 1


def test_a_build_that_says_nothing_has_failed_after_the_idle_timeout(tmp_path):
    """A canary that hangs is an error of the canary (UT), not a 4xx and not a client that left."""
    world = World(tmp_path, idle_timeout=0.3)
    world.router.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            world.router.attach(Role.BASELINE, STABLE, f"http://127.0.0.1:{silent.getsockname()[1]}")
            world.router.set_weights({Role.BASELINE: 1.0})
            with counted(world, Role.BASELINE) as counts:
                assert world.ask()[0] == 504
        assert counts["errors"] == 1
    finally:
        world.router.stop()


@pytest.mark.parametrize(("options", "connections"), [({}, 1), ({"requests_per_connection": 1}, 3)])
def test_requests_may_each_have_a_connection_of_their_own(tmp_path, options, connections):
    """A build that closes connections without saying so loses whatever is on its way in one that is kept."""
    came = []

    class Build(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            came.append(1)
            super().setup()

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Nobody reads it."""

    world = World(tmp_path, **options)
    world.router.start()
    try:
        with ThreadingHTTPServer(("127.0.0.1", 0), Build) as build:
            threading.Thread(target=build.serve_forever, daemon=True).start()
            world.router.attach(Role.BASELINE, STABLE, f"http://127.0.0.1:{build.server_port}")
            world.router.set_weights({Role.BASELINE: 1.0})
            with world.client() as client:
                assert [fetch(client)[0] for _ in range(3)] == [200] * 3
            build.shutdown()
    finally:
        world.router.stop()
    assert len(came) == connections


def test_a_role_without_requests_counts_zero(own):
    """Zero is a number; nothing is not."""
    samples = own.metrics.poll([*BOTH, Role.CONTROL])
    assert set(samples) == set(BOTH)
    assert samples[Role.CANARY].counters["requests"] == 0
    assert samples[Role.CANARY].histograms["latency"].number == 0


def test_latency_and_time_to_first_token_are_in_seconds(own):
    """A stream of 150 ms has its first token long before its last; plain answers have no first token."""
    own.ask("/stream")
    own.ask("/")
    assert eventually(lambda: own.sample(Role.BASELINE).histograms["latency"].number == 2)
    sample = own.sample(Role.BASELINE)
    latency, ttft = sample.histograms["latency"], sample.histograms["ttft"]
    assert (latency.above(0.1), latency.above(1.0), ttft.number, ttft.above(0.1)) == (1, 0, 1, 0)
    assert latency.bounds == ttft.bounds == BOUNDS
    assert 0.15 < latency.total < 0.5


def test_bins_of_envoy_keep_their_edges():
    """A limit of 800 ms splits the counts at 800 ms exactly, and what is beyond the grid is still counted."""
    bins = [(790_000, 10_000), (800_000, 10_000), (0, 0), (1_100_000_000, 100_000_000)]
    seen = histogram({"lower_bound": low, "width": width, "count": 1} for low, width in bins)
    assert seen.number == 4
    assert seen.above(0.8) == 2
    assert seen.counts[0] == 1
    assert seen.counts[-1] == 1
    assert len(BOUNDS) == 541
    assert {0.001, 0.025, 0.8, 1.0, 30.0, 1000.0} <= set(BOUNDS)


def test_an_open_stream_is_in_flight_until_it_ends(world, builds):
    """Drain waits for this number."""
    world.split(1.0)
    with world.client() as client:
        client.request("GET", "/hold")
        response = client.getresponse()
        world.split(0.0)
        assert world.router.in_flight(Role.CANARY) == 1
        assert world.router.in_flight(Role.BASELINE) == 0
        builds[1].go.set()
        assert response.read().endswith(b"data: last\n\n")
    assert eventually(lambda: world.router.in_flight(Role.CANARY) == 0)
    builds[1].go.clear()


def test_a_stream_outlives_the_role_that_it_began_in(own, builds):
    """Promotion renames the canary's role while its streams are running; none may be cut."""
    own.split(1.0)
    with own.client() as client:
        client.request("GET", "/hold")
        response = client.getresponse()
        own.router.attach(Role.BASELINE, NEW, builds[1].address)
        own.router.set_weights({Role.BASELINE: 1.0})
        own.router.detach(Role.CANARY)
        assert own.ask()[:2] == (200, NEW.pin)
        builds[1].go.set()
        assert response.read().endswith(b"data: last\n\n")
    builds[1].go.clear()
    assert own.router.weights() == {Role.BASELINE: 1.0}


def test_two_roles_with_the_same_build_are_counted_apart(own, builds):
    """An A/A rollout compares a build with itself."""
    own.router.attach(Role.CANARY, STABLE, builds[0].address)
    own.split(1.0)
    assert own.ask()[:2] == (200, STABLE.pin)
    assert eventually(lambda: own.sample(Role.CANARY).counters["requests"] == 1)
    assert own.sample(Role.BASELINE).counters["requests"] == 0


def test_a_mirrored_request_reaches_the_canary_and_counts_nowhere(own, builds):
    """Users see the baseline's answer only, and the canary's copy is no evidence."""
    before = builds[1].asked["/copied"]
    own.router.mirror(1.0)
    assert own.ask("/copied")[1] == STABLE.pin
    assert eventually(lambda: builds[1].asked["/copied"] == before + 1)
    assert eventually(lambda: own.sample(Role.BASELINE).counters["requests"] == 1)
    assert own.sample(Role.CANARY).counters["requests"] == 0


def test_another_object_takes_hold_and_stop_leaves_nothing(own):
    """After kill -9 of a run, the next one recovers from the ledger alone."""
    own.split(0.25)
    born = look(own.pid())
    second = World(own.shared.state, facts=own.facts)
    second.router.recover(own.facts)
    second.router.recover(own.facts)
    second.router.start()
    assert look(born.pid) == born or look(born.pid).started == born.started
    assert second.router.address() == own.router.address()
    assert second.router.weights() == {Role.BASELINE: 0.75, Role.CANARY: 0.25}
    sockets = Path(own.facts[-1].data["sockets"])
    assert sockets.is_dir()
    second.router.stop()
    second.router.stop()
    after = look(born.pid)
    assert after is None or after.over or after.started != born.started
    assert not sockets.exists()


def test_where_each_role_is_scraped_is_told_as_long_as_there_is_the_role(own, builds):
    """A source that counts by labels knows the builds of one machine by nothing else."""
    places = {
        role: {"instance": build.address.removeprefix("http://")}
        for role, build in zip((Role.BASELINE, Role.CANARY), builds, strict=True)
    }
    assert own.shared.labels == places
    second = World(own.shared.state, facts=own.facts)
    second.router.recover(own.facts)
    second.router.start()
    assert second.shared.labels == places
    own.split(0.0)
    own.router.detach(Role.CANARY)
    assert own.shared.labels == {Role.BASELINE: places[Role.BASELINE]}


def test_two_objects_that_change_weights_do_not_lose_a_change(own):
    """The guard and a run may meet; each change is made on top of the other's."""
    second = World(own.shared.state, facts=own.facts)
    second.router.recover(own.facts)
    first = own.shared.handles["envoy"].table().version

    def flip(router):
        for turn in range(10):
            router.set_weights({Role.BASELINE: 1.0 - turn / 10, Role.CANARY: turn / 10})

    both = [threading.Thread(target=flip, args=(one.router,)) for one in (own, second)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert own.shared.handles["envoy"].table().version == first + 20


def test_an_envoy_that_dies_is_infrastructure_and_comes_back_on_its_port(own):
    """Whoever killed it, the canary did not; users come back to the address they know."""
    own.split(0.25)
    address, pid = own.router.address(), own.pid()
    os.kill(pid, signal.SIGKILL)
    said = rf"Envoy \(pid {pid}\) ended with signal SIGKILL; its log: "
    assert eventually(lambda: look(pid) is None or look(pid).over)
    with pytest.raises(AdapterError, match=said):
        own.split(0.0)
    with pytest.raises(SourceUnavailable, match=said):
        own.metrics.poll(BOTH)
    own.router.start()
    assert own.router.address() == address
    assert own.router.weights() == {Role.BASELINE: 0.75, Role.CANARY: 0.25}
    assert own.ask()[0] == 200


def test_two_envoys_never_share_a_port(shared_world, tmp_path):
    """The kernel would let them, and each would get half of the users."""
    second = World(tmp_path, port=int(shared_world.router.address().rpartition(":")[2]))
    try:
        with pytest.raises(AdapterError, match=r"ended with exit status 1.*its log"):
            second.router.start()
    finally:
        second.router.stop()


def test_metrics_without_our_router_say_so(tmp_path):
    """A target may name any router; this source counts only what our Envoy sees."""
    lonely = EnvoyMetrics.connect(EnvoyMetrics.Options(), Shared("svc", RealClock(), tmp_path, tmp_path))
    assert len(lonely.check()) == 1
    with pytest.raises(SourceUnavailable, match="router `envoy`"):
        lonely.poll(BOTH)


def test_an_envoy_that_is_not_installed_is_named_with_the_command_that_mends_it(tmp_path):
    """The first run on a new machine must not end in a traceback."""
    world = World(tmp_path, binary="/nowhere/envoy")
    assert "pip install 'pytest-canary[local]'" in world.router.check()[0]
    with pytest.raises(AdapterError, match="not installed"):
        world.router.start()
