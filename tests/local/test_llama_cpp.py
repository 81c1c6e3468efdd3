"""llama.cpp's server with a model of random weights, judged by what Envoy sees of its streams."""

from __future__ import annotations

import sys

import pytest

from tests.local.model_servers import (
    FOREIGN,
    Server,
    Shipped,
    ended_as_it_deserves,
    exposes_what_its_profile_was_tested_with,
    shipped,
)

PROGRAM = FOREIGN / "llama-server"
LLAMA = Server(
    "llama-cpp", "small-llm", PROGRAM, "LLAMA_SERVER", "scripts/llama-server", "/health", "prompts.jsonl",
    (sys.executable, "start.py", str(PROGRAM)),
)  # fmt: skip
ALL = (
    Shipped("v2"),
    Shipped("v1-again"),
    Shipped("v2-cramped", ("client_error_rate",)),
    Shipped("v2-deep", ("latency_p99", "ttft_p95")),
    Shipped("v2-rambles", ("output_tokens",)),
    Shipped("v2-other", refused="the canary serves other"),
)
"""`v1-again` is v1 under another name, so that nothing differs but chance."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every rollout."""
    with shipped(LLAMA, ALL, tmp_path_factory.mktemp("llama")) as found:
        yield found


@pytest.mark.parametrize("one", ALL, ids=str)
def test_a_language_model_on_llama_cpp_is_judged_by_its_streams(one, runs):
    """Refused prompts, slow tokens, long answers, another model: each where it is seen first."""
    ended_as_it_deserves(runs[one].result(), one)


def test_what_a_running_llama_server_exposes_is_what_its_part_was_tested_with(tmp_path):
    """A metric that was renamed would be no data in somebody's rollout; here it has a name."""
    exposes_what_its_profile_was_tested_with(LLAMA, tmp_path, ours=("app_requests_total",))
