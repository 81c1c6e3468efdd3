"""prompts.jsonl -> prompts."""

import pytest

from pytest_canary.errors import SpecError
from pytest_canary.ports import Prompt
from pytest_canary.prompts import read_prompts


@pytest.fixture
def read(tmp_path):
    """Read lines as prompts.jsonl, which rollout.yaml:7 has named."""

    def read(*lines):
        path = tmp_path / "prompts.jsonl"
        path.write_text("\n".join(lines))
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
    ],
)
def test_a_wrong_line_is_named(read, line, said):
    """A file may have hundreds."""
    with pytest.raises(SpecError) as caught:
        read('{"prompt": "a"}', line)

    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


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
    (tmp_path / "x.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="is not UTF-8 text"):
        read_prompts(tmp_path / "x.jsonl", "rollout.yaml:7")


def test_a_file_that_is_much_too_large_is_refused_unread(tmp_path):
    """A log of a day is no set of prompts."""
    with (tmp_path / "x.jsonl").open("wb") as file:
        file.truncate(51 * 2**20)
    with pytest.raises(SpecError, match="larger than 50 MB"):
        read_prompts(tmp_path / "x.jsonl", "rollout.yaml:7")
