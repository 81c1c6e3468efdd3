"""The probe tells a right answer from everything that only looks like one."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_canary.adapters.http import HttpProbe, ProbeOptions
from pytest_canary.adapters.http.events import Event, EventReader
from pytest_canary.adapters.http.reading import Reading
from pytest_canary.ports import Answer, Prompt
from tests.local.servers import DONE, LAST_CHUNK, STREAM, chunk, demo, plain, request, said, serving

CHAT = Prompt(body={"messages": []})
STREAMED = Prompt(body={"messages": []}, stream=True)
PROMPTS = Path(__file__).parents[2] / "rollouts" / "inference_gateway" / "prompts.jsonl"
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "text", "usage", "completion_tokens", "error", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture
def probe():
    """A probe with enough patience for a busy machine."""
    probe = HttpProbe(ProbeOptions(timeout=20.0, body_limit=10_000))
    yield probe
    probe.close()


@pytest.fixture
def hasty():
    """A probe with little patience."""
    probe = HttpProbe(ProbeOptions(timeout=0.6, body_limit=10_000))
    yield probe
    probe.close()


def say(connection, *pieces: bytes, pause: float = 0.0) -> None:
    """Answer one request with ``pieces``, then close."""
    request(connection)
    for piece in pieces:
        connection.sendall(piece)
        time.sleep(pause)


def ask(probe: HttpProbe, prompt: Prompt, *pieces: bytes, pause: float = 0.0):
    """What the probe makes of a server that answers with ``pieces``."""
    with serving(lambda connection: say(connection, *pieces, pause=pause)) as address:
        return probe.ask(address, prompt)


def streamed(*events: bytes) -> list[bytes]:
    """A stream that ends as HTTP says it should."""
    return [STREAM, *map(chunk, events), LAST_CHUNK]


def whole(text: str) -> bytes:
    """A chat completion in one body."""
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    return plain(json.dumps({"model": "m", "choices": [choice], "usage": {"completion_tokens": 3}}).encode())


def test_a_whole_answer_is_right(probe):
    """Text, tokens and model are what the body says."""
    answer = ask(probe, CHAT, whole("Paris it is"))
    assert (answer.status, answer.text, answer.error, answer.finished) == (200, "Paris it is", None, True)
    assert (answer.tokens, answer.model, answer.ttft_seconds) == (3, "m", None)


def test_time_to_first_token_is_the_first_text_and_not_the_role(probe):
    """Servers send the head and a role at once; no user has read anything then."""
    answer = ask(probe, STREAMED, *streamed(said(""), said("Pa"), said("ris", "stop"), DONE), pause=0.06)
    assert (answer.text, answer.error) == ("Paris", None)
    assert 0.11 <= answer.ttft_seconds <= answer.seconds - 0.1


def test_a_line_separator_inside_the_text_does_not_cut_the_event(probe):
    """U+2028 and U+0085 are ordinary characters in JSON, and line ends for many a line reader."""
    text = "one\u2028two\u0085three"
    answer = ask(probe, STREAMED, *streamed(said(text), said("", "stop"), DONE))
    assert (answer.text, answer.error) == (text, None)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_events_are_the_same_however_the_bytes_are_cut(data):
    """The network cuts where it likes, inside characters too."""
    body = said("grüße\u2028") + b"event: error\r\ndata: {}\r\n\r\n: comment\n\ndata: a\ndata:b\n\n" + DONE
    reader, events, rest = EventReader(), [], body
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        events += reader.feed(rest[:size])
        rest = rest[size:]
    first, *others = [*events, *reader.end()]
    assert json.loads(first.data)["choices"][0]["delta"]["content"] == "grüße\u2028"
    assert others == [Event("error", "{}"), Event("message", "a\nb"), Event("message", "[DONE]")]


@pytest.mark.parametrize(
    ("prompt", "pieces", "error"),
    [
        (STREAMED, streamed(said("Pa"), b'data: {"error": {"message": "worker died"}}\n\n', DONE), "worker died"),
        (STREAMED, streamed(said("Pa"), b'event: error\ndata: {"message": "boom"}\n\n', DONE), "boom"),
        (STREAMED, streamed(said("Pa"), b"data: oops\n\n", DONE), "not JSON: oops"),
        (STREAMED, streamed(said("Pa")), "cut short"),
        (STREAMED, [STREAM, chunk(said("Pa"))], "cut short"),
        (STREAMED, streamed(said(""), said("", "stop"), DONE), "empty answer"),
        (STREAMED, [whole("Paris")], "asked for a stream, got application/json"),
        (CHAT, [whole("")], "empty answer"),
        (CHAT, [plain(b"<html>")], "not a JSON object: <html>"),
        (CHAT, [plain(b"[1]")], "not a JSON object"),
        (CHAT, [plain(b'{"error": {"message": "no"}}')], "error inside the answer: no"),
        (CHAT, [whole("Paris")[:-5]], "cut short"),
        (CHAT, [], "no answer from http://127.0.0.1:"),
        (
            CHAT,
            [plain(b'{"error": {"message": "full"}}', "503 Service Unavailable")],
            "status 503, expected 200: error",
        ),
        (CHAT, [plain(b'{"x": "' + b"a" * 20_000 + b'"}')], "larger than 10000 bytes"),
        (Prompt(body={}, expect="Paris"), [whole("It is Lyon")], "does not contain 'Paris': It is Lyon"),
        (Prompt("/health", method="GET"), [plain(b"", "302 Found")], "status 302"),
    ],
)
def test_what_only_looks_like_an_answer_is_an_error(probe, prompt, pieces, error):
    """No gateway metric sees most of these: the status is 200."""
    answer = ask(probe, prompt, *pieces)
    assert answer.error is not None
    assert error in answer.error
    assert "\n" not in answer.error
    assert answer.finished == ("cut short" not in error and "larger" not in error and "no answer" not in error)


def test_a_plain_path_needs_no_text(probe):
    """Health is a status, and often nothing else."""
    answer = ask(probe, Prompt("/health", method="GET"), plain(b""))
    assert (answer.status, answer.error, answer.finished) == (200, None, True)


def test_reasoning_and_tool_calls_are_answers_too(probe):
    """A model that calls a tool says no text, and is not broken."""
    called = b'data: {"choices": [{"delta": {"tool_calls": [{"id": "1"}]}, "finish_reason": "tool_calls"}]}\n\n'
    answer = ask(probe, STREAMED, *streamed(called, DONE))
    assert (answer.error, answer.text) == (None, "")
    assert answer.ttft_seconds is not None


def test_an_endless_stream_ends_at_the_time_limit(hasty):
    """A canary that never stops talking must not hold up the rollout."""

    def talk(connection):
        request(connection)
        connection.sendall(STREAM)
        while True:
            connection.sendall(chunk(said("a")))
            time.sleep(0.02)

    with serving(talk) as address:
        answer = hasty.ask(address, STREAMED)
    assert 0.6 <= answer.seconds < 10
    assert (answer.finished, answer.error) == (False, "the answer did not end within 0.6 s")


def test_a_silent_server_ends_at_the_time_limit(hasty):
    """A connection that is taken and never answered is the commonest way to hang."""
    with serving(lambda connection: request(connection) and connection.recv(1)) as address:
        answer = hasty.ask(address, CHAT)
    assert 0.5 <= answer.seconds < 10
    assert answer.status == 0
    assert "timed out" in answer.error


def test_an_address_nobody_listens_at_is_in_the_answer(probe):
    """Failures are told, never raised."""
    assert "refused" in probe.ask("http://127.0.0.1:1", CHAT).error
    assert probe.ask("http://127.0.0.1:99999", CHAT).error
    assert probe.ask("nonsense", CHAT).error


@settings(max_examples=50, deadline=None)
@given(ANY_JSON)
def test_no_json_whatsoever_makes_the_probe_stumble(body):
    """A build that is broken may say anything."""
    reading = Reading(CHAT, status=200)
    reading.body(json.dumps(body).encode())
    reading.event(Event("message", json.dumps(body)), 0.1)
    assert isinstance(reading.answer(0.2).text, str)


def test_every_prompt_of_the_example_is_answered_as_it_expects():
    """Smoke asks these of every build; twice, since one request in five hundred fails on a healthy one."""
    prompts = [Prompt(**json.loads(line)) for line in PROMPTS.read_text().splitlines()]
    probe = HttpProbe()

    def smoke(prompt: Prompt) -> Answer:
        first = probe.ask(gateway.address, prompt)
        return probe.ask(gateway.address, prompt) if first.error else first

    with demo("v2") as gateway, ThreadPoolExecutor(4) as pool:
        for prompt, answer in zip(prompts, pool.map(smoke, prompts), strict=True):
            assert answer.error is None
            assert (answer.ttft_seconds is not None) == prompt.stream
        assert probe.ask(gateway.address, Prompt("/health", method="GET")).error is None
    probe.close()
    assert sum(prompt.stream for prompt in prompts) == 3
    assert sum(prompt.expect is not None for prompt in prompts) >= 4


@pytest.fixture
def patient():
    """A probe for answers that are quick enough on any machine."""
    probe = HttpProbe(ProbeOptions(timeout=60))
    yield probe
    probe.close()


def test_an_answer_tells_its_fingerprint_and_its_headers(patient):
    """Which checkpoint has answered, as a whole answer, as a stream, and by header."""
    named = b'{"model": "m", "system_fingerprint": "fp_44", "choices": [{"index": 0, "%s": {"content": "hi"}, '
    named += b'"finish_reason": "stop"}]}'
    body = plain(named % b"message", headers="X-Model-Version: 8\r\n")
    told = ask(patient, CHAT, body), ask(patient, STREAMED, *streamed(b"data: " + named % b"delta" + b"\n\n", DONE))

    assert [(one.model, one.fingerprint) for one in told] == [("m", "fp_44")] * 2
    assert told[0].headers["x-model-version"] == "8"


@pytest.mark.parametrize("fingerprint", [b"null", b"7", b'""', b"{}"])
def test_what_is_no_fingerprint_is_none(patient, fingerprint):
    """A null is what many servers say."""
    choice = b'"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]'
    answer = ask(patient, CHAT, plain(b'{"model": "m", "system_fingerprint": %s, %s}' % (fingerprint, choice)))

    assert (answer.error, answer.fingerprint) == (None, None)
