"""The demo gateway behaves as the names of its builds say."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from statistics import median

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


def ask_often(build: str, times: int) -> list[tuple[int, bytes, float]]:
    """Ask one question many times at once."""
    gateway = Gateway(BUILDS[build], seed=7)

    async def together():
        return await asyncio.gather(*(call(gateway, json.dumps(FRANCE).encode()) for _ in range(times)))

    return asyncio.run(together())


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
    slow, normal = (median(seconds for _, _, seconds in ask_often(build, 200)) for build in ("v2-slow", "v1"))
    assert slow / normal >= 1.7


def test_only_build_v2_model8_serves_another_model_version():
    """It is what the comparison of model versions must refuse, and nothing else may be."""

    async def version(build):
        _, body, _ = await call(Gateway(build), b"", "/v1/models", "GET")
        (model,) = json.loads(body)["data"]
        return model["id"], model["version"], model["root"]

    for build in BUILDS.values():
        number = "8" if build.name == "v2-model8" else "7"
        assert asyncio.run(version(build)) == ("demo-llm", number, f"demo-llm-v{number}")


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
        start = time.perf_counter()
        for _ in range(10):
            client.get("/health")
        assert time.perf_counter() - start < 0.2


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
