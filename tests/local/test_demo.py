"""The demo gateway behaves as the names of its builds say."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pytest_canary.demo.builds import BUILDS
from pytest_canary.demo.gateway import Gateway
from tests.local.servers import demo

CHAT = "/v1/chat/completions"
FRANCE = {"model": "demo-llm", "messages": [{"role": "user", "content": "What is the capital of France?"}]}


def call(gateway: Gateway, body: bytes, path: str = CHAT, method: str = "POST") -> asyncio.Future:
    """Ask the application itself: (status, body, seconds)."""

    async def asked() -> tuple[int, bytes, float]:
        sent, start = [], time.perf_counter()

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        await gateway({"type": "http", "path": path, "method": method}, receive, send)
        return sent[0]["status"], b"".join(m.get("body", b"") for m in sent), time.perf_counter() - start

    return asked()


def ask_often(build: str, times: int, at_once: int | None = None) -> list[tuple[int, bytes, float]]:
    """Ask one question many times, all at once unless said otherwise."""
    gateway = Gateway(BUILDS[build], seed=7)

    async def together(number: int):
        return await asyncio.gather(*(call(gateway, json.dumps(FRANCE).encode()) for _ in range(number)))

    async def in_turn():
        number = at_once or times
        return [answer for _ in range(times // number) for answer in await together(number)]

    return asyncio.run(in_turn())


def events(body: str) -> list[dict]:
    """All JSON events of a stream."""
    return [json.loads(line[6:]) for line in body.split("\n") if line.startswith("data: {")]


def test_build_v2_errors_fails_about_one_request_in_eight():
    """A gate on errors has something to find, at a rate that a few dozen requests show."""
    failed = [status for status, _, _ in ask_often("v2-errors", 1280) if status != 200]
    assert set(failed) == {500}
    assert 0.08 <= len(failed) / 1200 <= 0.16


def test_build_v2_errors_passes_every_smoke_test():
    """What leaks is found by traffic, not by a handful of requests before it."""
    assert {status for status, _, _ in ask_often("v2-errors", 80)} == {200}


@pytest.mark.parametrize("build", ["v1", "v2", "v2-slow", "v2-model8"])
def test_a_build_that_is_not_about_errors_fails_almost_never(build):
    """Otherwise a good build would be rolled back for an accident."""
    failed = [status for status, _, _ in ask_often(build, 300) if status != 200]
    assert len(failed) <= 6


def test_build_v2_slow_takes_twice_as_long():
    """A gate on latency has something to find."""
    slow, normal = (min(seconds for _, _, seconds in ask_often(build, 60, 10)) for build in ("v2-slow", "v1"))
    build = BUILDS["v2-slow"]
    assert build.first_slowness(1) == build.stream_slowness(1) == 2
    assert slow / normal >= 1.5  # the quickest of each, to which a busy machine adds least


def test_only_build_v2_model8_serves_another_model_version():
    """It is what the comparison of model versions must refuse, and nothing else may be."""

    async def version(build):
        _, body, _ = await call(Gateway(build), b"", "/v1/models", "GET")
        (model,) = json.loads(body)["data"]
        return model["id"], model["version"], model["root"]

    for build in BUILDS.values():
        number = "8" if build.name == "v2-model8" else "7"
        assert asyncio.run(version(build)) == ("demo-llm", number, f"demo-llm-v{number}")


def test_build_v2_checkpoint_tells_in_its_answers_alone_that_it_has_loaded_another():
    """The list of its models is that of the stable build, whole answers and streams are not."""

    def said(build, **more):
        _, body, _ = asyncio.run(call(Gateway(BUILDS[build]), json.dumps(FRANCE | more).encode()))
        told = events(body.decode()) if more else [json.loads(body)]
        return {(one["model"], one["system_fingerprint"]) for one in told}

    assert said("v1") == said("v2", stream=True) == {("demo-llm", "fp_7")}
    assert said("v2-checkpoint") == said("v2-checkpoint", stream=True) == {("demo-llm", "fp_44")}


@pytest.mark.parametrize(
    ("status", "path", "method", "body"),
    [
        (400, CHAT, "POST", b"{"),
        (400, CHAT, "POST", b"[]"),
        (400, CHAT, "POST", b'{"messages": []}'),
        (400, CHAT, "POST", b'{"messages": ["hello"]}'),
        (400, CHAT, "POST", b'{"messages": [{"content": "x"}], "max_tokens": 0}'),
        (404, CHAT, "POST", b'{"messages": [{"content": "x"}], "model": "gpt-x"}'),
        (404, "/v1/embeddings", "POST", b"{}"),
        (405, CHAT, "GET", b""),
        (413, CHAT, "POST", b" " * (2 << 20)),
    ],
)
def test_a_request_nobody_can_answer_is_refused_with_a_reason(status, path, method, body):
    """The client's fault must never count as the build's."""
    code, answered, _ = asyncio.run(call(Gateway(BUILDS["v1"]), body, path, method))
    assert code == status
    assert json.loads(answered)["error"]["message"]


def test_a_length_limit_cuts_the_answer_and_says_so():
    """As model servers do; a client can tell a limit from an end."""
    body = json.dumps(FRANCE | {"max_tokens": 2}).encode()
    _, answered, _ = asyncio.run(call(Gateway(BUILDS["v1"], seed=1), body))
    (choice,) = json.loads(answered)["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("The capital", "length")


def test_a_stream_says_what_the_plain_answer_says_in_the_order_of_the_openai_format():
    """Role, content, finish, usage, [DONE]: clients depend on each."""
    with demo("v1") as gateway:
        plain = httpx.post(gateway.address + CHAT, json=FRANCE).json()
        streaming = FRANCE | {"stream": True, "stream_options": {"include_usage": True}}
        body = httpx.post(gateway.address + CHAT, json=streaming).text
        metrics = httpx.get(gateway.address + "/metrics").text
    chunks = events(body)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == plain["choices"][0]["message"]["content"]
    assert "Paris" in plain["choices"][0]["message"]["content"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-3:-1]] == [None, "stop"]
    assert chunks[-1]["usage"] == plain["usage"]
    assert body.endswith("data: [DONE]\n\n")
    assert 'gateway_requests_total{code="200"} 2.0' in metrics
    assert 'gateway_build_info{build="v1",model_version="7"} 1.0' in metrics


def test_an_answer_has_no_delay_that_is_not_drawn():
    """Head and body are two writes: with Nagle's algorithm each answer would take 40 ms more."""
    with demo("v1") as gateway, httpx.Client(base_url=gateway.address) as client:
        client.get("/health")
        assert min(client.get("/health").elapsed.total_seconds() for _ in range(50)) < 0.03


def test_sigterm_lets_a_stream_finish_and_ends_the_process_cleanly():
    """No request is dropped by taking a build down."""
    with demo("v1") as gateway:
        with httpx.stream("POST", gateway.address + CHAT, json=FRANCE | {"stream": True}) as response:
            pieces = response.iter_text()
            body = next(pieces)
            gateway.process.send_signal(signal.SIGTERM)
            body += "".join(pieces)
        assert gateway.process.wait(10) == 0
    assert body.endswith("data: [DONE]\n\n")
    assert events(body)[-1]["choices"][0]["finish_reason"] == "stop"


def test_check_tells_a_known_build_from_an_unknown_one():
    """The local platform asks before it deploys; the line must name what would work."""
    run = [sys.executable, "-m", "pytest_canary.demo", "--check", "--build"]
    assert subprocess.run([*run, "v2"], check=False).returncode == 0
    unknown = subprocess.run([*run, "v3"], check=False, capture_output=True, text=True)
    assert unknown.returncode == 2
    assert unknown.stderr.count("\n") == 1
    assert all(name in unknown.stderr for name in BUILDS)


# -- the builds that are bad in other ways ------------------------------------------------------------------------


def sequence(build: str, times: int, body: dict | None = None, minute: float = 60.0) -> list[tuple[int, bytes, float]]:
    """Ask one after the other, on a gateway that waits for nothing."""
    gateway = Gateway(BUILDS[build], seed=7, minute=minute)

    async def in_turn():
        return [await call(gateway, json.dumps(body or FRANCE).encode()) for _ in range(times)]

    return asyncio.run(in_turn())


def said(answered: bytes) -> str:
    """The text of a plain answer."""
    return json.loads(answered)["choices"][0]["message"]["content"]


def test_build_v2_cold_begins_slowly_and_then_is_like_any_other():
    """What warm-up is for."""
    build = BUILDS["v2-cold"]
    assert build.first_slowness(200) == 6 * build.first_slowness(201) == 6
    assert build.stream_slowness(1) == 1


def test_build_v2_leaks_is_slower_with_every_request():
    """No smoke test sees it."""
    build = BUILDS["v2-leaks"]
    assert build.first_slowness(1) < 1.02
    assert build.first_slowness(200) == build.stream_slowness(200) == 2.0


def test_build_v2_slowstream_is_slow_only_after_the_first_token():
    """The time to the first token says nothing about it."""
    assert BUILDS["v2-slowstream"].first_slowness(100) == 1
    assert BUILDS["v2-slowstream"].stream_slowness(100) == 2.5


def test_build_v2_flaky_errs_in_every_third_minute_only():
    """Two minutes of three nobody would notice."""
    build = BUILDS["v2-flaky"]
    assert [build.errs_at(1, minute) for minute in (0.1, 1.9, 2.0, 2.9, 3.0, 5.5)] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_build_v2_lies_and_v2_unauthorized_are_healthy_and_answer_nobody():
    """A health check asks something else than users do."""
    assert {status for status, _, _ in sequence("v2-lies", 5)} == {500}
    assert {status for status, _, _ in sequence("v2-unauthorized", 5)} == {401}
    assert [status for status, _, _ in sequence("v2-expires", 82)][-3:] == [200, 401, 401]
    for build in ("v2-lies", "v2-unauthorized"):
        assert asyncio.run(call(Gateway(BUILDS[build]), b"", "/health", "GET"))[0] == 200


def test_build_v2_empty_says_nothing_and_v2_chatty_says_it_twice():
    """Both are whole, well-formed answers."""
    ((_, nothing, _),), ((_, twice, _),), ((_, once, _),) = (sequence(b, 1) for b in ("v2-empty", "v2-chatty", "v1"))
    assert said(nothing) == ""
    assert said(twice) == f"{said(once)} {said(once)}"
    assert json.loads(twice)["usage"]["completion_tokens"] == 2 * json.loads(once)["usage"]["completion_tokens"]


def test_build_v2_verbose_uses_40_per_cent_more_tokens():
    """In the same time; who pays by the token pays that much more."""
    ((_, more, _),), ((_, once, _),) = (sequence(build, 1) for build in ("v2-verbose", "v1"))
    assert said(more).startswith(said(once))
    assert json.loads(more)["usage"]["completion_tokens"] == round(1.4 * json.loads(once)["usage"]["completion_tokens"])


def test_build_v2_refuses_says_no_to_one_request_in_seven():
    """A well-formed answer that says by its finish_reason that it is none."""
    answers = [json.loads(body)["choices"][0] for code, body, _ in sequence("v2-refuses", 300) if code == 200]
    refused = [choice for choice in answers if choice["finish_reason"] == "content_filter"]
    assert 15 <= len(refused) <= 60
    assert all("can't help" in choice["message"]["content"] for choice in refused)
    assert not any(choice["finish_reason"] == "content_filter" for choice in answers[:70])


def test_build_v2_truncates_ends_streams_in_the_middle_of_a_200():
    """The server closes the connection: a client sees half an answer."""
    with demo("v2-truncates") as gateway, httpx.Client() as client:
        for _ in range(80):
            client.post(gateway.address + CHAT, json=FRANCE | {"max_tokens": 1})
        halves = 0
        for _ in range(12):
            try:
                client.post(gateway.address + CHAT, json=FRANCE | {"stream": True})
            except httpx.RemoteProtocolError:
                halves += 1
    assert 1 <= halves <= 10


def test_build_v2_crash_ends_by_itself_and_says_why():
    """Under load; its last word is in its log."""
    command = [sys.executable, "-m", "pytest_canary.demo", "--port=0", "--build=v2-crash"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        address = process.stdout.readline().split()[-1].decode()
        with httpx.Client() as client, ThreadPoolExecutor(20) as pool:
            answers = pool.map(lambda _: client.post(address + CHAT, json=FRANCE), range(300))
            assert {answer.status_code for answer in answers} <= {200, 500}
            with pytest.raises(httpx.HTTPError):
                client.post(address + CHAT, json=FRANCE)
        assert process.wait(20) == 134
        assert process.stderr.read() == b"fatal: out of memory\n"


def test_build_v2_hangs_never_answers_its_health_check_and_v2_deaf_ignores_sigterm():
    """One never becomes ready, the other has to be killed."""
    with demo("v2-hangs") as gateway, pytest.raises(httpx.ReadTimeout):
        httpx.get(gateway.address + "/health", timeout=0.5)
    with demo("v2-deaf") as gateway:
        gateway.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            gateway.process.wait(1.0)
        assert httpx.get(gateway.address + "/health").status_code == 200
        gateway.process.kill()
