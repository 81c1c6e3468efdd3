"""The synthetic users: open loop, honest about what they saw and about themselves, gone when nobody needs them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_canary.adapters.load import HttpUsers
from pytest_canary.adapters.load.client import Pool, call, endpoint
from pytest_canary.adapters.load.generator import Generator
from pytest_canary.adapters.load.quantiles import Quantiles
from pytest_canary.adapters.load.schedule import schedule
from pytest_canary.errors import AdapterError, SpecError
from pytest_canary.ports import Prompt, Seen, Shared
from pytest_canary.prompts import read_prompts
from tests.local.servers import DONE, LAST_CHUNK, STREAM, chunk, demo, plain, request, said, serving

EXAMPLE = Path(__file__).parents[2] / "rollouts" / "inference_gateway" / "prompts.jsonl"


class RealClock:
    virtual = False
    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)


@pytest.fixture
def users(tmp_path):
    """Make users from options; whatever is still under way at the end is stopped."""
    made: list[HttpUsers] = []

    def make(*paths: str, **options) -> HttpUsers:
        lines = [json.dumps({"path": path, "body": {}}) for path in paths]
        (tmp_path / "prompts.jsonl").write_text("\n".join(lines) if paths else EXAMPLE.read_text())
        shared = Shared("service", RealClock(), tmp_path / "a state", tmp_path)
        made.append(HttpUsers.connect({"prompts": "prompts.jsonl", "rate": 100, **options}, shared))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def until(true, seconds: float = 10.0) -> None:
    """Wait until ``true()``."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def seen_when(users: HttpUsers, enough) -> Seen:
    """Wait until what was seen is ``enough``, then leave."""
    until(lambda: enough(users.seen()))
    return users.leave()


def adds_up(seen: Seen) -> bool:
    """Whether every request that was sent ended in exactly one way."""
    ended = seen.answered + seen.failed + seen.dropped
    return seen.sent == ended and sum(seen.dropped_why.values()) == seen.dropped


def test_a_server_that_stalls_does_not_reduce_what_is_sent(users):
    """A closed loop would wait, send less, and report a latency that no user had."""
    release = threading.Event()

    def stall(connection):
        while request(connection):
            release.wait(10)
            connection.sendall(plain(b"{}"))

    with serving(stall) as address:
        stalled = users("/", arrivals="constant")
        stalled.enter(address)
        start = time.monotonic()
        time.sleep(1.2)
        sent, elapsed = stalled.seen().sent, time.monotonic() - start
        release.set()
        seen = stalled.leave()
        stalled.stop()
    assert 100 * (elapsed - 0.7) <= sent <= 100 * elapsed + 2
    assert (seen.answered, seen.dropped) == (seen.sent, 0)
    assert seen.p99_seconds >= 1.0
    assert 0.4 <= seen.p50_seconds <= seen.p99_seconds


def test_counts_add_up_and_the_builds_errors_are_its_own(users):
    """Dropped is our fault, failed the build's: a rollout answers for the first and judges the second."""
    with demo("v2-errors") as gateway:
        some = users(rate=150)
        some.enter(gateway.address)
        seen = seen_when(some, lambda seen: seen.sent >= 200)
    assert adds_up(seen)
    assert seen.failed > 5
    assert seen.dropped == 0
    assert 0.02 <= seen.p50_seconds <= seen.p99_seconds <= 30
    assert 0 < seen.lag_p99_seconds < 5
    assert some.seen() == some.leave() == seen


ANSWERS = {
    "/ok": [plain(b"{}", headers="x-served-by: good\r\nserver: envoy\r\nx-envoy-upstream-service-time: 3\r\n")],
    "/unknown": [plain(b"{}", "404 Not Found", "x-served-by: good\r\n")],
    "/odd-text": [STREAM, chunk(said("a\u2028b")), chunk(said("", "stop")), LAST_CHUNK],
    "/build-500": [plain(b"{}", "500 Internal Server Error", "x-served-by: bad\r\n")],
    "/build-503": [plain(b"", "503 Busy", "x-served-by: bad\r\nserver: envoy\r\nx-envoy-upstream-service-time: 3\r\n")],
    "/error-event": [STREAM, chunk(said("a")), chunk(b'data: {"error": "died"}\n\n'), chunk(DONE), LAST_CHUNK],
    "/router-503": [plain(b"no healthy upstream", "503 Service Unavailable", "x-served-by: bad\r\nserver: envoy\r\n")],
    "/truncated-stream": [STREAM.replace(b"\r\n\r\n", b"\r\nx-served-by: cut\r\n\r\n"), chunk(said("a"))],
    "/truncated-body": [plain(b'{"a": 1}')[:-3]],
    "/unfinished": [STREAM, chunk(said("a")), LAST_CHUNK],
    "/reset": [],
}


def answer_by_path(connection) -> None:
    """Say what the path asks for; connections end where an answer is not whole."""
    while asked := request(connection):
        pieces = ANSWERS[asked[0]]
        connection.sendall(b"".join(pieces))
        if not pieces or not (
            pieces[-1] == LAST_CHUNK or asked[0].split("-")[0] in ("/ok", "/unknown", "/build", "/router")
        ):
            return


def test_each_way_to_lose_an_answer_is_counted_by_its_name(users):
    """A person on call needs to know whether a router, a build or a connection ate the request."""
    start = time.time()
    with serving(answer_by_path) as address:
        unlucky = users(*ANSWERS, rate=200)
        unlucky.enter(address)
        kinds = {"router 503", "truncated", "unfinished stream", "reset"}
        seen = seen_when(unlucky, lambda seen: kinds <= set(seen.dropped_why) and seen.sent >= 150)
        unlucky.stop()
    assert adds_up(seen)
    assert set(seen.dropped_why) <= kinds | {"reset on a reused connection"}
    assert {name: count > 0 for name, count in seen.served.items() if count} == {"good": True, "bad": True}
    assert set(seen.bad) == {"bad"}
    assert seen.bad["bad"] < seen.failed
    assert set(seen.first_bad) == {"bad", "cut"}
    assert {"good", "bad", "cut"} == set(seen.last)
    assert all(start < at < time.time() for at in [*seen.last.values(), *seen.first_bad.values()])


def test_nobody_there_is_refused_and_counted(users):
    """An entrance that is gone drops everybody; the load goes on to say so."""
    with serving(answer_by_path) as address:
        pass
    alone = users("/")
    alone.enter(address)
    seen = seen_when(alone, lambda seen: seen.sent >= 20)
    assert adds_up(seen)
    assert seen.dropped_why == {"refused": seen.sent}
    assert seen.p50_seconds is None


def test_a_request_is_never_sent_twice(users):
    """A chat request is not idempotent: when a kept connection dies under it, it is dropped, and said to be."""
    received = Counter()

    def close_on_the_third(connection):
        for number in range(3):
            if not request(connection):
                return
            received["requests"] += 1
            if number < 2:
                connection.sendall(plain(b"{}"))

    with serving(close_on_the_third) as address:
        some = users("/", arrivals="constant")
        some.enter(address)
        seen = seen_when(some, lambda seen: seen.sent >= 60)
        some.stop()
    assert adds_up(seen)
    assert received["requests"] == seen.sent
    assert set(seen.dropped_why) == {"reset on a reused connection"}
    assert seen.answered > seen.dropped > 5


def test_a_request_without_an_answer_is_dropped_in_time(users):
    """Otherwise a hung build would hold up the end of the run."""
    with serving(lambda connection: request(connection) and connection.recv(1)) as address:
        patient = users("/", timeout=0.3)
        patient.enter(address)
        time.sleep(0.3)
        seen = patient.leave()
        patient.stop()
    assert seen.sent > 5
    assert seen.dropped_why == {"timeout": seen.sent}


def test_the_generators_own_lag_is_told(users):
    """Load that was late makes latencies that no build has: a run must be able to see that."""
    with serving(answer_by_path) as address:
        late = users("/ok", arrivals="constant")
        late.enter(address)
        until(lambda: late.seen().sent >= 20)
        os.kill(late.pid, signal.SIGSTOP)
        time.sleep(0.4)
        sent = late.seen().sent
        os.kill(late.pid, signal.SIGCONT)
        until(lambda: late.seen().sent >= sent + 10)  # those that were due meanwhile have left
        seen = late.leave()
        late.stop()
    assert 0.2 <= seen.lag_p99_seconds <= 2
    assert seen.p99_seconds >= 0.2, "a request that left late waited for that long too"
    assert seen.answered == seen.sent


def test_more_requests_than_the_machine_can_hold_stay_away_and_are_told(tmp_path):
    """A generator that ran out of files would die, and leave a rollout without users and without a word about it."""

    def stall(connection):
        while request(connection):
            time.sleep(0.5)
            connection.sendall(plain(b"{}"))

    async def some(address) -> dict[str, Any]:
        host, port = endpoint(address)
        plan = schedule(200, "constant", 1, 1)
        generator = Generator(Pool(host, port), [call(Prompt(path="/", body={}), host)], plan, 10.0, most=20)
        asyncio.get_running_loop().call_later(1.5, generator.leave)
        await generator.run(tmp_path / "load.json", lambda: True)
        return json.loads((tmp_path / "load.json").read_text())

    with serving(stall) as address:
        seen = Seen(**asyncio.run(some(address)))
    assert adds_up(seen)
    assert seen.dropped == 0
    assert 20 <= seen.sent <= 100
    assert seen.unsent > 2 * seen.sent


def test_leaving_waits_for_the_answers_that_are_due(users):
    """What is under way when the run ends is a user's request like any other."""

    def slow(connection):
        while request(connection):
            time.sleep(0.5)
            connection.sendall(plain(b"{}"))

    with serving(slow) as address:
        some = users("/")
        some.enter(address)
        time.sleep(0.3)
        seen = some.leave()
        some.stop()
    assert seen.sent == seen.answered > 5
    assert seen.p50_seconds >= 0.5


def ended(pid: int) -> bool:
    """Whether a process has ended, collected by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_generator_ends_when_the_run_is_killed(tmp_path):
    """A killed run must not leave load behind, and nobody is left to stop it."""
    script = f"""
import os, pathlib, time
from pytest_canary.adapters.load import HttpUsers
from pytest_canary.ports import Shared
home = pathlib.Path({str(EXAMPLE.parent)!r})
shared = Shared("service", None, pathlib.Path({str(tmp_path)!r}), home)
users = HttpUsers.connect({{"rate": 50, "prompts": "prompts.jsonl"}}, shared)
users.enter("http://127.0.0.1:1")
print(users.pid, os.getsid(users.pid) == users.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=EXAMPLE.parents[2]) as run:
        pid, own_session = run.stdout.readline().split()
        assert own_session == b"True"
        assert not ended(int(pid))
        run.kill()
    until(lambda: ended(int(pid)), 5)


def test_a_generator_that_dies_is_reported_with_its_last_words(users, tmp_path):
    """Silence would look like a quiet afternoon."""
    broken = users("/")
    broken.enter("http://127.0.0.1:1")
    report = tmp_path / "a state" / "load.json"
    until(report.exists)
    report.unlink()
    report.mkdir()
    until(lambda: ended(broken.pid))
    with pytest.raises(
        AdapterError, match=r"^the load generator ended by itself \(exit 1\): IsADirectoryError.*load.log$"
    ):
        broken.seen()
    with pytest.raises(AdapterError, match="ended by itself"):
        broken.leave()
    broken.stop()
    broken.stop()


def test_before_they_enter_users_have_seen_nothing(users, tmp_path):
    """What an earlier run saw lies in the same folder."""
    (tmp_path / "a state").mkdir()
    (tmp_path / "a state" / "load.json").write_text('{"sent": 7}')
    new = users("/")
    assert new.check() == []
    assert new.seen() == new.leave() == Seen()
    new.stop()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "holds no prompt"),
        ("{", "prompts.jsonl:2: is not JSON"),
        ("[]", "holds no prompt"),
        ("[5]", "prompts.jsonl:2: found '5', expected an object"),
        ('{"bodi": {}}', "prompts.jsonl:2: found key 'bodi'"),
        ('{"body": "hello"}', "prompts.jsonl:2: body: expected an object"),
    ],
)
def test_prompts_that_cannot_be_sent_are_named_with_their_line(users, tmp_path, line, why):
    """The file is written by hand."""
    some = users("/")
    (tmp_path / "prompts.jsonl").write_text("\n" + line)
    (message,) = some.check()
    assert why in message
    with pytest.raises(SpecError):
        some.start()
    shutil.copy(EXAMPLE, tmp_path / "prompts.jsonl")
    some.start()
    assert len(read_prompts(EXAMPLE, "here")) == 12


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": 2001}, {"arrivals": "sometimes"}, {"rates": 3}])
def test_options_nobody_can_follow_are_refused(users, options):
    """A mistyped rate must not become a default."""
    with pytest.raises(ValidationError):
        users("/", **options)


@pytest.mark.parametrize("address", ["https://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1/v1"])
def test_users_say_where_they_cannot_enter(users, address):
    """The load speaks plain HTTP to one entrance."""
    with pytest.raises(AdapterError, match="expected http://HOST:PORT"):
        users("/").enter(address)


@given(st.integers(0, 1000), st.floats(0.5, 2000))
@settings(max_examples=20, deadline=None)
def test_the_schedule_is_fixed_by_its_seed_and_keeps_its_rate(seed, rate):
    """Two runs with one seed send the same requests at the same times."""
    first, again = (list(islice(schedule(rate, "poisson", seed, 12), 3000)) for _ in range(2))
    assert first == again
    assert first != list(islice(schedule(rate, "poisson", seed + 1, 12), 3000))
    assert 0.88 <= first[-1][0] * rate / 3000 <= 1.12
    assert {choice for _, choice in first} == set(range(12))
    even = [due for due, _ in islice(schedule(rate, "constant", seed, 12), 3000)]
    assert even == pytest.approx([number / rate for number in range(1, 3001)])


@given(st.lists(st.floats(1e-5, 1e3), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=100, deadline=None)
def test_quantiles_are_right_to_one_per_cent_in_bounded_memory(seconds, q):
    """Millions of requests must not fill the memory, nor blur what a user saw."""
    quantiles = Quantiles()
    for one in seconds:
        quantiles.add(one)
    exact = sorted(seconds)[max(0, -int(-q * len(seconds) // 1) - 1)]
    assert quantiles.quantile(q) == pytest.approx(exact, rel=0.01)
