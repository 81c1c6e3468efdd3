"""What a user of a build sees, measured at the user's end of the connection."""

from __future__ import annotations

import json
import time

import pytest

from pytest_canary.adapters.http import HttpProbe, ProbeOptions
from pytest_canary.adapters.http.events import Event, EventReader
from pytest_canary.adapters.http.reading import Reading
from pytest_canary.adapters.http.refusals import refusal
from pytest_canary.adapters.load.replies import Stream
from pytest_canary.ports import Fault, Prompt
from tests.local.servers import DONE, LAST_CHUNK, STREAM, chunk, plain, request, said, serving

CHAT = Prompt(body={"messages": []})
STREAMED = Prompt(body={"messages": []}, stream=True)


def event(*choices: dict, **more) -> bytes:
    """One event with these choices, and whatever else."""
    return b"data: " + json.dumps({"choices": list(choices), **more}).encode() + b"\n\n"


def delta(finish: str | None = None, index: int = 0, **said) -> dict:
    """One choice of an event."""
    return {"index": index, "delta": said, "finish_reason": finish}


USAGE = event(usage={"prompt_tokens": 7, "completion_tokens": 12})
ROLE = event(delta(role="assistant", content=""))


@pytest.fixture
def ask():
    """What the probe makes of a server that answers with these pieces, a pause after each."""
    probe = HttpProbe(ProbeOptions(timeout=2.0))

    def ask(prompt: Prompt, *pieces: bytes, pause: float = 0.0):
        def say(connection) -> None:
            request(connection)
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)

        with serving(say) as address:
            return probe.ask(address, prompt)

    yield ask
    probe.close()


def streamed(*events: bytes) -> list[bytes]:
    """A stream that ends as HTTP says it should."""
    return [STREAM, *map(chunk, events), LAST_CHUNK]


def read(pieces: list[bytes]):
    """What a stream in these pieces is read as, a millisecond after each other."""
    events, reading = EventReader(), Reading(STREAMED, status=200)
    for piece in pieces:
        for one in events.feed(piece):
            reading.event(one, 0.5)
    for one in events.end():
        reading.event(one, 0.5)
    return reading.answer(1.0)


TRAPS = (
    b"\xef\xbb\xbf: OPENROUTER PROCESSING\n\nretry: 3000\nid: 1\n\n"
    b"event: ping\ndata: now\n\nevent: ping\n\n"
    + ROLE
    + said("grüße \U0001f600 \u2028")
    + b'data: {"choices": [{"index": 0,\r\ndata:  "delta": {"content": "two lines"}}]}\r\n\r\n'
    + b'data:{"choices":[{"index":0,"delta":{}}]}\r\r'
    + said("", "stop")
    + USAGE
)


def test_a_stream_full_of_traps_reads_the_same_wherever_the_network_cuts_it():
    """Every position once: inside a character, between CR and LF, in a key, after half a blank line."""
    whole = read([TRAPS])
    assert (whole.text, whole.error) == ("grüße \U0001f600 \u2028two lines", None)
    assert (whole.tokens, whole.prompt_tokens, whole.finish) == (12, 7, "stop")

    for at in range(1, len(TRAPS)):
        assert read([TRAPS[:at], TRAPS[at:]]) == whole, TRAPS[:at][-20:]
    assert read([TRAPS[at : at + 1] for at in range(len(TRAPS))]) == whole


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_may_end_in_three_ways_and_its_event_does_not_wait_for_more(end):
    """Time to first token is wrong where an event comes only with the next."""
    lines = end.join([b": hello", b"event: a", b"data: 1", b"data: 2", b"", b""])
    reader = EventReader()

    assert list(reader.feed(lines)) == [Event("a", "1\n2")]
    assert list(reader.feed(end + b"data: 3" + end + end)) == [Event("message", "3")]


def test_a_type_without_data_does_not_stick_to_the_next_event():
    """Else a ping without words would hide the token after it."""
    reader = EventReader()

    assert list(reader.feed(b"event: ping\n\ndata: 1\n\n")) == [Event("message", "1")]
    assert list(reader.feed(b"event: error\n\n")) == [Event("error", "")]


def test_bytes_that_arrive_one_by_one_are_an_answer(ask):
    """Proxies may flush as they like."""
    body = said("é", "stop") + DONE
    answer = ask(STREAMED, STREAM, *[chunk(body[at : at + 1]) for at in range(len(body))], LAST_CHUNK)

    assert (answer.text, answer.error, answer.finished) == ("é", None, True)


def test_the_gaps_between_tokens_are_what_the_reader_waited(ask):
    """A role, an empty delta, a ping and the usage are no tokens: the stall between the two words is one gap."""
    silence = [event(delta(content="")), b": ping\n\n", b"event: ping\ndata: {}\n\n"]
    answer = ask(STREAMED, *streamed(ROLE, said("a"), said("b"), *silence, said("c", "stop"), USAGE, DONE), pause=0.05)

    assert 0.09 <= answer.ttft_seconds < 0.3
    assert 0.19 <= answer.gap_longest_seconds < 0.5
    assert answer.gap_mean_seconds == pytest.approx((0.05 + answer.gap_longest_seconds) / 2, abs=0.05)
    assert (answer.tokens, answer.prompt_tokens, answer.text) == (12, 7, "abc")


def test_a_stream_of_one_token_has_no_gap(ask):
    """A mean of nothing is nothing, not zero."""
    answer = ask(STREAMED, *streamed(said("a", "stop"), DONE))

    assert (answer.gap_mean_seconds, answer.gap_longest_seconds) == (None, None)
    assert answer.tokens is None


def test_choices_that_take_turns_are_read_apart(ask):
    """Their words are not mixed, a turn is no gap, and the answer ends when the last of them does."""
    both = [event(delta(content=f"{word}{index}", index=index)) for word in "ab" for index in (0, 1)]
    ends = [event(delta("stop", index=index)) for index in (0, 1)]
    answer = ask(STREAMED, *streamed(*both, *ends), pause=0.03)

    assert (answer.text, answer.error) == ("a0b0\na1b1", None)
    assert answer.gap_mean_seconds >= 0.055

    answer = ask(STREAMED, *streamed(*both, ends[0]))
    assert (answer.finished, answer.fault) == (False, Fault.TRUNCATED)


@pytest.mark.parametrize(
    "spoken",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"tool_calls": [{"index": 0, "function": {"name": "f"}}]},
        {"content": [{"type": "text", "text": "hm"}]},
    ],
)
def test_what_is_thought_or_called_is_a_token(ask, spoken):
    """A reasoning model is not silent while it thinks."""
    answer = ask(STREAMED, *streamed(ROLE, event(delta(**spoken)), event(delta("stop", **spoken)), DONE), pause=0.02)

    assert answer.error is None
    assert answer.ttft_seconds < answer.seconds - 0.04
    assert answer.gap_mean_seconds is not None


def test_half_an_emoji_in_each_of_two_events_is_a_whole_one(ask):
    """JSON may write one character as two escapes, and a token may end between them; no report can print half."""
    halves = [rb'data: {"choices": [{"delta": {"content": "%s"}}]}' % half for half in (rb"\ud83d", rb"\ude00")]
    answer = ask(STREAMED, *streamed(*[half + b"\n\n" for half in halves], said("", "stop")))

    assert answer.text == "\U0001f600"


def test_half_an_emoji_can_be_asked(ask):
    """A test that asks odd things gets an answer, never an exception from the probe."""
    answer = ask(Prompt(body={"messages": [{"role": "user", "content": "\ud83d"}]}), plain(b'{"choices": []}'))

    assert answer.status == 200


@pytest.mark.parametrize(
    ("prompt", "pieces", "fault", "finished"),
    [
        (STREAMED, streamed(said("a"), b'data: {"object": "error", "message": "oom"}\n\n'), "STREAM_ERROR", False),
        (STREAMED, streamed(said("a"), b'data: {"type": "error", "error": {}}\n\n', DONE), "STREAM_ERROR", True),
        (STREAMED, streamed(said("a"), b"event: error\n\n", DONE), "STREAM_ERROR", True),
        (STREAMED, streamed(said("a", "abort"), DONE), "STREAM_ERROR", True),
        (STREAMED, streamed(said("a")), "TRUNCATED", False),
        (STREAMED, streamed(said("a", "stop"))[:-1], "TRUNCATED", False),
        (STREAMED, streamed(said("a"), DONE), None, True),
        (STREAMED, streamed(said("a", "stop")), None, True),
        (STREAMED, streamed(ROLE, event(delta("stop")), USAGE, DONE), "EMPTY", True),
        (CHAT, [plain(b'{"choices": []}')[:-1]], "TRUNCATED", False),
        (CHAT, [plain(b'{"choices": []}')], "EMPTY", True),
        (CHAT, [plain(b"busy", "429 Too Many Requests")], "STATUS", True),
        (CHAT, [plain(b"<html>")], "UNEXPECTED", True),
        (CHAT, [], "NO_ANSWER", False),
    ],
)
def test_the_kind_of_fault_is_told(ask, prompt, pieces, fault, finished):
    """A rate of truncated answers needs no reading of sentences."""
    answer = ask(prompt, *pieces)

    assert answer.fault == (fault and Fault[fault])
    assert (answer.error is None) == (fault is None)
    assert answer.finished == finished


@pytest.mark.parametrize(
    "events",
    [
        [said("a"), b'data: {"object": "error", "message": "oom"}\r\n\r\n', DONE],
        [said("a"), b'data: {"type": "error", "message": "oom"}\n\n', DONE],
        [said("a"), b'data: {"error": "oom"}\n\n'],
        [said("a"), b"event: error\n\n", DONE],
        [said("a", "stop").replace(b"\n", b"\r")],
        [said("a").replace(b"\n", b"\r"), b"data: [DONE]\r", b"\r"],
        [said("a").replace(b"\n", b"\r\n"), b"event: error\r", b"\ndata: x\r\n\r\n"],
        [said('she said "error"', "stop"), USAGE],
        [said("a")],
    ],
)
def test_users_and_probe_see_the_same_stream_alike(events):
    """Users look only at what costs little: never at less than the truth."""
    answer, user = read(events), Stream()
    for piece in events:
        user.feed(piece)

    assert user.error == (answer.fault is Fault.STREAM_ERROR)
    assert user.finished == answer.finished


def test_a_line_that_never_ends_is_not_kept():
    """An endless stream costs its users time, and the machine no memory."""
    user = Stream()
    for _ in range(40):
        user.feed(b"data: " + b"a" * 100_000)

    assert len(user._rest) <= 1 << 20
    assert not user.finished


@pytest.mark.parametrize("usage", [None, {}, {"completion_tokens": None, "prompt_tokens": "7"}, [1], 3])
def test_a_usage_that_says_nothing_is_no_number(ask, usage):
    """Servers send `null` with every chunk but the last; zero tokens would be a lie."""
    answer = ask(STREAMED, *streamed(event(delta("stop", content="a"), usage=usage), DONE))

    assert (answer.error, answer.tokens, answer.prompt_tokens) == (None, None, None)


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        (STREAMED, streamed(b'data: {"choices": [{"delta": {"content": "gr\xfc\xdfe"}}]}\n\n', said("", "stop"))),
        (CHAT, [plain(b'{"choices": [{"message": {"content": "gr\xfc\xdfe"}, "finish_reason": "stop"}]}')]),
    ],
)
def test_bytes_that_are_no_text_are_a_fault(ask, prompt, pieces):
    """Half of a character that was cut, or another encoding: the reader sees a black diamond."""
    answer = ask(prompt, *pieces)

    assert answer.fault is Fault.UNEXPECTED
    assert "is not UTF-8 text" in answer.error
    assert "\n" not in answer.error


def test_the_diamond_that_a_server_sends_itself_is_text(ask):
    """Half a token is sent so by servers that are well."""
    assert ask(STREAMED, *streamed(said("\ufffd", "stop"), DONE)).error is None


def test_a_stream_that_is_no_chat_ends_where_it_ends(ask):
    """`[DONE]` is a habit of one family of paths; another service may stream plain words."""
    answer = ask(Prompt("/events", {}, stream=True), *streamed(b"data: one\n\n", b"data: two\n\n"))

    assert (answer.error, answer.finished, answer.text) == (None, True, "one\ntwo\n")


@pytest.mark.parametrize(
    "choice",
    [
        delta("content_filter", content="Well"),
        delta("stop", refusal="I will not."),
        delta("stop", content="I\u2019m sorry, but I can\u2019t do that."),
    ],
)
def test_a_refusal_is_told_and_is_no_error(ask, choice):
    """The build works; whether it refuses more than the other is for a gate to say."""
    answer = ask(STREAMED, *streamed(ROLE, event(choice), DONE))

    assert answer.error is None
    assert answer.refusal
    message = {"index": 0, "message": choice["delta"], "finish_reason": choice["finish_reason"]}
    assert ask(CHAT, plain(json.dumps({"choices": [message]}).encode())).refusal == answer.refusal


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I cannot assist with this request",
        "I'm unable to provide medical advice.",
        "I apologize, but I cannot do that.",
        "As an AI language model, I am not able to browse.",
        "I must decline.",
        "Hello. I'm not able to help with it.",
    ],
)
def test_words_that_refuse(text):
    """As models say it."""
    assert refusal(text)
    assert refusal(text) in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris.",
        "I can help with that.",
        "I can't help but smile at it.",
        "You cannot assist two masters.",
        "Sorry for the delay. Paris.",
        "A long story. " * 20 + "I can't help with that, he said.",
    ],
)
def test_words_that_do_not(text):
    """A model may say that somebody else cannot."""
    assert refusal(text) is None
