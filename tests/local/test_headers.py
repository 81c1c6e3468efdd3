"""Who has to show a key shows it, in smoke, warm-up and load, and to nobody else."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

import pytest
from pydantic import ValidationError

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.http import HttpProbe, ProbeOptions
from pytest_canary.adapters.load import HttpUsers, LoadOptions
from pytest_canary.ports import Prompt, Shared
from tests.local.servers import plain, serving

KEY = "sk-7c1f"
HEADERS = {"Authorization": f"Bearer {KEY}", "x-team": "search"}


def guarded(connection):
    """Answers 200 where every header is there, else 401."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
        if data.endswith(b"{}"):
            shown = all(f"\r\n{name.lower()}: {value}\r\n".encode() in data for name, value in HEADERS.items())
            connection.sendall(plain(b"{}", "200 OK" if shown else "401 Unauthorized"))
            data = b""


@pytest.mark.parametrize(("headers", "status"), [(HEADERS, 200), ({}, 401)])
def test_a_probe_shows_the_key_that_its_target_wants(headers, status):
    """A gateway for models lets nobody in without."""
    probe = HttpProbe.connect({"headers": headers}, None)
    with serving(guarded) as address:
        assert probe.ask(address, Prompt(body={})).status == status
        probe.close()


def test_synthetic_users_show_it_and_their_command_line_does_not(tmp_path):
    """Everybody on the machine may read a command line."""
    paths = Queue()

    def remember(connection):
        data = b""
        while piece := connection.recv(65536):
            data += piece
            if data.endswith(b"{}"):
                paths.put(data.decode().lower())
                connection.sendall(plain(b"{}"))
                data = b""

    (tmp_path / "prompts.jsonl").write_text('{"path": "/", "body": {}}')
    shared = Shared("service", SystemClock(), tmp_path / "state", tmp_path)
    users = HttpUsers.connect({"prompts": "prompts.jsonl", "rate": 50, "headers": HEADERS}, shared)
    with serving(remember) as address:
        users.enter(address)
        try:
            sent = paths.get(timeout=20)
            line = Path(f"/proc/{users.pid}/cmdline").read_bytes()
            users.leave()
        finally:
            users.stop()

    assert all(f"\r\n{name.lower()}: {value.lower()}\r\n" in sent for name, value in HEADERS.items())
    assert b"--prompts=" in line
    assert KEY.encode() not in line
    assert KEY not in (tmp_path / "state" / "load.json").read_text()


@pytest.mark.parametrize("options", [ProbeOptions, LoadOptions])
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"authorization": f"{KEY}\r\nx-more: 1"}, "'authorization' in one line of ASCII"),
        ({"authorization": f"{KEY}\u00e9"}, "'authorization' in one line of ASCII"),
        ({"authorization:": KEY}, "found 'authorization:'"),
        ({"Host": KEY}, "names of headers besides host, "),
        (KEY, "valid dictionary"),
        ([KEY], "valid dictionary"),
    ],
)
def test_a_header_that_cannot_be_sent_is_said_without_its_value(options, headers, said):
    """Before anything is deployed, and the line may be pasted to anybody."""
    needed = {"rate": 1, "prompts": "p"} if options is LoadOptions else {}
    with pytest.raises(ValidationError) as caught:
        options.model_validate({**needed, "headers": headers})

    assert said in str(caught.value)
    assert KEY not in str(caught.value)
    assert not any(KEY in str(one["input"]) for one in caught.value.errors())
