"""prompts.jsonl -> prompts."""

import json
import time
from pathlib import Path

import pytest

from pytest_canary.errors import SpecError
from pytest_canary.ports import Prompt
from pytest_canary.prompts import read_prompts


@pytest.fixture
def read(tmp_path):
    """Read lines as prompts.jsonl, which rollout.yaml:7 has named."""

    def read(*lines):
        path = tmp_path / "prompts.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        return read_prompts(path, "rollout.yaml:7")

    return read


def test_a_prompt_is_a_chat_of_one_message(read):
    """The common case is one word of JSON."""
    (prompt,) = read('{"prompt": "hello", "max_tokens": 5}')

    assert prompt.path == "/v1/chat/completions"
    assert prompt.method == "POST"
    assert prompt.body == {"model": "default", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
    assert not prompt.stream


@pytest.mark.parametrize(
    "line", ['{"prompt": "x", "stream": true}', '{"body": {"messages": [{"role": "user"}], "stream": true}}']
)
def test_a_stream_is_asked_for_in_the_body_too(read, line):
    """The server reads the body."""
    (prompt,) = read(line)

    assert prompt.stream
    assert prompt.body["stream"] is True


def test_a_body_is_sent_as_it_stands(read):
    """Any service can be asked."""
    (prompt,) = read('{"path": "/score", "body": {"text": "x"}, "expect": "7"}')

    assert prompt == Prompt("/score", {"text": "x"}, "POST", False, "7")


def test_a_get_has_no_body(read):
    """Some representative requests only read."""
    (prompt,) = read('{"path": "/v1/models", "method": "get"}')

    assert (prompt.method, prompt.body) == ("GET", None)


def test_empty_lines_are_passed_over(read):
    """Files end with one."""
    assert len(read('{"prompt": "a"}', "", '{"prompt": "b"}', "")) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hello", "prompts.jsonl:2: is not JSON"),
        ("[1]", 'prompts.jsonl:2: found \'[1]\', expected an object such as {"prompt": "..."}'),
        ('{"promt": "x"}', "prompts.jsonl:2: found key 'promt'"),
        ('{"stream": true}', "prompts.jsonl:2: found no body, messages or prompt"),
        ('{"messages": []}', "prompts.jsonl:2: found no body, messages or prompt"),
        ('{"body": [1]}', "prompts.jsonl:2: body: expected an object"),
        ('{"prompt": "x", "expect": 4}', "prompts.jsonl:2: expect: found 4"),
        ('{"prompt": "x", "path": "chat"}', "prompts.jsonl:2: found path 'chat'"),
        ('{"prompt": "x", "method": "P ST"}', "prompts.jsonl:2: found method 'P ST'"),
        ('{"prompt": "\\ud83d"}', "prompts.jsonl:2: holds half a character"),
        ('{"prompt": "x", "temperature": NaN}', "prompts.jsonl:2: holds NaN"),
        ('{"prompt": "x", "output_tokens": "many"}', "prompts.jsonl:2: output_tokens: found 'many'"),
        ('{"prompt": ' + "[" * 100_000, "prompts.jsonl:2: is not JSON: nested too deeply"),
        ('{"custom_id": "1", "body": {}}', "prompts.jsonl:2: is an OpenAI batch request, prompts.jsonl:1 is a prompt"),
        ('{"conversations": []}', "prompts.jsonl:2: is a ShareGPT conversation, prompts.jsonl:1 is a prompt"),
    ],
)
def test_a_wrong_line_is_named(read, line, said):
    """A file may have hundreds."""
    with pytest.raises(SpecError) as caught:
        read('{"prompt": "a"}', line)

    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


TALK = {
    "id": "a",
    "conversations": [
        {"from": "system", "value": "Be short."},
        {"from": "human", "value": "Hello?"},
        {"from": "gpt", "value": "Hello! " * 10},
        {"from": "human", "value": "And now?"},
    ],
}


@pytest.mark.parametrize("text", [json.dumps(TALK), json.dumps([TALK]), json.dumps([TALK], indent=1)])
def test_a_sharegpt_conversation_is_asked_up_to_its_first_answer(read, text):
    """As its users asked it, streamed, and as long an answer as they had; an array or a line each."""
    (prompt,) = read(text)

    assert prompt.stream
    assert prompt.body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello?"},
    ]
    assert (prompt.body["max_tokens"], prompt.body["stream"]) == (17, True)


def test_a_conversation_may_begin_with_the_model_or_hold_nothing(read):
    """Data sets are full of such; one without a question is no prompt."""
    empty = {"conversations": [{"from": "gpt", "value": "Well."}]}
    begun = {"conversations": [*empty["conversations"], {"from": "human", "value": "x"}]}
    (prompt,) = read(json.dumps([empty, {"conversations": []}, begun]))

    assert prompt.body["messages"] == [{"role": "user", "content": "x"}]


def test_an_openai_batch_request_is_sent_as_it_stands(read):
    """Whoever has a batch file has representative requests."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    (prompt,) = read(json.dumps({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}))

    assert prompt == Prompt("/v1/chat/completions", body, "POST", True)


def test_a_line_of_vllms_custom_data_set_is_a_prompt_with_a_length(read):
    """`output_tokens` is how long the answer may be."""
    first, second = read('{"prompt": "x", "output_tokens": 10}', '{"prompt": "y"}')

    assert first.body["max_tokens"] == 10
    assert "max_tokens" not in second.body


def test_a_streamed_chat_of_ours_asks_for_its_tokens(read):
    """A stream says them only when asked; a `body` is left alone."""
    ours, body = read('{"prompt": "x", "stream": true}', '{"body": {"stream": true}}')

    assert ours.body["stream_options"] == {"include_usage": True}
    assert body.body == {"stream": True}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[\n{"prompt": "a"},\n\n{"promt": "b"}]', "prompts.jsonl:4: found key 'promt'"),
        ('[\n{"prompt": "a"},\n{"prompt": }]', "prompts.jsonl:3: is not JSON"),
        ('[{"prompt": "a"}\n{"prompt": "b"}]', "prompts.jsonl:2: is not JSON: the array does not go on"),
        ('[{"prompt": "a"},\n{"prompt": "b"}\n', "prompts.jsonl:3: is not JSON: the array does not go on"),
        ('[{"prompt": "a"}]\n[]', "prompts.jsonl:1: is not JSON: something follows"),
        ('[{"prompt": "a"}, 5]', "prompts.jsonl:1: found '5', expected an object"),
        ('[{"conversations": 1}]', "prompts.jsonl:1: conversations: expected a list"),
        ('[{"conversations": [{"from": "human"}]}]', "prompts.jsonl:1: conversations: found a turn whose value"),
        ('{"custom_id": "1", "url": "/v1"}', "prompts.jsonl:1: body: expected an object"),
        ('{"custom_id": "1", "url": "https://x/v1", "body": {}}', "prompts.jsonl:1: found path 'https://x/v1'"),
        ('{"custom_id": "1", "body": {}, "expect": "x"}', "prompts.jsonl:1: found key 'expect'"),
    ],
)
def test_a_wrong_record_of_another_kind_is_named_too(read, text, said):
    """By the line on which it begins."""
    with pytest.raises(SpecError) as caught:
        read(text)

    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_line_separator_inside_a_text_ends_no_line(read):
    """U+2028 may stand in JSON as it is; an editor may begin a file with a byte order mark."""
    (prompt,) = read('\ufeff{"prompt": "one\u2028two"}')

    assert prompt.body["messages"][0]["content"] == "one\u2028two"


def test_a_file_without_prompts_is_a_mistake(read):
    """Warm-up would warm nothing."""
    with pytest.raises(SpecError, match=r"rollout.yaml:7: prompts.jsonl holds no prompt"):
        read("", "")


def test_a_file_that_is_not_there_is_named_where_it_was_named(tmp_path):
    """Paths are relative to the rollout.yaml."""
    with pytest.raises(SpecError, match=r"rollout.yaml:7: nowhere.jsonl cannot be read: No such file"):
        read_prompts(tmp_path / "nowhere.jsonl", "rollout.yaml:7")


def test_a_file_that_is_not_text_is_said(tmp_path):
    """Somebody named the wrong file."""
    (tmp_path / "x.jsonl").write_bytes(b'{"prompt": "a"}\n{"prompt": "\xff\xfe"}')
    with pytest.raises(SpecError, match=r"^rollout.yaml:7: x.jsonl:2 is not UTF-8 text \(byte 28\)$"):
        read_prompts(tmp_path / "x.jsonl", "rollout.yaml:7")


def test_a_file_that_is_much_too_large_is_refused_unread(tmp_path):
    """A log of a day is no set of prompts."""
    with (tmp_path / "x.jsonl").open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(SpecError, match=r"^rollout.yaml:7: x.jsonl is larger than 50 MB \(200 MB\); [^\n]*$"):
        read_prompts(tmp_path / "x.jsonl", "rollout.yaml:7")


@pytest.mark.parametrize("begin", ["", '{"prompt": "', '[{"prompt": "'])
def test_a_line_without_an_end_is_one_line_of_complaint(tmp_path, begin):
    """A file of zeros, a download that broke off, a whole data set as one text."""
    with (tmp_path / "x.jsonl").open("w") as file:
        file.write(begin)
        file.truncate(49 * 2**20)
    start = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        read_prompts(tmp_path / "x.jsonl", "rollout.yaml:7")

    assert str(caught.value).startswith("x.jsonl:1: is ")
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - start < 5


def test_what_is_no_file_is_not_read(tmp_path):
    """A device has no end, and a folder no prompts."""
    for path in (Path("/dev/zero"), tmp_path):
        with pytest.raises(SpecError, match=f"rollout.yaml:7: {path.name} is not a file"):
            read_prompts(path, "rollout.yaml:7")
