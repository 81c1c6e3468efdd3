"""What Envoy reads in the answers of a model on their way: tokens, the time between them, refusals, errors in a 200."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.envoy import OFFERS
from pytest_canary.ports import Revision, Role, Shared
from tests.local.servers import DONE, LAST_CHUNK, STREAM, chunk, plain, request, said, serving

STABLE = Revision("svc:v1", "sha256:1")
CHAT = "/v1/chat/completions"
ASKED = {"messages": [{"role": "user", "content": "Why so slow?"}]}


def event(**data) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def usage(asked: int, answered: int) -> dict:
    """As OpenAI's API tells it."""
    return {"prompt_tokens": asked, "completion_tokens": answered}


def streamed(*events: bytes) -> list[bytes]:
    """A whole stream, an event a piece."""
    return [STREAM, *map(chunk, events), LAST_CHUNK]


class Gateway:
    """One Envoy before one server, which says what it is told to say."""

    def __init__(self, state, address: str, says: list[bytes], **options) -> None:
        self._says = says
        shared = Shared("svc", SystemClock(), state, state)
        self.router = OFFERS["router"].connect(OFFERS["router"].Options(**options), shared)
        self.metrics = OFFERS["metrics"].connect(OFFERS["metrics"].Options(), shared)
        self.router.start()
        self.router.attach(Role.BASELINE, STABLE, address)
        self.router.set_weights({Role.BASELINE: 1.0})

    def answers(self, *pieces: bytes, path: str = CHAT, body: dict | None = ASKED, times: int = 1):
        """Ask ``times`` and return what was counted of it, and the bytes that came."""
        self._says[:] = pieces
        before, came = self.sample(), b""
        for _ in range(times):
            with httpx.stream("POST", self.router.address() + path, json=body, timeout=10) as response:
                came += b"".join(response.iter_raw())
        until = time.monotonic() + 10
        counted = self.sample().since(before)
        while counted.histograms["latency"].number < times and time.monotonic() < until:
            if counted.counters["requests"] == times and counted.counters["errors"]:
                break
            time.sleep(0.05)
            counted = self.sample().since(before)
        return counted, came

    def sample(self):
        return self.metrics.poll([Role.BASELINE])[Role.BASELINE]


@pytest.fixture(scope="module")
def server():
    """Answers every request with the pieces it was given, a moment after each."""
    says: list[bytes] = []

    def handle(connection) -> None:
        while request(connection):
            for piece in says:
                connection.sendall(piece)
                time.sleep(0.002)

    with serving(handle) as address:
        yield address, says


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, server):
    """Shared by the tests of this module."""
    made = Gateway(tmp_path_factory.mktemp("envoy"), *server)
    yield made
    made.router.stop()


def test_tokens_are_those_that_the_answer_says_it_took(gateway):
    """`usage` is what the user is billed for."""
    answer = {"choices": [{"message": {"content": "Paris."}, "finish_reason": "stop"}], "usage": usage(7, 12)}
    counted, _ = gateway.answers(plain(json.dumps(answer).encode()), times=3)

    assert (counted.counters["input_tokens"], counted.counters["output_tokens"]) == (21, 36)
    assert counted.histograms["output_tokens"].number == 3
    assert counted.histograms["output_tokens"].total == 36
    assert (counted.counters["errors"], counted.counters["refusals"]) == (0, 0)


def test_the_last_usage_of_a_stream_counts(gateway):
    """Some servers repeat it in every event, and it grows."""
    events = [event(choices=[{"delta": {"content": "so"}}], usage=usage(7, number)) for number in (1, 2, 3)]
    counted, _ = gateway.answers(*streamed(*events, said("", "stop"), DONE))

    assert (counted.counters["input_tokens"], counted.counters["output_tokens"]) == (7, 3)


def test_an_answer_that_does_not_say_is_measured_by_its_text(gateway):
    """Four characters are a token, however many events they come in, and an escape is one character."""
    counted, _ = gateway.answers(*streamed(said("wait \u00e9 "), said('"so" \n\u65e5\u672c'), said("", "stop"), DONE))

    assert counted.counters["output_tokens"] == 4  # 15 characters
    assert counted.counters["input_tokens"] == 3  # "Why so slow?"


def test_reasoning_and_the_arguments_of_tools_are_text_too(gateway):
    """A user waits and pays for them."""
    call = {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": '{"a": 12}'}}]}}]}
    thought = {"choices": [{"delta": {"reasoning_content": "hm, why"}}]}
    counted, _ = gateway.answers(*streamed(event(**call), event(**thought), said("", "tool_calls"), DONE))

    assert counted.counters["output_tokens"] == 4  # 9 and 7 characters


def test_events_are_read_whatever_the_pieces_in_which_they_come(gateway):
    """TCP cuts where it likes, in the middle of a character too."""
    whole = b"".join([said("eins zwei"), said(" drei \u00e9", "stop"), event(choices=[], usage=usage(5, 40)), DONE])
    counted, came = gateway.answers(STREAM, *[chunk(whole[at : at + 7]) for at in range(0, len(whole), 7)], LAST_CHUNK)

    assert (counted.counters["output_tokens"], counted.counters["errors"]) == (40, 0)
    assert came == whole


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_lines_may_end_as_the_standard_allows(gateway, end):
    """Server-sent events end lines with CR, LF or both."""
    events = [each.replace(b"\n", end) for each in (said("so"), said("", "stop"), event(usage=usage(5, 9)), DONE)]
    counted, _ = gateway.answers(*streamed(*events))

    assert (counted.counters["output_tokens"], counted.counters["errors"]) == (9, 0)


def test_the_time_between_tokens_is_that_of_the_text(gateway):
    """50 ms for four tokens after the first; a pause before the first one is no part of it."""
    parts = [chunk(said("abcd")) for _ in range(5)]
    pauses = [piece for part in parts for piece in (part, b"", b"", b"", b"")]
    counted, _ = gateway.answers(STREAM, *pauses, chunk(said("", "stop")), chunk(DONE), LAST_CHUNK)
    gaps = counted.histograms["itl"]

    assert gaps.number == 1
    assert 0.008 < gaps.total < 2


@pytest.mark.parametrize(
    "events",
    [
        [said("I"), event(choices=[{"delta": {}, "finish_reason": "content_filter"}]), DONE],
        [event(choices=[{"delta": {"refusal": "I will not."}}]), said("", "stop"), DONE],
    ],
)
def test_a_refusal_is_counted_and_is_no_error(gateway, events):
    """As the model's API says it; words alone are not judged here."""
    counted, _ = gateway.answers(*streamed(*events))

    assert (counted.counters["refusals"], counted.counters["errors"], counted.counters["requests"]) == (1, 0, 1)


@pytest.mark.parametrize(
    "events",
    [
        [said("so"), event(error={"message": "out of memory"}), DONE],
        [said("so"), b'event: error\ndata: {"message": "gone"}\n\n'],
        [said("so"), event(choices=[{"delta": {}, "finish_reason": "error"}]), DONE],
        [said("so"), said(" it")],
    ],
    ids=["error in an event", "error event", "finished by an error", "no end"],
)
def test_what_is_wrong_inside_a_200_is_an_error(gateway, events):
    """No gateway sees it in the status."""
    counted, _ = gateway.answers(*streamed(*events))

    assert (counted.counters["errors"], counted.counters["requests"]) == (1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"message": {"content": 'say {"error": {"code": 1}} and "refusal": "no"'}}]},
        {"choices": [{"message": {"content": "fine", "refusal": None}}], "error": None},
    ],
)
def test_what_a_text_quotes_is_neither_an_error_nor_a_refusal(gateway, answer):
    """Inside a string quotes are escaped."""
    counted, _ = gateway.answers(plain(json.dumps(answer).encode()))

    assert (counted.counters["errors"], counted.counters["refusals"]) == (0, 0)


def test_other_requests_are_not_looked_into(gateway):
    """A service that answers 200 with `error` in its JSON means something else by it."""
    body = json.dumps({"error": {"found": "nothing"}, "usage": usage(1, 1)}).encode()
    counted, came = gateway.answers(plain(body), path="/v1/orders")

    assert (counted.counters["errors"], counted.counters["output_tokens"]) == (0, 0)
    assert came == body


def test_an_answer_in_another_encoding_passes_unread(gateway):
    """Guessing in compressed bytes would be worse than not to know."""
    body = bytes(range(256)) * 20
    counted, came = gateway.answers(plain(body, headers="content-encoding: br\r\n"))

    assert came == body
    assert (counted.counters["requests"], counted.counters["errors"]) == (1, 0)


def test_what_is_too_long_to_be_read_passes_whole(gateway):
    """A megabyte without a line end, and then an answer like any other."""
    endless = b"data: " + b"x" * 1_000_000
    counted, came = gateway.answers(*streamed(endless, b"\n\n", said("so", "stop"), DONE))

    assert len(came) == len(endless) + len(b"\n\n" + said("so", "stop") + DONE)
    assert (counted.counters["requests"], counted.counters["errors"]) == (1, 0)


def test_an_answer_arrives_in_the_pieces_in_which_it_was_sent(gateway):
    """Whoever reads along must not hold back: the first token is there long before the last."""
    pause = [b""] * 300  # of 2 ms each
    gateway._says[:] = [STREAM, chunk(said("first")), *pause, chunk(said("last", "stop")), chunk(DONE), LAST_CHUNK]
    with httpx.stream("POST", gateway.router.address() + CHAT, json=ASKED, timeout=10) as response:
        parts = response.iter_raw()
        assert next(parts) == said("first")
        first = time.monotonic()
        rest = b"".join(parts)

    assert rest == said("last", "stop") + DONE
    assert time.monotonic() - first > 0.1


def test_where_no_answer_is_read_nobody_knows_of_refusals(tmp_path, server):
    """No data is not good news: a gate on refusals must not pass by a zero that nobody has counted."""
    blind = Gateway(tmp_path, *server, read_answers=False)
    try:
        counted, _ = blind.answers(*streamed(said("I"), event(choices=[{"finish_reason": "content_filter"}]), DONE))
        assert counted.counters["requests"] == 1
        assert not {"refusals", "output_tokens", "input_tokens"} & set(counted.counters)
        assert not {"itl", "output_tokens"} & set(counted.histograms)
    finally:
        blind.router.stop()
