"""vLLM on CPUs: two copies of a model without weights, and one flag between a good build and a bad one."""

import json
import subprocess

import pytest

from tests.heavy.shipped import SERVERS, Shipped, assert_ended_as, world

pytestmark = pytest.mark.heavy

SLOWER = ("ttft_p95", "inter_token_latency", "latency_p95")
"""A heavier model is slower in all of these; which of them is sure first is chance."""
ALL = (
    Shipped("v1-again", ("--max-num-seqs=16",)),  # said twice: the same server, and not the same build
    Shipped("v2-one-at-a-time", ("--max-num-seqs=1",), gates=("queue_time_p95", "ttft_p95")),
    Shipped("v2-turns-away", ("--max-num-queued-reqs=1",), gates=("error_rate",)),
    Shipped("v2-short-context", ("--max-model-len=256",), gates=("client_error_rate",)),
    Shipped("v2-more-layers", ("--hf-overrides", json.dumps({"num_hidden_layers": 24})), gates=SLOWER),
    Shipped("v2-talks", ("--override-generation-config", json.dumps({"max_new_tokens": 96})), gates=("output_tokens",)),
    Shipped("v2-other-model", model="other", step="baseline"),
    Shipped("v2", ("--max-num-batched-tokens=4096",)),
)


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    """One stable copy for all rollouts, since each takes a minute to start."""
    folder = tmp_path_factory.mktemp("vllm")
    with world(folder, "vllm", "llm") as served:
        python = SERVERS / "vllm" / "bin" / "python"
        for model in ("tiny", "other"):
            subprocess.run([python, "model.py", model], cwd=folder / "rollouts", check=True)
        yield served


@pytest.mark.parametrize("one", ALL, ids=str)
def test_vllm_is_shipped_by_its_rollout_yaml_and_judged_by_what_it_counts_itself(one, vllm):
    """Queues, refusals and tokens of a real engine; the demo only plays them."""
    assert_ended_as(one, vllm.ship(one))
